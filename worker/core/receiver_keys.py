"""The keys that a message to one browser or app is encrypted with (RFC 8291): checked, and packed as one text."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from worker.core.refusal import Refused

#: Octets of an uncompressed point on P-256, of the shared secret, and the first octet of the point.
POINT, AUTH, _UNCOMPRESSED = 65, 16, 4
#: The one scheme that a payload is sealed by.
SCHEME: Final = "aes128gcm"
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+")


class Keys(NamedTuple):
    """`repr` shows nothing of them."""

    #: The receiver's public key, uncompressed.
    p256dh: bytes
    auth: bytes

    def __repr__(self) -> str:
        return "Keys()"


def checked(p256dh: str, auth: str, field: str) -> Keys:
    """The keys in base64url or standard base64, padded or not, as the event's `field` has them. Raises `Refused`."""
    point = _octets(f"{field}.p256dh", p256dh, POINT)
    if not _is_point(point):
        raise Refused(f"{field}.p256dh: not an uncompressed point on the curve P-256")
    return Keys(point, _octets(f"{field}.auth", auth, AUTH))


def pack(keys: Keys) -> str:
    return urlsafe_b64encode(keys.p256dh + keys.auth).decode()


def unpack(text: str) -> Keys:
    """Of what `pack` wrote."""
    octets = urlsafe_b64decode(text)
    return Keys(octets[:POINT], octets[POINT:])


def _is_point(octets: bytes) -> bool:
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), octets)
    except ValueError:
        return False
    # Compressed points are taken as well, and nobody gives out any.
    return octets[0] == _UNCOMPRESSED


def _octets(field: str, text: str, length: int) -> bytes:
    word = text.rstrip("=").translate({ord("+"): "-", ord("/"): "_"})
    if not _BASE64.fullmatch(word) or len(word) % 4 == 1:
        raise Refused(f"{field}: not base64url")
    octets = urlsafe_b64decode(word + "=" * (-len(word) % 4))
    if len(octets) != length:
        raise Refused(f"{field}: {len(octets)} octets, where {length} are needed")
    return octets
