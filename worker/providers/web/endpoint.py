"""Where a browser's subscription may be: an https URL of a push service that the operator knows. Resolves nothing.

The URL comes from a user, who may write anything there.
"""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

#: The services of Chromium browsers, Firefox, Safari and Edge.
SERVICES: Final = (
    "fcm.googleapis.com",
    "*.push.services.mozilla.com",
    "web.push.apple.com",
    "*.notify.windows.com",
)
#: Characters of an endpoint.
LONGEST: Final = 2_048
#: What Edge on Android gives out where it has no push service.
_REMOVED: Final = "permanently-removed.invalid"
_NUMBER: Final = re.compile(r"0x[0-9a-f]*|[0-9]+")


class EndpointError(ValueError):
    """No push may go there; the text says why, without the URL."""


def canonical(endpoint: str, hosts: Collection[str]) -> str:
    """The endpoint with its host as names are compared; path and query stay as they are. Raises `EndpointError`.

    `hosts` are names, or `*.` and the end of a name.
    """
    if len(endpoint) > LONGEST:
        raise EndpointError(f"at most {LONGEST:,} characters")
    # `urlsplit` leaves some characters out, and browsers read others as a slash.
    if not endpoint.isprintable() or any(sign in endpoint for sign in " \\"):
        raise EndpointError("has a blank, a backslash or a control character in it")
    host, rest = _parted(endpoint)
    if "…" in rest or rest.endswith("...") or len(rest) < 2:
        raise EndpointError("is cut off; take it from JSON.stringify(subscription), not from a console")
    if not rest.isascii():
        raise EndpointError("has characters beyond ASCII, which no browser gives out")
    if not is_known(host, hosts):
        raise EndpointError(f"{host} is no known push service; if it is yours, put it into CARILLON_WEB_HOSTS")
    return f"https://{host}{rest}"


def _parted(endpoint: str) -> tuple[str, str]:
    """The host as names are compared, and what stands behind host and port."""
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise EndpointError("not a URL") from None
    if parts.scheme != "https" or not host:
        raise EndpointError("not an https URL, as browsers give out")
    if "@" in parts.netloc:
        raise EndpointError("has a user in it")
    if port not in (None, 443):
        raise EndpointError("has another port than 443")
    if "#" in endpoint:
        raise EndpointError("has a fragment")
    return _name(host), endpoint[endpoint.index("//") + 2 + len(parts.netloc) :]


def is_known(host: str, hosts: Collection[str]) -> bool:
    """Whether a host is one of the names, or below one that begins with `*.`."""
    return any(host.endswith(name[1:]) if name[:2] == "*." else host == name for name in hosts)


def host_of(endpoint: str) -> str:
    """The host of a canonical endpoint; '' of what is none."""
    scheme, _, rest = endpoint.partition("://")
    return rest.partition("/")[0] if scheme == "https" else ""


def _name(host: str) -> str:
    """The host in lower case and ASCII. Raises `EndpointError` for what is no name of a push service."""
    try:
        name = host.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        raise EndpointError("has a host that is no name") from None
    if name == _REMOVED:
        raise EndpointError(f"{_REMOVED} stands for no push service: this browser cannot be notified")
    try:
        ip_address(name)
    except ValueError:
        # Systems read a number at the end as an IPv4 address, whatever its form.
        if not _NUMBER.fullmatch(name.rpartition(".")[2]):
            return name
    raise EndpointError("has an address in place of a host")
