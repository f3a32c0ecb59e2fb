"""The fleet's token buckets and the devices that APNs wants left alone, in Redis and on its clock. Decides nothing about either.

carillon:rate:<name>       when the bucket is full again; gone once it is
carillon:held:<provider>   zset: device -> until when it gets nothing
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

from worker.core.limits import Rate
from worker.stores.redis import Redis


class Granted(NamedTuple):
    """How many may go now; seconds until the next one may, where not all."""

    allowed: int
    wait: float


class Limiter:
    def __init__(self, redis: Redis) -> None:
        folder = files("worker.stores").joinpath("lua")
        common = folder.joinpath("common.lua").read_text()
        self._limit, self._hold, self._held = (
            redis.register_script(common + folder.joinpath(f"{name}.lua").read_text())
            for name in ("limit", "hold", "held")
        )

    def take(self, wanted: Sequence[tuple[str, int, Rate]]) -> list[Granted]:
        """For each (bucket, number wanted, rate), in one step."""
        if not wanted:
            return []
        argv = [part for name, n, rate in wanted for part in (name, n, rate.per_second, rate.burst)]
        return [Granted(int(allowed), int(wait) / 1000) for allowed, wait in self._limit(args=argv)]

    def hold(self, provider: int, devices: Mapping[int, float]) -> None:
        """These devices get nothing from the provider for so many seconds."""
        if devices:
            self._hold(args=[provider, *(part for device in devices.items() for part in device)])

    def held(self, provider: int, devices: Sequence[int]) -> dict[int, float]:
        """Those of the devices that are held, and for how many seconds more."""
        found = self._held(args=[provider, *devices]) if devices else ()
        return {int(device): int(left) / 1000 for device, left in found}
