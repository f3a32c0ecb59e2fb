"""What a simulator of push services is."""

from typing import Final

from worker.simulator.settings import CommonSettings
from worker.simulator.web.services import HOSTS

#: Names of the services, for a certificate.
NAMES: Final = (*HOSTS, "*.notify.windows.com")


class WebSettings(CommonSettings, frozen=True, kw_only=True, tag="web"):
    """What is of Web Push beside `CommonSettings`. The keys of its subscriptions follow from `seed`."""

    #: Every n-th body is decrypted, at the cost of 100 µs; 0: none.
    decrypt_every: int = 1
    #: Whether endpoints of other browsers are taken as well, whose bodies nobody here can read.
    strangers: bool = False
    names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1", *NAMES)
    protocols: tuple[str, ...] = ("h2", "http/1.1")
