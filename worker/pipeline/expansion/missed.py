"""What is left of a message for those in quiet time: it counts for their digest, and in the numbers on their devices' icons."""

from collections.abc import Iterator, Mapping
from typing import Final

from producers.events import MessageNew
from worker.core.batch import COUNT, LEAVE
from worker.core.digest import MENTIONS, Counted, Kept, Missed, conversation, message_key, spread_of
from worker.core.quiet import Silence
from worker.core.triggers import in_channel
from worker.pipeline.expansion.decide import Decided

#: Seconds in which a user's number is shown once at most.
BADGE_PAUSE: Final = 60

_NOBODY: Final[Mapping[str, Silence]] = {}


def missed(decided: Decided, now: float) -> Iterator[Missed]:
    """One for each user who gets nothing because it is quiet. `now` in UNIX seconds."""
    message, refused = decided.page.message, decided.silent.refused
    event, place, spread = message.event, message.place, message.app.attention.digest_spread
    for user, reason, *_ in decided.decision.skips if refused else ():
        silence = refused.get(reason, _NOBODY).get(user)
        if silence is not None:
            setting = silence.setting
            number = _number(event, user)
            yield Missed(
                *(event.app, user, place),
                _counted(event, user, silence, spread) if setting.after == "digest" else None,
                now + BADGE_PAUSE if setting.badge == "silent" else 0.0,
                {} if number == LEAVE else {device.id: number for device in decided.devices.get(user, ())},
            )


def _counted(event: MessageNew, user: str, silence: Silence, spread: int) -> Counted | None:
    """None: the silence has no end."""
    if silence.until is None:
        return None
    message = event.message
    thread = message.parent_id if message.parent_id is not None and not in_channel(message) else ""
    called = not MENTIONS.isdisjoint(silence.triggers)
    kept = Kept(int(event.at.timestamp() * 1000), message_key(message.id), called)
    due = silence.until + spread_of(event.app, user, spread)
    return Counted(conversation(event.channel.id, thread), kept, silence.until, due)


def _number(event: MessageNew, user: str) -> int:
    """What becomes of the user's badges: the number that is true for them, else what the message says, else one more."""
    own = event.message.badges.get(user)
    if own is not None:
        return own
    word = event.message.badge
    if word is None or word == "increment":
        return COUNT
    return word if isinstance(word, int) else LEAVE
