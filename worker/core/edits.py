"""What an edit makes of a message. Pure."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

import msgspec

from producers.events import NO_MENTIONS, EditedMessage, Message, MessageNew, MessageUpdated

_FIELDS: Final = EditedMessage.__struct_fields__
_CONTENT: Final = blake2b(digest_size=8)
_encode: Final = msgspec.json.Encoder().encode


def content_of(message: EditedMessage) -> str:
    """Equal for two versions of a message whose text and mentions are equal: 16 hex digits."""
    content = _CONTENT.copy()
    content.update(message.text.encode())
    mentions = message.mentions
    if message.mentioned or message.mentions_everyone or mentions != NO_MENTIONS:
        content.update(b"\0" + _encode((sorted(message.mentioned), message.mentions_everyone, mentions)))
    return content.hexdigest()


def edited(event: MessageNew, edit: MessageUpdated) -> MessageNew:
    """The message as it reads after an edit. When it was written, and by whom, stays as it is."""
    now = {name: getattr(edit.message, name) for name in _FIELDS}
    return msgspec.structs.replace(event, message=msgspec.structs.replace(event.message, **now))


def edit_as_message(edit: MessageUpdated, written: int, max_age: int) -> MessageNew:
    """The edited message for those whom the edit names first. It expires as a message of the edit's time would.

    `written`: the message's own time, ms since the epoch; `max_age` in seconds.
    """
    return MessageNew(
        id=edit.id,
        app=edit.app,
        at=datetime.fromtimestamp(written / 1000, UTC) if written else edit.at,
        channel=edit.channel,
        message=Message(**{name: getattr(edit.message, name) for name in _FIELDS}),
        sender=edit.sender,
        expires_at=edit.at + timedelta(seconds=max_age),
        traceparent=edit.traceparent,
    )


def newly_named(edit: MessageUpdated, before: Collection[str]) -> list[str]:
    """Whom an edit mentions by name who was not named before."""
    return [user for user in dict.fromkeys(edit.message.mentioned) if user not in before]
