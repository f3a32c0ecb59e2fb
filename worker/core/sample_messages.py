"""Messages to try templates on: plain, bare, a reply, a long one."""

from datetime import UTC, datetime
from typing import Final

from producers.events import Channel, Message, MessageNew, Sender

_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)


def sample(
    app: str, kind: str = "regular", *, channel: str = "general", name: str | None = "General", at: datetime = _AT
) -> MessageNew:
    """A message as most are."""
    return MessageNew(
        id="sample-event",
        app=app,
        at=at,
        channel=Channel(id=channel, name=name),
        message=Message(id="sample-message", text="Shall we meet at eight? ☕", kind=kind, data={"count": 3}),
        sender=Sender(id="leia", name="Leia Organa", image="https://example.org/leia.png"),
    )


def samples(app: str, kind: str) -> list[MessageNew]:
    """What a template has to cope with."""
    return [
        sample(app, kind),
        MessageNew(
            id="sample-event",
            app=app,
            at=_AT,
            channel=Channel(id="c"),
            message=Message(id="m", text="No names at all", kind=kind),
            sender=Sender(id="s"),
        ),
        MessageNew(
            id="sample-event",
            app=app,
            at=_AT,
            channel=Channel(id="c", name="Général"),
            message=Message(id="m", text="@you: look", parent_id="p", mentioned=["sample-user"], kind=kind),
            sender=Sender(id="s", name="Æ"),
        ),
        MessageNew(
            id="sample-event",
            app=app,
            at=_AT,
            channel=Channel(id="c" * 255, name="n" * 255),
            message=Message(id="m" * 255, text="👩‍👩‍👧‍👦 long " * 2000, kind=kind, data={"blob": "x" * 8000}),
            sender=Sender(id="s" * 255, name="👋🏽" * 100),
        ),
    ]
