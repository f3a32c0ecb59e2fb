"""What is left of a message for those in quiet time: it counts for their digest, and in the numbers on their devices' icons."""

from collections.abc import Iterator
from typing import Final

from worker.core.badges import badge_of
from worker.core.batch import LEAVE
from worker.core.digest import Missed
from worker.core.missed import counted, silenced
from worker.pipeline.expansion.decide import Decided

#: Seconds in which a user's number is shown once at most.
BADGE_PAUSE: Final = 60


def missed(decided: Decided, now: float) -> Iterator[Missed]:
    """One for each user who gets nothing because it is quiet. `now` in UNIX seconds."""
    message, refused = decided.page.message, decided.silent.refused
    event, place, spread = message.event, message.place, message.app.attention.digest_spread
    for user, silence in silenced(decided.decision.skips, refused):
        number = badge_of(event.message, event.message.badges.get(user))
        yield Missed(
            *(event.app, user, place),
            counted(event, user, silence, spread),
            now + BADGE_PAUSE if silence.setting.badge == "silent" else 0.0,
            {} if number == LEAVE else {device.id: number for device in decided.devices.get(user, ())},
        )
