"""One message from a few words, for a person at a shell who wants to see a push arrive."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from producers.errors import EventError


@dataclass(frozen=True, kw_only=True)
class Words:
    """The values from the command line. `None` leaves a field out; missing ids are generated."""

    app: str | None = None
    channel: str | None = None
    sender: str | None = None
    text: str | None = None
    id: str | None = None
    message_id: str | None = None
    channel_name: str | None = None
    sender_name: str | None = None
    parent: str | None = None
    parent_sender: str | None = None
    kind: str | None = None
    #: A JSON object.
    data: str | None = None
    mention: Sequence[str] = ()
    recipient: Sequence[str] = ()
    mention_everyone: bool = False
    skip_push: bool = False


def composed(words: Words, at: datetime) -> dict[str, Any]:
    """The `message.new` for these values, not yet checked against the contract. Raises `EventError` for missing values."""
    for name in ("app", "channel", "sender"):
        if not getattr(words, name):
            raise EventError(f"{name}: required; give a FILE or -, or --app, --channel, --sender and --text")
    message = {
        "id": words.message_id or f"msg-{uuid4().hex}",
        "text": words.text or "",
        "parent_id": words.parent,
        "parent_sender": words.parent_sender,
        "mentioned": list(words.mention),
        "kind": words.kind or "regular",
        "skip_push": words.skip_push,
        "data": _data(words.data),
    }
    if words.mention_everyone:
        message["mentions_everyone"] = True  # workers of earlier releases do not know this field
    return {
        "v": 1,
        "type": "message.new",
        "id": words.id or f"evt-{uuid4().hex}",
        "app": words.app,
        "at": at.isoformat(),
        "channel": {"id": words.channel, "name": words.channel_name},
        "message": message,
        "sender": {"id": words.sender, "name": words.sender_name},
        "recipients": list(words.recipient) or None,
    }


def _data(text: str | None) -> Any:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        raise EventError("""data: not JSON; expected an object such as '{"place": 3}'""") from None
