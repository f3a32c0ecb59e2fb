"""What a partition has taken of an app's channels and not yet delivered."""

import re
from typing import Any, Final, NamedTuple

from worker.state.copying import CHUNK, ITEMS, chunks, text_of
from worker.state.partition import Partition

#: In the orders of a batch (`device_orders` in `worker/core/batch.py`): the section of a channel.
_OF_CHANNEL: Final = re.compile(rb"@[^/,]*/[^/,]+/")


class OpenInChannels(NamedTuple):
    """Messages that are not expanded to their end, and batches that are not delivered."""

    messages: int
    batches: int


def open_in_channels(of: Partition, app: str) -> OpenInChannels:
    """One walk over the partition's keys."""
    messages = 0
    for _, state in of.redis.hscan_iter(of.keys.EXPANDING(), count=ITEMS):
        its, _, _, channel = (*text_of(state).split("\n", 3), "", "", "")[:4]
        messages += its == app and channel != ""
    batches, keys = 0, list(of.redis.scan_iter(match=of.keys.BATCH("*"), count=ITEMS))
    for some in chunks(keys, CHUNK):
        with of.redis.pipeline(transaction=False) as pipe:
            for one in some:
                pipe.hmget(one, "app", "devices")
            answers: Any = pipe.execute()
        found = (devices for its, devices in answers if its == app.encode() and devices)
        batches += sum(_OF_CHANNEL.search(devices) is not None for devices in found)
    return OpenInChannels(messages, batches)
