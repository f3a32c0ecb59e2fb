"""What takes a notification back: a banner that was read elsewhere or whose message was deleted goes, and the number with it.

A phone that is off keeps one push of an app, which should be a message: without a number such a push goes now or never.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from producers.events import ChannelRead, MessageDeleted
from worker.core import notification
from worker.core.batch import LEAVE, SHOW, Sending
from worker.core.entry import ms_of
from worker.core.notification import HEAD, Rendered
from worker.core.targeted import BADGE_LIFE
from worker.core.trace_context import sampled

#: What an app says that it takes: clearings and retractions, and notifications that replace one that it shows.
CLEAR: Final = "clear"
EDIT: Final = "edit"
#: Seconds after it was accepted for which a notification is replaced: later the user may have swiped it away.
REPLACED: Final = 300
#: What stands in the place of a message that was deleted.
DELETED: Final = "This message was deleted"

_encode: Final = msgspec.json.Encoder().encode


def clear_sending(entry: str, place: int, event: ChannelRead, until: int, *, counted: bool) -> Sending:
    """`{"aps": {"badge": n, "content-available": 1}, "carillon": {"clear": {"channel": …, "until": ms}}}`.

    Without a number it is a background push. `until`: ms since the epoch, of the newest message that was seen.
    """
    clear: dict[str, Any] = {"channel": event.channel.id, "until": until}
    if event.thread is not None:
        clear["thread"] = event.thread
    name = f"clear:{event.channel.id}\n{event.thread or ''}"
    return _sending(entry, place, event, "clear", name, {"clear": clear}, counted=counted)


def number_sending(entry: str, place: int, event: ChannelRead) -> Sending:
    """`{"aps":{"badge":n}}`, for a device whose app takes no clearing."""
    sending = _sending(entry, place, event, "badge", f"badge:{event.user}", {}, counted=True)
    return msgspec.structs.replace(sending, suffix="}}")


def retract_sending(entry: str, place: int, event: MessageDeleted) -> Sending:
    """`{"aps": {"content-available": 1}, "carillon": {"retract": {"channel": …, "message": …}}}`."""
    retract = {"channel": event.channel.id, "message": event.message.id}
    name = f"retract:{event.channel.id}\n{event.message.id}"
    return _sending(entry, place, event, "retract", name, {"retract": retract}, counted=False)


def replacing_sending(entry: str, place: int, event: MessageDeleted) -> Sending:
    """Takes the place of the message's notification, without a sound. It says the same in `carillon`."""
    sending = retract_sending(entry, place, event)
    aps = {"alert": {"body": DELETED}, "interruption-level": "passive", "thread-id": event.channel.id}
    carillon = {"retract": {"channel": event.channel.id, "message": event.message.id}}
    return msgspec.structs.replace(
        sending,
        prefix=_encode({"aps": aps, "carillon": carillon}).decode(),
        collapse_id=notification.collapse_id(event.app, event.message.id, event.channel.id),
        push_type="alert",
        importance="silent",
        fleeting=False,
    )


def with_hidden_ids(sending: Sending) -> Sending:
    """The same for a device that is sent nothing but what is sealed: with names for its ids that it alone knows."""
    prefix = sending.prefix
    if '"thread-id"' in prefix:
        document = msgspec.json.decode(prefix)
        del document["aps"]["thread-id"]
        prefix = _encode(document).decode()
    return msgspec.structs.replace(sending, prefix=prefix, hides_ids=True)


def _sending(
    entry: str,
    place: int,
    event: ChannelRead | MessageDeleted,
    kind: str,
    name: str,
    carillon: Mapping[str, Any],
    *,
    counted: bool,
) -> Sending:
    document = _encode({"aps": {"content-available": 1}, "carillon": carillon})
    rendered = Rendered(HEAD, document[len(HEAD) :]) if counted else Rendered(document, b"")
    return Sending(
        entry=entry,
        event_id=event.id,
        prefix=rendered.prefix.decode(),
        suffix=rendered.suffix.decode(),
        expires_at=max(int(event.at.timestamp()), ms_of(entry) // 1000) + BADGE_LIFE,
        collapse_id=notification.collapse_id(event.app, name),
        push_type="alert" if counted else "background",
        priority=5,
        badge=SHOW if counted else LEAVE,
        kind=kind,
        place=place,
        at=ms_of(entry) // 1000,
        traceparent=sampled(event.traceparent),
        fleeting=not counted,
    )
