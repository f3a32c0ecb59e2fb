"""Push to talk: what a phone receives when somebody begins to speak. Pure."""

from math import ceil
from typing import Any, Final

import msgspec

from producers.events import PttSpeaking
from worker.core.batch import LEAVE, Sending
from worker.core.entry import ms_of
from worker.core.names import clean_name
from worker.core.trace_context import sampled

KIND: Final = "ptt"
#: Seconds for which it is worth knowing who speaks. Also those in which a channel sends it once.
LIFE: Final = 2


def expiration(entry: str, event: PttSpeaking) -> int:
    """UNIX seconds. A clock that is slow does not make it old: it counts from where it stands on the stream."""
    return ceil(max(event.at.timestamp(), ms_of(entry) / 1000)) + LIFE


def ptt_sending(entry: str, place: int, event: PttSpeaking, expires_at: int, *, named: bool) -> Sending:
    """Not `named`: for those whose push service may read no names. The system shows the speaker as it is in the payload."""
    speaker, channel = event.speaker, event.channel
    about: dict[str, Any] = {
        "event": event.id,
        "kind": KIND,
        "channel": channel.id,
        "at": int(event.at.timestamp() * 1000),
    }
    document: dict[str, Any] = {"aps": {}, "activeSpeaker": "", "carillon": about}
    if named:
        name = clean_name(speaker.name) or clean_name(speaker.id) or speaker.id
        document["activeSpeaker"] = name
        said = {"id": speaker.id, "name": name, "image": speaker.image}
        about["speaker"] = {key: value for key, value in said.items() if value}
    return Sending(
        entry=entry,
        event_id=event.id,
        prefix=msgspec.json.encode(document).decode(),
        suffix="",
        expires_at=expires_at,
        collapse_id="",
        push_type="pushtotalk",
        badge=LEAVE,
        kind=KIND,
        place=place,
        at=ms_of(entry) // 1000,
        traceparent=sampled(event.traceparent),
    )
