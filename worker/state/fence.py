"""Moves an outbox's rows to the stream, each exactly once, whichever process dies or stalls.

The fence refuses a relay that was replaced and wakes up. A batch that comes again, because its deletion was not committed, is
recognised by its rows.
"""

import secrets
import time
from collections.abc import Callable, Collection, Hashable, Sequence
from functools import partial
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, ResponseError
from redis.retry import Retry

from producers.partitions import LAYOUT_KEY, UNTAGGED, LayoutError, parsed
from producers.routes import KNOWN
from producers.routing import Place, next_part, places
from producers.wire import FULL, RESERVED
from worker.core.errors import WorkerError
from worker.state.layout import FORBIDDEN
from worker.state.partition import Keyspace
from worker.state.parts import Parts
from worker.state.redis import Away, Redis, connect
from worker.state.streams import app_named

#: Redis does not let this user do it, or cannot write.
Refused = ResponseError
#: Seconds in which the server of one of several partitions has to answer a claim.
_ANSWERS: Final = 1.0
_CHANGING: Final = "the partitions are being changed"


class Overtaken(WorkerError):
    """Another relay has become the holder; nothing was written."""


class Fence:
    """The way from one database's outbox to the streams. Only the holder of the outbox's lock may use it.

    Each partition remembers the rows of its last batch, beside its stream.
    """

    def __init__(self, redis_url: str, source: str, *, max_backlog: int) -> None:
        self._redis: Redis = connect(redis_url)
        # A command that is sent again by the client could come after one that was sent later.
        self._redis.set_retry(Retry(NoBackoff(), 0))
        self._source, self._max_backlog = source, max_backlog
        self._layout, self._partitions = UNTAGGED, Keyspace(self._redis, lambda _: UNTAGGED).partitions
        self._known_until = float("-inf")
        self._asking = Parts(_ANSWERS, passing=Away)
        #: By partition, the name under which this relay is the holder there.
        self._holders: dict[int, str] = {}
        #: Spread apps that have had an event for a home whose server does not answer, since the last claim.
        self._waited_for: set[str] = set()

    @property
    def silent(self) -> Collection[int]:
        """Partitions whose server did not answer the last claim: what is for these stays where it is."""
        return [one.index for one in self._partitions if one.index not in self._holders]

    def claim(self) -> None:
        """From now on this relay is the holder. Between taking the outbox's lock and reading the rows to be moved."""
        self._learn()
        self._waited_for = set()
        # Each time another name: a claim that nobody waits for any more may come late, and makes nobody the holder then.
        names = {index: secrets.token_hex(8) for index in self.silent}
        claims: dict[Hashable, Callable[[], object]] = {
            index: partial(one.redis.hset, one.keys.OUTBOX(self._source), "holder", names[index])
            for index, one in enumerate(self._partitions)
            if index in names
        }
        if len(self._partitions) == 1:
            for claim in claims.values():
                claim()
            self._holders |= names
            return
        outcomes = self._asking.calls(claims)
        for index, name in names.items():
            if (outcome := outcomes[index]) is None or isinstance(outcome.fault, Away):
                continue
            if outcome.fault is not None:
                raise outcome.fault
            self._holders[index] = name
        if not self._holders:
            raise redis.ConnectionError("no partition's server answers")

    def move(self, rows: Sequence[tuple[str, bytes]]) -> tuple[Collection[int], str | None]:
        """Puts the documents of (row, document) on their streams, in order in each partition.

        Returns the indexes of those that are there, all but what is for silent partitions, or has to wait for that; and why not
        all, where a stream or Redis is too full, or while the partitions are being changed; what is there already then does not
        come twice. Raises `Overtaken`.
        """
        if self._layout.closed:
            return (), _CHANGING
        # After a failure the state is unknown: the next try is a new holder's.
        holders, self._holders = self._holders, {}
        layout, documents = self._layout, [document for _, document in rows]
        found = places(layout, [app_named(document) or "" for document in documents], documents)
        moved = left = self._movable(found, holders)
        begun: set[int] = set()
        while left:
            part = next_part(layout, found, left)
            index = found[part[0]].partition
            try:
                full = self._append(index, holders[index], [(found[at], *rows[at]) for at in part], more=index in begun)
            except ResponseError as fault:
                if "WRONGTYPE" not in str(fault):
                    raise
                self._known_until = float("-inf")  # the stream was closed with the layout of before
                return (), _CHANGING
            if full is not None:
                self._holders = holders
                return (), full
            begun.add(index)
            done = {*part}
            left = [at for at in left if at not in done]
        self._holders = holders
        return moved, None

    def _movable(self, found: Sequence[Place], holders: Collection[int]) -> Sequence[int]:
        """Those that are for no silent partition, in their order, and have not to wait for what is; see `next_part`."""
        movable = []
        for at, one in enumerate(found):
            if one.partition in holders and (one.channel is None or one.app not in self._waited_for):
                movable.append(at)
            elif one.channel is None:
                self._waited_for.add(one.app)
        return movable

    def _append(self, index: int, holder: str, rows: Sequence[tuple[Place, str, bytes]], *, more: bool) -> str | None:
        """`more`: the partition had rows of the same batch just now, which are remembered as well."""
        partition, spread = self._partitions[index], self._layout.spread
        answer: Any = partition.scripts.outbox(
            stream=partition.keys.EVENTS(),
            fence=partition.keys.OUTBOX(self._source),
            holder=holder,
            backlog=self._max_backlog,
            full=FULL,
            more=int(more),
            apps=sorted({of.app for of, _, _ in rows if of.app and of.app not in RESERVED}),
            rows=[(row, of.app if of.app in spread else "", document) for of, row, document in rows],
        )
        if answer == b"stale":
            raise Overtaken
        if isinstance(answer, int):
            return f"{answer} events of an app wait unread" if answer > 0 else f"memory {-answer} % full"
        return None

    def _learn(self) -> None:
        """Reads the layout where it may have changed. The holder has claimed no other partitions than those of the last one."""
        if time.monotonic() < self._known_until:
            return
        try:
            value: Any = self._redis.get(LAYOUT_KEY)
            layout = parsed(value)
        except NoPermissionError as fault:
            raise Refused(FORBIDDEN) from fault
        except LayoutError as fault:
            raise Refused(str(fault)) from None
        self._known_until = time.monotonic() + KNOWN
        if layout != self._layout:
            self._layout, self._holders = layout, {}
            self._partitions = Keyspace(self._redis, lambda _: layout).partitions

    def close(self) -> None:
        self._asking.join(_ANSWERS)
        self._redis.close()
