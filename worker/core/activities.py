"""Live Activities: which requests an update becomes. Pure."""

from typing import Final

from producers.activities import activity_payload
from producers.events import ActivityUpdated
from worker.core.batch import LEAVE, Sending
from worker.core.entry import ms_of
from worker.core.ownership import microseconds
from worker.core.purposes import ACTIVITY, ACTIVITY_START
from worker.core.trace_context import sampled

KIND: Final = "activity"
#: Seconds for which an update is worth sending. An end is longer: without it the phone shows what is not so any more.
LIFE: Final = 600
_END_LIFE: Final = 3_600
#: Seconds between looks for the token of an activity that the app has yet to register: a minute in all.
LOOKS: Final = (1, 2, 4, 8, 15, 30)


def purpose_of(event: ActivityUpdated) -> str:
    """For which devices it is."""
    return ACTIVITY_START if event.event == "start" else ACTIVITY


def expiration(event: ActivityUpdated) -> int:
    """UNIX seconds."""
    return int(event.at.timestamp()) + (_END_LIFE if event.event == "end" else LIFE)


def wants_urgent(event: ActivityUpdated) -> bool:
    """Whether it should go out at once, which costs the phone's budget."""
    return event.urgent or event.event != "update"


def activity_sending(entry: str, place: int, event: ActivityUpdated, *, urgent: bool) -> Sending:
    return Sending(
        entry=entry,
        event_id=event.id,
        prefix=activity_payload(event).decode(),
        suffix="",
        expires_at=expiration(event),
        collapse_id="",
        push_type="liveactivity",
        priority=10 if urgent else 5,
        badge=LEAVE,
        kind=KIND,
        place=place,
        at=ms_of(entry) // 1000,
        traceparent=sampled(event.traceparent),
        activity=event.activity,
        said_at=microseconds(event.at),
        # A channel that stores nothing takes no other expiration than 0.
        fleeting=event.channel is not None and not event.stored,
    )
