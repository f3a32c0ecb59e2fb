"""A part of what became of a message, as the document that the journal passes on to the ledger."""

from typing import Final

import msgspec

_encode: Final = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One part of a message's account: an expanded page or a delivered batch."""

    app: str
    event_id: str
    part: str
    account: msgspec.Raw


def account(app: str, event_id: str, part: str, content: object) -> bytes:
    """A part of a message's account, encoded."""
    return _encode((app, event_id, part, content))
