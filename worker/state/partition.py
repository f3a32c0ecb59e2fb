"""Where the keys are: partitions, each in one slot of a cluster, and what is of no partition.

A store of one app's state takes its `Partition`. What all processes share is in the `Fleet`.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property

from worker.core.entry import Names, mark_of
from worker.state.keys import FLEET, PREFIX, Keys
from worker.state.redis import Redis
from worker.state.scripts import Scripts


class Partition:
    """The keys of some apps, which scripts change together. Its keys begin with `prefix`.

    `redis` is a client of the server that has them. `any_slot` is one for single keys wherever they are, as those of producers.
    """

    def __init__(self, index: int, prefix: str, redis: Redis, any_slot: Redis | None = None) -> None:
        self.index, self.prefix, self.redis = index, prefix, redis
        self.any_slot = redis if any_slot is None else any_slot
        mark = "" if prefix == PREFIX else mark_of(index)
        self.keys = Keys(prefix, "partition", mark)
        self.names = Names(self.keys.EVENTS(), mark)
        self.scripts = Scripts(redis, self.keys)


class Fleet:
    """What all processes of an installation tell each other and operators."""

    def __init__(self, prefix: str, redis: Redis) -> None:
        self.prefix, self.redis = prefix, redis
        self.keys = Keys(prefix, "fleet")
        self.scripts = Scripts(redis, self.keys)


class Keyspace:
    """All keys of an installation. Without `tags` it has one partition, whose keys have no tag."""

    def __init__(self, redis: Redis, tags: Sequence[str] = ()) -> None:
        #: A client for single keys, wherever they are.
        self.redis = redis
        self.partitions: Sequence[Partition] = [
            Partition(index, prefix, redis) for index, prefix in enumerate(_prefixes(tags))
        ]
        self._fleet_prefix = PREFIX + FLEET if tags else PREFIX

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.partitions)

    @cached_property
    def fleet(self) -> Fleet:
        return Fleet(self._fleet_prefix, self.redis)

    def of_app(self, app: str) -> Partition:
        return self.partitions[0]


def untagged(redis: Redis) -> Partition:
    """The only partition of an installation without tags."""
    return Keyspace(redis).partitions[0]


def _prefixes(tags: Sequence[str]) -> list[str]:
    return [f"{PREFIX}{{{tag}}}:" for tag in tags] or [PREFIX]
