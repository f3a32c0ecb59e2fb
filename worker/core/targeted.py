"""What a phone receives that is not a chat message: a targeted push, and a badge that was cleared elsewhere."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from producers.events import Alert, BadgeCleared, PushSend
from producers.prose import shows
from producers.targeting import INCREMENT, arranged
from worker.core import notification
from worker.core.batch import COUNT, LEAVE, SHOW, Sending
from worker.core.entry import ms_of
from worker.core.notification import HEAD, LIMIT
from worker.core.purposes import ACTIVITY, ACTIVITY_START, ALERT, PTT, VOIP
from worker.core.trace_context import sampled
from worker.core.truncation import fit

#: Seconds for which a cleared badge is worth telling: Apple keeps one push for a phone that is off, and it should be a message.
BADGE_LIFE: Final = 600

_encode: Final = msgspec.json.Encoder().encode


def expiration(event: PushSend, max_age: int) -> int:
    """UNIX seconds: the event's own, or `max_age` seconds after it is meant to be sent."""
    if event.expires_at is not None:
        return int(event.expires_at.timestamp())
    return int((event.send_at or event.at).timestamp()) + max_age


def push_sending(entry: str, place: int, event: PushSend, max_age: int) -> Sending:
    """One rendering for the whole audience."""
    badge = LEAVE
    if event.data is None:
        document = _alert(event.alert or "")
        prefix, suffix = document, b""
    else:
        aps, others = arranged(event.data, event.push_type)
        if event.push_type == "background":
            aps.setdefault("content-available", 1)
        document = _encode({"aps": aps, **others})
        counted = event.data.get("badge") == INCREMENT
        prefix, suffix = (HEAD, document[len(HEAD) :]) if counted else (document, b"")
        badge = COUNT if counted else event.data.get("badge", LEAVE)
    return Sending(
        entry=entry,
        event_id=event.id,
        prefix=prefix.decode(),
        suffix=suffix.decode(),
        expires_at=expiration(event, max_age),
        collapse_id=event.collapse_id or _collapse_id(event),
        push_type=event.push_type,
        priority=event.priority or (5 if event.push_type in ("background", "liveactivity") else 10),
        badge=badge,
        kind="push",
        place=place,
        at=ms_of(entry) // 1000,
        traceparent=sampled(event.traceparent),
    )


def _collapse_id(event: PushSend) -> str:
    """What is no banner replaces none."""
    shows_nothing = event.push_type in ("liveactivity", "pushtotalk")
    return "" if shows_nothing else notification.collapse_id(event.app, f"push:{event.id}")


def purposes_of(event: PushSend) -> Sequence[str]:
    """For which devices it is."""
    if event.push_type == "liveactivity":
        return (ACTIVITY_START,) if event.data and event.data.get("event") == "start" else (ACTIVITY,)
    return {"voip": (VOIP,), "pushtotalk": (PTT,)}.get(event.push_type, (ALERT,))


def badge_sending(entry: str, place: int, event: BadgeCleared) -> Sending:
    """`{"aps":{"badge":n}}`: the number as it is when it goes out, 0 unless another message came in between."""
    return Sending(
        entry=entry,
        event_id=event.id,
        prefix=HEAD.decode(),
        suffix="}}",
        # A clock that is slow, or a backlog, does not make it old: it counts from where it stands on the stream.
        expires_at=max(int(event.at.timestamp()), ms_of(entry) // 1000) + BADGE_LIFE,
        collapse_id=notification.collapse_id(event.app, f"badge:{event.user}"),
        priority=5,
        badge=SHOW,
        kind="badge",
        place=place,
        at=ms_of(entry) // 1000,
        traceparent=sampled(event.traceparent),
    )


def _alert(given: str | Alert) -> bytes:
    """A plain message as its payload. What does not fit of its body is cut; titles are short."""
    if isinstance(given, str):
        room = LIMIT - len(_payload(""))
        return _payload(fit(given, room))
    alert: dict[str, Any] = {key: text for key in ("title", "subtitle") if shows(text := getattr(given, key))}
    if shows(given.body):
        room = LIMIT - len(_payload({**alert, "body": ""}))
        alert["body"] = fit(given.body, room)
    return _payload(alert)


def _payload(alert: dict[str, Any] | str) -> bytes:
    return _encode({"aps": {"alert": alert, "sound": "default"}})
