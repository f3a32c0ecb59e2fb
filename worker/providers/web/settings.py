"""A Web Push provider's settings: the key pair that its browsers subscribed with, and who answers for it."""

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class WebSettings:
    kind: ClassVar[str] = "web"

    #: Whom a push service writes to: `mailto:…` or `https://…`.
    subject: str
    #: The application server key, as `PushManager.subscribe` takes it: 65 octets in base64url, 87 characters.
    public_key: str
    #: The private key's number in base64url, 43 characters.
    private_key: str = field(default="", repr=False)
    #: The page that a notification opens, with `{channel}` and `{message}` for their ids; '' for what the worker of a page does.
    page: str = ""
    #: A simulator that stands for all push services; '' for none. `ca`: PEM of the CA to trust there.
    host: str = ""
    port: int = 443
    ca: str | None = field(default=None, repr=False)
