"""How many messages of a channel each member got within a window of time."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from worker.state import keys
from worker.state.redis import Redis
from worker.state.scripts import Scripts

#: Seconds of a window at most: a count is kept for two of them.
LONGEST: Final = 86_400
#: Users in one call of the script: Redis serves no other client meanwhile.
_USERS: Final = 5_000


class Burst(NamedTuple):
    """The members who get a push for one page of a message. `window` in seconds; `page` names the page and its message."""

    app: str
    channel: str
    window: int
    page: str
    users: Sequence[str]


class Bursts:
    def __init__(self, redis: Redis) -> None:
        self._scripts = Scripts(redis)

    def count(self, bursts: Sequence[Burst], now: float) -> list[dict[str, int]]:
        """For each burst its users' counts, with this message in them, `now` in UNIX seconds.

        A page that is counted again, as when its expansion is tried again, counts nothing, in this window and the next one.
        """
        counted: list[dict[str, int]] = []
        waiting: list[Burst] = []
        users = 0
        for burst in bursts:
            waiting.append(burst)
            users += len(burst.users)
            if users >= _USERS:
                counted += self._run(waiting, now)
                waiting, users = [], 0
        return counted + self._run(waiting, now)

    def _run(self, bursts: Sequence[Burst], now: float) -> list[dict[str, int]]:
        if not bursts:
            return []
        answers: Any = self._scripts.count_bursts(
            windows=[_keys(burst, now) for burst in bursts],
            bursts=[(_seconds(burst), f"\n{burst.page}", len(burst.users)) for burst in bursts],
            users=[user for burst in bursts for user in burst.users],
        )
        return [dict(zip(burst.users, counts, strict=True)) for burst, counts in zip(bursts, answers, strict=True)]


def window_of(burst: Burst, now: float) -> int:
    """The number of the window that `now` falls into."""
    return int(now) // _seconds(burst)


def _seconds(burst: Burst) -> int:
    return min(burst.window, LONGEST)


def _keys(burst: Burst, now: float) -> tuple[str, str]:
    """Of the window that `now` falls into, and of the one before."""
    window = window_of(burst, now)
    return keys.BURST(burst.app, burst.channel, window), keys.BURST(burst.app, burst.channel, window - 1)
