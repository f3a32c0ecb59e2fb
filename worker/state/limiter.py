"""What may not be sent before some time, in Redis and on its clock: rates of the fleet, and devices that cool down.

carillon:notbefore:<limit>:<of>                   hash: full (when the bucket is full again), ahead, moved; gone once it is full
carillon:notbefore:device:<provider>              zset: device -> until when it gets nothing
carillon:notbefore:device:<provider>:refusals     hash: device -> cooldowns in a row
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

from worker.core.limits import Rate, Reserved
from worker.core.outcome import FIRST_DELAY, GROWTH, LONGEST_COOLDOWN
from worker.state.redis import Redis

#: Seconds after a cooldown in which another refusal counts as the next in a row.
MEMORY: Final = 60.0


class Wanted(NamedTuple):
    """Times of one bucket: for each run, how many, and the seconds within which they have to be."""

    name: str
    rate: Rate
    runs: Sequence[tuple[int, float]]
    #: `ONLY`, `FIRST` or `LAST`.
    queue: int = 0


class Given(NamedTuple):
    """The times of each run, as seconds from now, and by how many seconds the bucket's last queue has moved back so far."""

    runs: list[Reserved]
    moved: float


#: Queues of a bucket: what has one alone; what goes before all that waits in the other; and that other.
ONLY: Final = 0
FIRST: Final = 1
LAST: Final = 2


class Limiter:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        folder = files("worker.state").joinpath("lua")
        common = folder.joinpath("common.lua").read_text()
        self._reserve, self._cool_down, self._cooldowns = (
            redis.register_script(common + folder.joinpath(f"{name}.lua").read_text())
            for name in ("reserve", "cool_down", "cooldowns")
        )

    def reserve(self, wanted: Sequence[Wanted]) -> list[Given]:
        """Times for all of these, in one step. What is over a rate is given a time ahead; what is beyond its horizon none."""
        if not wanted:
            return []
        argv: list[Any] = []
        for name, rate, runs, queue in wanted:
            argv += (name, rate.per_second, rate.burst, queue, len(runs), *(part for run in runs for part in run))
        return [
            Given([Reserved(int(taken), int(ahead) / 1_000_000, 0.0) for taken, ahead in runs], float(moved))
            for moved, *runs in self._reserve(args=argv)
        ]

    def moved(self, name: str) -> float:
        """By how many seconds the bucket's last queue has moved back since it began."""
        return float(self._redis.hget(f"carillon:notbefore:{name}", "moved") or 0.0)

    def cool_down(self, provider: int, devices: Mapping[int, float], *, jitter: float) -> dict[int, float]:
        """These devices get nothing from the provider for so many seconds at least; returns for how many each does.

        The time grows with each refusal in a row, up to a minute; `jitter` in [0, 1).
        """
        if not devices:
            return {}
        given = (part for device in devices.items() for part in device)
        found = self._cool_down(args=[provider, FIRST_DELAY, GROWTH, LONGEST_COOLDOWN, jitter, MEMORY, *given])
        return {int(device): int(left) / 1000 for device, left in found}

    def cooldowns(self, provider: int, devices: Sequence[int]) -> dict[int, float]:
        """Those of the devices that cool down, and for how many seconds more."""
        found = self._cooldowns(args=[provider, *devices]) if devices else ()
        return {int(device): int(left) / 1000 for device, left in found}
