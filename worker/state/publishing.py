"""Puts documents on the streams of their apps, for what workers publish themselves."""

from collections.abc import Sequence

import redis

from producers.events import FIELD
from worker.state.partition import Keyspace, Partition
from worker.state.streams import app_named


def publish(keyspace: Keyspace, documents: Sequence[bytes]) -> None:
    """Puts the documents on the inlets of their apps' partitions, in order in each: those of a partition together, or none.

    Raises `ConnectionError` where this process has the partitions of before, as if Redis were away.
    """
    parts: dict[int, tuple[Partition, list[bytes]]] = {}
    for document in documents:
        partition = keyspace.of_app(app_named(document) or "")
        parts.setdefault(partition.index, (partition, []))[1].append(document)
    try:
        for partition, of_partition in parts.values():
            if len(of_partition) == 1:
                partition.redis.xadd(partition.keys.EVENTS(), {FIELD: of_partition[0]})
                continue
            with partition.redis.pipeline(transaction=True) as pipe:
                for document in of_partition:
                    pipe.xadd(partition.keys.EVENTS(), {FIELD: document})
                pipe.execute()
    except redis.ResponseError as fault:
        if "WRONGTYPE" in str(fault):
            raise redis.ConnectionError("the partitions were changed") from fault
        raise
