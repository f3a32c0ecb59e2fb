"""Subscriptions as browsers hand them out. All of one follows from a seed and its number, so that nothing has to be kept.

The part of an endpoint that differs names the number and binds the VAPID key, signed with the seed, as Mozilla's does.
"""

import base64
import hashlib
import struct
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from worker.simulator.decryption import Receiver
from worker.simulator.web.services import SERVICES, PushService

#: Version, whether the device is constrained, number, hash of the VAPID key; then comes the signature.
_ID: Final = struct.Struct(">BBQ16s")
_SIGNATURE: Final = 10
_VERSION: Final = 1
#: Characters of the two together.
_SIGNED: Final = 48
_NO_KEY: Final = bytes(16)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """Which subscriptions are to be made."""

    service: str = "mozilla"
    count: int = 1
    #: The number of the first.
    first: int = 0
    #: The VAPID key that they are bound to, as `applicationServerKey` has it; None: any key may send.
    key: str | None = None
    #: Where the endpoints are, as `https://localhost:2198`; None: at the host of the service.
    origin: str | None = None
    #: Of Firefox on Android, which takes less.
    android: bool = False

    def __post_init__(self) -> None:
        if self.service not in SERVICES:
            raise ValueError(f"service: one of {', '.join(SERVICES)}")


class Subscription(NamedTuple):
    """What an endpoint says."""

    number: int
    #: None: any VAPID key may send.
    key_hash: bytes | None
    constrained: bool


def make(seed: int, wish: Wish) -> list[dict[str, Any]]:
    """Subscriptions as `JSON.stringify(subscription)` gives them."""
    service = SERVICES[wish.service]
    where = f"https://{service.host}" if wish.origin is None else f"{wish.origin}/{service.name}"
    key_hash = _NO_KEY if wish.key is None else hash_of(decode(wish.key))
    found = []
    for number in range(wish.first, wish.first + wish.count):
        browser = browser_of(seed, number)
        last = _token(seed, service, _ID.pack(_VERSION, wish.android, number, key_hash))
        keys = {"p256dh": encode(browser.public), "auth": encode(browser.auth)}
        found.append({"endpoint": f"{where}{service.path}{last}", "expirationTime": None, "keys": keys})
    return found


def find(seed: int, service: PushService, path: str) -> Subscription | None:
    """The subscription of an endpoint's path at its service; None where it was not made with this seed, or was mutilated."""
    start = next((start for start in service.paths if path.startswith(start)), None)
    if start is None:
        return None
    token = path[len(start) :]
    try:
        raw = decode(token[:_SIGNED])
    except ValueError:
        return None
    if len(raw) != _ID.size + _SIGNATURE or token != _token(seed, service, raw[: _ID.size]):
        return None
    _, constrained, number, key_hash = _ID.unpack(raw[: _ID.size])
    return Subscription(number, None if key_hash == _NO_KEY else key_hash, bool(constrained))


@lru_cache(maxsize=20_000)
def browser_of(seed: int, number: int) -> Receiver:
    """The keys of a subscription."""
    material = hashlib.blake2b(f"{seed} {number}".encode()).digest()
    private = ec.derive_private_key(int.from_bytes(material[:40], "big") % (_ORDER - 1) + 1, ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return Receiver(private, public, material[40:56])


def hash_of(key: bytes) -> bytes:
    """What an endpoint keeps of a VAPID key."""
    return hashlib.sha256(key).digest()[:16]


@lru_cache(maxsize=20_000)
def _token(seed: int, service: PushService, identity: bytes) -> str:
    signature = hashlib.blake2b(identity, digest_size=_SIGNATURE, key=f"{seed} {service.name}".encode()).digest()
    filler = hashlib.shake_128(signature).digest(service.length)
    return (encode(identity + signature) + encode(filler))[: service.length]


def encode(octets: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Of base64url without padding. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
