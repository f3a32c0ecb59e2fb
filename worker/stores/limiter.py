"""The fleet's token buckets, in Redis and on its clock. Decides nothing about what is limited.

carillon:rate:<name>   when the bucket is full again; gone once it is
"""

from collections.abc import Sequence
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
        source = folder.joinpath("common.lua").read_text() + folder.joinpath("limit.lua").read_text()
        self._script = redis.register_script(source)

    def take(self, wanted: Sequence[tuple[str, int, Rate]]) -> list[Granted]:
        """For each (bucket, number wanted, rate), in one step."""
        if not wanted:
            return []
        argv = [part for name, n, rate in wanted for part in (name, n, rate.per_second, rate.burst)]
        return [Granted(int(allowed), int(wait) / 1000) for allowed, wait in self._script(args=argv)]
