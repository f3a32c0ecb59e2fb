"""Who sends, by RFC 8292: the signature, the audience, the life time, the key, and the subject as Apple looks at it."""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from worker.simulator.web.subscriptions import decode

#: Seconds that a token may live from now on, and that one is taken after its end.
DAY: Final = 86_400
GRACE: Final = 60
_ADDRESS: Final = re.compile(r"mailto:[^\s<>@]+@(?P<host>[^\s<>@]+)")


class Vapid(NamedTuple):
    """A token whose signature and audience are good."""

    key: bytes
    expires_at: int
    subject: Any


@lru_cache(maxsize=4096)
def read(authorization: str, origin: str) -> Vapid | str:
    """The token, or the reason of its refusal whatever the time is. `origin` is where it came to."""
    scheme, _, rest = authorization.partition(" ")
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    token, public = parts.get("t"), parts.get("k")
    if scheme.lower() != "vapid" or not token or not public:
        return "BadVapid" if authorization else "MissingVapid"
    try:
        raw = decode(public.rstrip("="))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
        claims = jwt.decode(token, key, ["ES256"], options=_SIGNATURE_ALONE)
    except (ValueError, jwt.PyJWTError):
        return "BadVapid"
    expires_at = claims.get("exp")
    if type(expires_at) is not int or len(raw) != 65:
        return "BadVapid"
    return Vapid(raw, expires_at, claims.get("sub")) if claims.get("aud") == origin else "BadAudience"


def time_fault(vapid: Vapid, now: float) -> str | None:
    """Why a token is refused now; `now` in seconds since the epoch."""
    if vapid.expires_at + GRACE < now:
        return "VapidExpired"
    return "VapidTooLong" if vapid.expires_at > now + DAY else None


def is_subject(subject: object) -> bool:
    """Whether Apple takes a `sub`: an address, or a page, at a name that the world knows."""
    if not isinstance(subject, str):
        return False
    address = _ADDRESS.fullmatch(subject)
    if address is not None:
        return _is_public(address["host"])
    if not subject.startswith("https://") or re.search(r"\s", subject):
        return False
    return _is_public(urlsplit(subject).hostname or "")


def _is_public(host: str) -> bool:
    return "." in host.strip(".") and not host.lower().endswith((".local", ".localhost"))


_SIGNATURE_ALONE: Final[Any] = {
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_iss": False,
    "verify_sub": False,
}
