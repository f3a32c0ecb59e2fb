"""Calls of the last minutes: who began one, for whom it has ended, and which devices showed it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from worker.state.partition import Partition

#: Seconds for which a call is known after the last that was heard of it: more than twice the longest life of one.
KEPT: Final = 600
#: Fields. The last two are followed by the user and the device; the end for everybody has no user.
_BY, _DOCUMENT, _ENDED, _SHOWN = "by", "document", "ended:", "shown:"

#: App, and the call's id.
CallKey = tuple[str, str]


class End(NamedTuple):
    reason: str
    #: The event that said so first.
    by: str


class Known(NamedTuple):
    """What is known of one call."""

    #: The event that began it first; '' if none did.
    by: str = ""
    #: As that event's entry was kept; empty if none did.
    document: bytes = b""
    #: User -> how it has ended for them; '' for everybody.
    ended: Mapping[str, End] = {}
    #: Devices by which its notification was accepted.
    shown: Collection[int] = frozenset()

    def ended_for(self, user: str) -> End | None:
        """How it has ended for a user; None: it has not."""
        return self.ended.get(user, self.ended.get(""))


class Calls:
    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys = partition.redis, partition.keys

    def begin(self, call: CallKey, event: str, document: bytes) -> Known:
        """The first event that begins a call counts; a second time does nothing. Returns what is known of it then."""
        key = self._keys.CALL(*call)
        with self._redis.pipeline() as pipe:
            pipe.hsetnx(key, _BY, event)
            pipe.hsetnx(key, _DOCUMENT, document)
            pipe.expire(key, KEPT)
            pipe.hgetall(key)
            *_, found = pipe.execute()
        return _known(found)

    def end(self, call: CallKey, user: str, end: End) -> Known:
        """The call has ended for a user, or with '' for everybody; the first end stays. Returns what is known then."""
        key = self._keys.CALL(*call)
        with self._redis.pipeline() as pipe:
            pipe.hsetnx(key, _ENDED + user, f"{end.reason}/{end.by}")
            pipe.expire(key, KEPT)
            pipe.hgetall(key)
            *_, found = pipe.execute()
        return _known(found)

    def known(self, calls: Sequence[CallKey]) -> list[Known]:
        """Of each of these calls."""
        with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.hgetall(self._keys.CALL(*call))
            answers = pipe.execute() if calls else []
        return [_known(found) for found in answers]

    def note_shown(self, call: CallKey, devices: Iterable[int]) -> None:
        """Devices by which the call's notification was accepted."""
        key = self._keys.CALL(*call)
        with self._redis.pipeline() as pipe:
            pipe.hset(key, mapping={f"{_SHOWN}{device}": 1 for device in devices})
            pipe.expire(key, KEPT)
            pipe.execute()


def _known(found: Any) -> Known:
    texts = {name.decode(): value for name, value in found.items()}
    return Known(
        texts.get(_BY, b"").decode(),
        texts.get(_DOCUMENT, b""),
        {name.removeprefix(_ENDED): _end(said) for name, said in texts.items() if name.startswith(_ENDED)},
        frozenset(int(name.removeprefix(_SHOWN)) for name in texts if name.startswith(_SHOWN)),
    )


def _end(said: bytes) -> End:
    reason, _, by = said.decode().partition("/")
    return End(reason, by)
