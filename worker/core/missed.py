"""What is left for those in quiet time of what they were not notified of. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from producers.events import MessageNew
from worker.core.digest import MENTIONS, Counted, Kept, Missed, conversation, message_key, spread_of
from worker.core.quiet import Silence, Silent
from worker.core.rules import Skip
from worker.core.triggers import in_channel

_NOBODY: Final[Mapping[str, Silence]] = {}


def missed_call(call: MessageNew, place: int, skips: Sequence[Skip], silent: Silent, spread: int) -> Iterator[Missed]:
    """One for each user whom a call did not reach because it is quiet. No icon counts it; who answered elsewhere has read it."""
    for user, silence in silenced(skips, silent.refused):
        yield Missed(call.app, user, place, counted(call, user, silence, spread), 0.0, {})


def silenced(skips: Sequence[Skip], refused: Mapping[str, Mapping[str, Silence]]) -> Iterator[tuple[str, Silence]]:
    """Those who are skipped for a silence."""
    for skip in skips if refused else ():
        if (silence := refused.get(skip.reason, _NOBODY).get(skip.user)) is not None:
            yield skip.user, silence


def counted(event: MessageNew, user: str, silence: Silence, spread: int) -> Counted | None:
    """What counts for the user's digest; None: there will be none, or the silence has no end."""
    if silence.until is None or silence.setting.after == "nothing":
        return None
    message = event.message
    thread = message.parent_id if message.parent_id is not None and not in_channel(message) else ""
    called = not MENTIONS.isdisjoint(silence.triggers)
    kept = Kept(int(event.at.timestamp() * 1000), message_key(message.id), called)
    due = silence.until + spread_of(event.app, user, spread)
    return Counted(conversation(event.channel.id, thread), kept, silence.until, due)
