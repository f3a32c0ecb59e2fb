"""A part of what became of a message, as the document that the journal passes on to the ledger."""

from collections.abc import Mapping
from typing import Final

import msgspec

_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One part of a message's account: an expanded page, a second look, or a delivered batch."""

    app: str
    event_id: str
    part: str
    account: msgspec.Raw
    #: UNIX milliseconds at which it was so; 0: not known, or written by a release before.
    moment: int = 0
    #: Of a batch: its provider, and the milliseconds until all of its answers had come.
    provider: int = 0
    took: int = 0


def decides(part: str) -> bool:
    """Whether a part of an account says who is notified and who is not: that of a page, or of a second look."""
    return part.startswith(("page:", "look:"))


def account(
    app: str, event_id: str, part: str, content: object, moment: int = 0, provider: int = 0, took: int = 0
) -> bytes:
    """A part of a message's account, encoded; `moment`, `provider` and `took` as of `Entry`."""
    return _encode((app, event_id, part, content, moment, provider, took))


def accounts(
    app: str, part: str, contents: Mapping[str, object], moment: int = 0, provider: int = 0, took: int = 0
) -> list[bytes]:
    """The same part of several messages' accounts. `contents` by event id."""
    entries = [(app, event, part, content, moment, provider, took) for event, content in contents.items()]
    # No document has a line break: JSON writes one in a text as two characters.
    return _encoder.encode_lines(entries).splitlines()


def beginning(app: str, event_id: str) -> bytes:
    """What every part of this event's account begins with, encoded."""
    return _encode((app, event_id))[:-1] + b","
