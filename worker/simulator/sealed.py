"""What an app finds in notifications that were sealed for its device, where the record has them and somebody gives its keys."""

from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from worker.simulator.decryption import Receiver, Unreadable, decrypt

#: Where each kind of push service has what is sealed.
_PLACES: Final = (
    ("carillon", "sealed"),
    ("message", "android", "data", "sealed"),
    ("message", "apns", "payload", "carillon", "sealed"),
)


class DeviceKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The private key and the secret of a device, in base64url."""

    private: str
    auth: str

    def __repr__(self) -> str:
        return "DeviceKeys()"

    def receiver(self) -> Receiver:
        private = ec.derive_private_key(int.from_bytes(_octets(self.private), "big"), ec.SECP256R1())
        point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return Receiver(private, point, _octets(self.auth))


class Opened(NamedTuple):
    """A notification that was sealed: its number in the record, what is inside, or why the app cannot read it."""

    number: int
    token: str
    inside: Any = None
    fault: str | None = None


def open_all(entries: Iterable[Any], keys: Mapping[str, DeviceKeys]) -> list[Opened]:
    """The entries with something sealed for one of these devices, which are given by their tokens."""
    receivers = {token: one.receiver() for token, one in keys.items()}
    return [
        _opened(entry, sealed, receivers[entry.token])
        for entry in entries
        if entry.token in receivers and entry.payload is not None
        for sealed in _sealed(entry.payload)
    ]


def _sealed(payload: str) -> list[Any]:
    document, found = msgspec.json.decode(payload), []
    for place in _PLACES:
        value = document
        for key in place:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found.append(msgspec.json.decode(value) if isinstance(value, str) else value)
    return found


def _opened(entry: Any, sealed: Any, receiver: Receiver) -> Opened:
    if sealed.get("s") != "aes128gcm":
        return Opened(entry.number, entry.token, fault="the scheme is unknown")
    try:
        return Opened(entry.number, entry.token, msgspec.json.decode(decrypt(_octets(sealed["d"]), receiver)))
    except (Unreadable, KeyError, ValueError) as error:
        return Opened(entry.number, entry.token, fault=str(error))


def _octets(text: str) -> bytes:
    """Of base64url without padding. Raises ValueError."""
    return b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
