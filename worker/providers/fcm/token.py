"""The form of a registration token. Google calls it opaque, so only a text that is clearly something else is refused."""

import re
from typing import Final

from worker.core.refusal import Refused

_TOKEN: Final = re.compile(r"[A-Za-z0-9_:.=~+/%-]+")
_OF_APNS: Final = re.compile(r"[0-9a-fA-F]{64,}")


def canonical(token: str) -> str:
    """The token without blanks around it. Raises `Refused`."""
    token = token.strip()
    if token.startswith("https://"):
        raise Refused(
            "device.token: an endpoint of a browser's subscription, where a registration token of FCM is needed"
        )
    if _OF_APNS.fullmatch(token):
        raise Refused("device.token: a device token of APNs, where a registration token of FCM is needed (getToken)")
    if not _TOKEN.fullmatch(token):
        raise Refused("device.token: a registration token of FCM has letters, digits and _:.=~+/%- alone")
    return token
