"""Devices whose retirement is deferred: their token was refused, and the provider may be at fault.

Times are on Redis' clock. Decides nothing.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from worker.core.outcome import Refusal
from worker.core.way import Way, way_in
from worker.state.partition import Partition

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Refusal).decode


class DeferredDevices:
    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys, self._scripts = partition.redis, partition.keys, partition.scripts

    def add(self, way: Way, refusals: Sequence[Refusal], *, delay: float) -> None:
        """Defers the retirement of these devices by `delay` seconds."""
        if refusals:
            self._scripts.defer(
                ways=self._keys.DEFERRED_PROVIDERS(),
                deferred=self._keys.DEFERRED(way),
                way=way,
                delay=delay,
                refusals=[_encode(one) for one in refusals],
            )

    def due(self, *, delay: float, limit: int = 5000) -> dict[Way, list[Refusal]]:
        """The refusals that are due, by way. After a time without a call they are due in `delay` seconds."""
        found = self._scripts.deferred_due(delay=delay, limit=limit)
        return {way_in(way): [_decode(one) for one in members] for way, members in found}

    def forget(self, way: Way, refusals: Sequence[Refusal]) -> None:
        """Removes these refusals: they are decided."""
        if refusals:
            self._redis.zrem(self._keys.DEFERRED(way), *map(_encode, refusals))

    def forget_all(self, way: Way) -> None:
        """Removes all refusals of a way."""
        self._redis.delete(self._keys.DEFERRED(way))

    def waiting(self) -> bool:
        """Whether any retirement is deferred."""
        return bool(self._redis.exists(self._keys.DEFERRED_PROVIDERS()))
