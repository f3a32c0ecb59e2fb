"""How many messages of a channel each member got within a window of time.

carillon:burst:<app>:<channel>:<window>   hash: user -> messages, and line break + page of a message -> the most that it was for
                                          anybody; gone when the window is over twice
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

from worker.state.redis import Redis

_SCRIPT: Final = files("worker.state").joinpath("lua", "count_bursts.lua").read_text()
#: Seconds of a window at most: a count is kept for two of them.
LONGEST: Final = 86_400
#: Users in one call of the script: Redis serves nobody else meanwhile.
_USERS: Final = 5_000


class Burst(NamedTuple):
    """The members who ring for one page of a message of a channel. `window` in seconds, `page` names the page and its message."""

    app: str
    channel: str
    window: int
    page: str
    users: Sequence[str]


class Bursts:
    def __init__(self, redis: Redis) -> None:
        self._count = redis.register_script(_SCRIPT)

    def count(self, bursts: Sequence[Burst], now: float) -> list[dict[str, int]]:
        """For each burst its users' counts, with this message in them, `now` in UNIX seconds.

        A page that is counted again, as when its expansion is tried again, counts nothing, in this window and the next one.
        """
        counted: list[dict[str, int]] = []
        argv: list[Any] = []
        waiting: list[Burst] = []
        for burst in bursts:
            argv += _arguments(burst, now)
            waiting.append(burst)
            if len(argv) >= _USERS:
                counted += self._run(waiting, argv)
                argv, waiting = [], []
        return counted + self._run(waiting, argv)

    def _run(self, bursts: Sequence[Burst], argv: Sequence[Any]) -> list[dict[str, int]]:
        if not bursts:
            return []
        answers: Any = self._count(args=argv)
        return [dict(zip(burst.users, counts, strict=True)) for burst, counts in zip(bursts, answers, strict=True)]


def window_of(burst: Burst, now: float) -> int:
    """The number of the window that `now` falls into."""
    return int(now) // _seconds(burst)


def _seconds(burst: Burst) -> int:
    return min(burst.window, LONGEST)


def _arguments(burst: Burst, now: float) -> list[Any]:
    window = window_of(burst, now)
    key, before = (f"carillon:burst:{burst.app}:{burst.channel}:{number}" for number in (window, window - 1))
    return [key, before, _seconds(burst), f"\n{burst.page}", len(burst.users), *burst.users]
