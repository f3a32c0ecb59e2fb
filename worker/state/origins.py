"""The origins of each provider that have their own way."""

from collections.abc import Collection
from typing import Final

from worker.core.way import MOST_ORIGINS, OTHER, Way, way_of
from worker.state.partition import Partition
from worker.state.redis import there

#: Seconds after its last push for which an origin keeps its way.
KEPT: Final = 30 * 86_400


class Origins:
    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys, self._scripts = partition.redis, partition.keys, partition.scripts

    def note(self, provider: int, origins: Collection[str]) -> dict[str, str]:
        """The name of the way of each of these origins: the origin, or `OTHER` if too many have one."""
        found = self._scripts.note_origins(
            known=self._keys.ORIGINS(provider), most=MOST_ORIGINS, keep=KEPT, other=OTHER, origins=origins
        )
        shared = {origin.decode() for origin in found}
        return {origin: OTHER if origin in shared else origin for origin in origins}

    def ways(self, providers: Collection[int]) -> dict[int, list[Way]]:
        """The ways of each provider: that of the whole provider, and those of the origins that were used."""
        used = self.used(providers)
        return {id: [id, *used.get(id, ())] for id in providers}

    def used(self, providers: Collection[int]) -> dict[int, list[Way]]:
        """The ways of origins that were used, of those of the providers that have any."""
        keyed = {self._keys.ORIGINS(id): id for id in providers}
        found = there(self._redis, list(keyed))
        with self._redis.pipeline(transaction=False) as pipe:
            for key in found:
                pipe.zrange(key, 0, -1)
            answers = pipe.execute() if found else []
        return {
            keyed[key]: [way_of(keyed[key], one.decode()) for one in origins]
            for key, origins in zip(found, answers, strict=True)
        }
