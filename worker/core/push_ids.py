"""The ids of notifications: `apns-id`, and what other kinds have for it."""

import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from worker.core.batch import Job, Sending

#: Name-based UUIDs (version 5) of notifications live in this namespace.
NAMESPACE: Final = UUID("5f1c3b2a-7d0e-5c64-9a3e-c4211107b311")

_NAMESPACE: Final = NAMESPACE.bytes
_BLANK: Final = b"00000000-0000-5000-0000-000000000000"
_VERSION: Final = 14
_VARIANT: Final = 19
#: Hex digits of a SHA-1 digest.
_HEX: Final = 40
#: Place in an id -> place in the hex digits of a digest, without the two above.
_DIGITS: Final = [
    (place, place - _BLANK.count(b"-", 0, place))
    for place, character in enumerate(_BLANK)
    if character != ord("-") and place not in (_VERSION, _VARIANT)
]
#: The two variant bits of a UUID over a hex digit.
_VARIANTS: Final = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)


def apns_id(event_id: str, app: str, device_id: int | str) -> str:
    """The `apns-id` of one event for one device: the same on every try, on every worker, after every crash.

    The name-based UUID (RFC 9562, version 5) of app, event and device in `NAMESPACE`.
    """
    name = _of_event(_of_app(app), event_id) + str(device_id).encode()
    return str(UUID(bytes=hashlib.sha1(name, usedforsecurity=False).digest()[:16], version=5))


def push_ids(app: str, sendings: Sequence[Sending], jobs: Sequence[Job]) -> list[str]:
    """The `apns_id` of each of these jobs, at a fraction of its cost. `Job.sending` is an index into `sendings`."""
    names, current, of_event, of_app = list[bytes](), -1, b"", _of_app(app)
    for job in jobs:
        if job.sending != current:  # jobs of one sending mostly follow one another
            current = job.sending
            of_event = _of_event(of_app, sendings[current].event_id)
        names.append(of_event + b"%d" % job.device)
    return _uuids(names)


def _of_app(app: str) -> bytes:
    # The lengths keep two different pairs of app and event from spelling one name.
    return b"%b%d:%b" % (_NAMESPACE, len(app), app.encode())


def _of_event(of_app: bytes, event_id: str) -> bytes:
    return b"%b%d:%b" % (of_app, len(event_id), event_id.encode())


def _uuids(names: Sequence[bytes]) -> list[str]:
    """Digit by digit of all of them: some forty calls, however many they are."""
    digests = b"".join([hashlib.sha1(name, usedforsecurity=False).digest() for name in names])
    hexes, size = digests.hex().encode(), len(_BLANK)
    found = bytearray(_BLANK * len(names))
    for place, digit in _DIGITS:
        found[place::size] = hexes[digit::_HEX]
    found[_VARIANT::size] = hexes[_VARIANT - 3 :: _HEX].translate(_VARIANTS)
    text = found.decode()
    return [text[start : start + size] for start in range(0, len(text), size)]
