"""Puts documents on the streams of their apps, for what workers publish themselves."""

from collections.abc import Sequence

import redis

from producers.events import FIELD
from producers.routing import next_part, places
from worker.state.partition import Keyspace
from worker.state.streams import app_named


def publish(keyspace: Keyspace, documents: Sequence[bytes]) -> None:
    """Puts the documents on the streams of their apps' partitions, in order in each: those of a partition together, or none.

    Raises `ConnectionError` where this process has the partitions of before, as if Redis were away.
    """
    layout = keyspace.layout
    found = places(layout, [app_named(document) or "" for document in documents], documents)
    left: Sequence[int] = range(len(documents))
    try:
        while left:
            part = next_part(layout, found, left)
            streams = [layout.stream(found[at].app, channel=found[at].channel) for at in part]
            client = keyspace.partitions[found[part[0]].partition].redis
            if len(part) == 1:
                client.xadd(streams[0], {FIELD: documents[part[0]]})
            else:
                with client.pipeline(transaction=True) as pipe:
                    for at, stream in zip(part, streams, strict=True):
                        pipe.xadd(stream, {FIELD: documents[at]})
                    pipe.execute()
            done = {*part}
            left = [at for at in left if at not in done]
    except redis.ResponseError as fault:
        if "WRONGTYPE" in str(fault):
            raise redis.ConnectionError("the partitions were changed") from fault
        raise
