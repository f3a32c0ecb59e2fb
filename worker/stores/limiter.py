"""What may not be sent before some time, in Redis and on its clock: rates of the fleet, and devices that cool down.

carillon:rate:<name>                              when the bucket is full again; gone once it is
carillon:notbefore:device:<provider>              zset: device -> until when it gets nothing
carillon:notbefore:device:<provider>:refusals     hash: device -> cooldowns in a row
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from worker.core.limits import Rate
from worker.core.outcome import FIRST_DELAY, GROWTH, LONGEST_COOLDOWN
from worker.stores.redis import Redis

#: Seconds after a cooldown in which another refusal counts as the next in a row.
MEMORY: Final = 60.0


class Granted(NamedTuple):
    """How many may go now; seconds until the next one may, where not all."""

    allowed: int
    wait: float


class Limiter:
    def __init__(self, redis: Redis) -> None:
        folder = files("worker.stores").joinpath("lua")
        common = folder.joinpath("common.lua").read_text()
        self._limit, self._cool_down, self._cooldowns = (
            redis.register_script(common + folder.joinpath(f"{name}.lua").read_text())
            for name in ("limit", "cool_down", "cooldowns")
        )

    def take(self, wanted: Sequence[tuple[str, int, Rate]]) -> list[Granted]:
        """For each (bucket, number wanted, rate), in one step."""
        if not wanted:
            return []
        argv = [part for name, n, rate in wanted for part in (name, n, rate.per_second, rate.burst)]
        return [Granted(int(allowed), int(wait) / 1000) for allowed, wait in self._limit(args=argv)]

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
