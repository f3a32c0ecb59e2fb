"""How many messages of a channel each member got within a window of time.

carillon:burst:<app>:<channel>:<window>   hash: user -> messages; gone when the window is over twice
"""

from collections.abc import Sequence
from typing import NamedTuple

from worker.stores.redis import Redis


class Burst(NamedTuple):
    """The members who ring for one more message of a channel. `window` in seconds."""

    app: str
    channel: str
    window: int
    users: Sequence[str]


def window_of(burst: Burst, now: float) -> int:
    """The number of the window that `now` falls into."""
    return int(now) // burst.window


def count(redis: Redis, bursts: Sequence[Burst], now: float) -> list[dict[str, int]]:
    """For each burst its users' counts, with this message in them."""
    if not bursts:
        return []
    with redis.pipeline(transaction=False) as pipe:
        for burst in bursts:
            key = f"carillon:burst:{burst.app}:{burst.channel}:{window_of(burst, now)}"
            for user in burst.users:
                pipe.hincrby(key, user, 1)
            pipe.expire(key, 2 * burst.window)
        answers = iter(pipe.execute())
    counted = []
    for burst in bursts:
        counted.append({user: int(next(answers)) for user in burst.users})
        next(answers)
    return counted
