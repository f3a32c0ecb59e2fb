"""What must wait until some time, in Redis and on its clock: rates of the fleet, cooldowns of devices, and quotas of ways."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.backoff import FIRST_DELAY, GROWTH
from worker.core.breaker import Quota
from worker.core.limits import Rate, Reserved
from worker.core.outcome import LONGEST_COOLDOWN, LONGEST_QUOTA
from worker.core.way import Way
from worker.state.partition import Partition
from worker.state.redis import there

#: Seconds after a cooldown of a device or way in which another refusal counts as the next in a row. After them a way is at full
#: speed again, see `take_batch.lua`.
MEMORY: Final = 60.0
QUOTA_MEMORY: Final = 10.0


class Wanted(NamedTuple):
    """Times of one bucket: for each run, how many, and the seconds within which they must be."""

    name: str
    rate: Rate
    runs: Sequence[tuple[int, float]]
    #: `ONLY`, `FIRST` or `LAST`.
    queue: int = 0


class Given(NamedTuple):
    """The times of each run, as seconds from now, and by how many seconds the bucket's last queue has moved back so far."""

    runs: list[Reserved]
    moved: float


#: Counters of pushes to devices in a minute.
_GROUPS: Final = 1 << 20
#: Queues of a bucket: the only one; the first of two; the second of two.
ONLY: Final = 0
FIRST: Final = 1
LAST: Final = 2


class Limiter:
    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys, self._scripts = partition.redis, partition.keys, partition.scripts

    def reserve(self, wanted: Sequence[Wanted]) -> list[Given]:
        """Times for all of these, in one step. A job over a rate gets a later time, but none after its horizon."""
        if not wanted:
            return []
        given = self._scripts.reserve(
            keys=[self._keys.RATE(one.name) for one in wanted],
            buckets=[(one.rate.per_second, one.rate.burst, one.queue, len(one.runs)) for one in wanted],
            runs=[run for one in wanted for run in one.runs],
        )
        return [
            Given([Reserved(int(taken), int(ahead) / 1_000_000, 0.0) for taken, ahead in runs], float(moved))
            for moved, *runs in given
        ]

    def beyond(self, free: int, way: Way, devices: Sequence[int], *, now: float) -> list[int]:
        """The indexes of the pushes that are not among the first `free` to their device in this minute, or seem so.

        Devices share a counter with few others. So what is left out is within `free` for certain, and costs almost nothing.
        """
        key = self._keys.BUSY_DEVICES(way, int(now // 60))
        counts: list[int] = []
        for some in range(0, len(devices), 1000):
            arguments: list[str | int] = ["OVERFLOW", "SAT"]
            for device in devices[some : some + 1000]:
                arguments += ("INCRBY", "u8", f"#{device % _GROUPS}", 1)
            counts += self._scripts.while_full(command="BITFIELD", key=key, arguments=arguments)
        if min(counts, default=0) == 1:
            self._scripts.while_full(command="EXPIRE", key=key, arguments=[120])
        return [place for place, n in enumerate(counts) if n > free]

    def moved(self, name: str) -> float:
        """By how many seconds the bucket's last queue has moved back since it began."""
        return float(self._redis.hget(self._keys.RATE(name), "moved") or 0.0)

    def cool_down(self, way: Way, devices: Mapping[int, float], *, jitter: float) -> dict[int, float]:
        """Starts or extends the cooldown of these devices by at least so many seconds; returns the seconds of each.

        The time grows with each refusal in a row, up to a minute; `jitter` in [0, 1).
        """
        if not devices:
            return {}
        found = self._scripts.cool_down(
            cooldowns=self._keys.COOLDOWNS(way),
            refusals=self._keys.COOLDOWN_REFUSALS(way),
            first=FIRST_DELAY,
            growth=GROWTH,
            longest=LONGEST_COOLDOWN,
            jitter=jitter,
            memory=MEMORY,
            devices=list(devices.items()),
        )
        return {int(device): int(left) / 1000 for device, left in found}

    def cooldowns(self, way: Way, devices: Sequence[int]) -> dict[int, float]:
        """The devices in cooldown, and the seconds that are left; 0.0: it is over, and a refusal would be the next in a row."""
        if not devices:
            return {}
        found = self._scripts.cooldowns(cooldowns=self._keys.COOLDOWNS(way), devices=devices)
        return {int(device): int(left) / 1000 for device, left in found}

    def end_rows(self, way: Way, devices: Collection[int]) -> None:
        """These devices got a push after their cooldown: their next refusal is the first in a row."""
        if devices:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.hdel(self._keys.COOLDOWN_REFUSALS(way), *map(str, devices))
                pipe.zrem(self._keys.COOLDOWNS(way), *map(str, devices))
                pipe.execute()

    def over_quota(self, way: Way, least: float, reason: str, *, jitter: float) -> float:
        """Sends nothing over the way for at least so many seconds; returns for how many.

        The time grows with each refusal in a row, up to `LONGEST_QUOTA`; `jitter` in [0, 1).
        """
        left = self._scripts.over_quota(
            quota=self._keys.QUOTA(way),
            least=least,
            growth=GROWTH,
            longest=LONGEST_QUOTA,
            jitter=jitter,
            memory=QUOTA_MEMORY,
            reason=reason,
        )
        return int(left) / 1000

    def quotas(self, ways: Sequence[Way]) -> dict[Way, Quota]:
        """The ways that are over a quota, or were some seconds ago."""
        keyed = {self._keys.QUOTA(way): way for way in ways}
        found = there(self._redis, list(keyed))
        with self._redis.pipeline(transaction=False) as pipe:
            for key in found:
                pipe.hmget(key, "since", "until", "reason")
            answers = pipe.execute() if found else []
        return {
            keyed[key]: Quota(float(since), float(until), reason.decode())
            for key, (since, until, reason) in zip(found, answers, strict=True)
            if until is not None
        }
