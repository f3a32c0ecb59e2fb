"""Who speaks in a push-to-talk channel: the newest speaker, and whether its members heard of one a moment ago."""

from worker.core.ptt import LIFE
from worker.state.partition import Partition

_NEWEST = "newest"


class Speakers:
    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys = partition.redis, partition.keys

    def note(self, app: str, channel: str, at: int) -> bool:
        """Somebody began to speak at this time (microseconds). Returns whether nobody did later, as far as is known."""
        key = self._keys.SPEAKER(app, channel)
        with self._redis.pipeline() as pipe:
            pipe.zadd(key, {_NEWEST: at}, gt=True)
            pipe.expire(key, 10 * LIFE)
            pipe.zscore(key, _NEWEST)
            *_, newest = pipe.execute()
        return int(newest) <= at

    def may_send(self, app: str, channel: str, event: str) -> bool:
        """Whether no other event of the channel was sent in the last seconds. A second time says the same."""
        first = self._redis.set(self._keys.SPEAKER_SENT(app, channel), event, nx=True, get=True, ex=LIFE)
        return first is None or first == event.encode()
