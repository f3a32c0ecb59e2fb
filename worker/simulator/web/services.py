"""The four push services: where they are, what their endpoints look like, how much they take."""

from typing import Final, NamedTuple


class PushService(NamedTuple):
    """One of them. `length` is that of the part of its endpoints that differs, `most` the octets of a body."""

    name: str
    host: str
    paths: tuple[str, ...]
    length: int
    most: int

    @property
    def path(self) -> str:
        """What new endpoints begin with."""
        return self.paths[0]


SERVICES: Final = {
    service.name: service
    for service in (
        PushService("mozilla", "updates.push.services.mozilla.com", ("/wpush/v2/",), 183, 5630),
        PushService("google", "fcm.googleapis.com", ("/fcm/send/", "/wp/"), 152, 4096),
        PushService("microsoft", "wns2-par02p.notify.windows.com", ("/w/?token=",), 365, 5000),
        PushService("apple", "web.push.apple.com", ("/",), 171, 4096),
    )
}
#: Octets of a body for Firefox on an Android phone: 2,912 of plaintext.
MOST_CONSTRAINED: Final = 3015
HOSTS: Final = tuple(service.host for service in SERVICES.values())


def service_at(authority: str, path: str) -> tuple[PushService, str] | None:
    """The service that a request is for, by the first part of its path or by its host, and the rest of the path."""
    first, _, rest = path[1:].partition("/")
    if first in SERVICES:
        return SERVICES[first], f"/{rest}"
    host = authority.partition(":")[0]
    for service in SERVICES.values():
        if host == service.host or (service.name == "microsoft" and host.endswith(".notify.windows.com")):
            return service, path
    return None
