"""Signs of life of workers, for everybody to read: which lanes each works on, and how far its clock is off; and beat's.

Their times are those of Redis, so that no clock of a worker counts.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from worker.reports.skew import skew
from worker.reports.snapshot import WorkerFacts
from worker.state.partition import Fleet
from worker.state.redis import clock

#: Seconds for which a sign is kept; who is silent for longer is forgotten.
KEPT: Final = 120.0


class _Sign(msgspec.Struct, frozen=True):
    """`at` in UNIX seconds by Redis' clock; `ahead`: seconds by which the worker's clock is ahead of it.

    `broker`: why Celery's broker does not answer the worker, or ''.
    """

    at: float
    lanes: list[str]
    ahead: float = 0.0
    broker: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Sign).decode


def give(fleet: Fleet, name: str, lanes: list[str], now: Callable[[], float] = time.time, *, broker: str = "") -> None:
    """Says that the worker lives. `now` gives UNIX seconds by its own clock; `broker`: why the broker does not answer, or ''."""
    at = 0.0

    def ask() -> float:
        nonlocal at
        at = clock(fleet.redis)
        return at

    ahead = -skew(ask, now)
    sign = _encode(_Sign(at, lanes, round(ahead, 3), broker))
    # A full Redis takes it too: a worker is not gone because there is no room.
    fleet.scripts.while_full(command="HSET", key=fleet.keys.WORKERS(), arguments=[name, sign])


def withdraw(fleet: Fleet, name: str) -> None:
    """Says that the worker ends."""
    fleet.redis.hdel(fleet.keys.WORKERS(), name)


def read(fleet: Fleet) -> list[WorkerFacts]:
    """The workers that gave a sign in the last minutes. Forgets the others."""
    now = clock(fleet.redis)
    found: Any = fleet.redis.hgetall(fleet.keys.WORKERS())
    signs = {name: _decode(sign) for name, sign in found.items()}
    if gone := [name for name, sign in signs.items() if now - sign.at > KEPT]:
        fleet.redis.hdel(fleet.keys.WORKERS(), *gone)
    return [
        WorkerFacts(name.decode(), sign.lanes, max(0.0, now - sign.at), sign.ahead, sign.broker)
        for name, sign in sorted(signs.items())
        if name not in gone
    ]


def beat(fleet: Fleet) -> bool:
    """Whether beat sends ticks."""
    return bool(fleet.redis.exists(fleet.keys.BEAT()))
