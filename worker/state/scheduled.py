"""Targeted pushes that wait for their time: their list, and how one is cancelled."""

import heapq
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from worker.core.ledger_entry import account
from worker.core.tally import Tally, encode
from worker.state.journal import DONE, Journal, Step
from worker.state.partition import Partition

#: Why nobody got a push that was cancelled, as the ledger and the counts have it.
CANCELLED: Final = "cancelled"
_CHUNK: Final = 1_000


class Scheduled(NamedTuple):
    """A push that begins at `at` (UNIX seconds)."""

    at: float
    entry: str
    app: str


def soonest(partition: Partition, limit: int, *, app: str | None = None) -> list[Scheduled]:
    """The pushes that begin first, of one app or of all."""
    return heapq.nsmallest(limit, (one for one in _all(partition) if app in (None, one.app)))


def cancel(partition: Partition, journal: Journal, app: str, event_id: str, entry: str) -> bool:
    """Cancels the push; False if it does not wait any more.

    One step of the journal, as an expansion that finds nobody: either it or a worker's is taken, never both.
    """
    state: Any = partition.redis.hget(partition.keys.EXPANDING(), entry)
    if state is None or not partition.redis.sismember(partition.keys.SCHEDULED(), entry):
        return False
    done = account(app, event_id, "page:0", {"message": CANCELLED})
    counts = {f"skipped_message.{CANCELLED}": 1}
    tally = encode(app, Tally(f"{CANCELLED}:{entry}", counts=counts))
    stale, _ = journal.expand([Step(entry, state.decode(), DONE)], [], {app: counts}, [done, tally])
    if stale:
        return False
    partition.redis.srem(partition.keys.SCHEDULED(), entry)
    return True


def _all(partition: Partition) -> Iterator[Scheduled]:
    entries: Any = partition.redis.sscan_iter(partition.keys.SCHEDULED(), count=_CHUNK)
    while chunk := list(islice(entries, _CHUNK)):
        with partition.redis.pipeline(transaction=False) as pipe:
            for entry in chunk:
                pipe.zscore(partition.keys.DUE(), b"e:" + entry)
                pipe.hget(partition.keys.EXPANDING(), entry)
            answers = pipe.execute()
        for entry, at, state in zip(chunk, answers[::2], answers[1::2], strict=True):
            if at is not None and state is not None:
                yield Scheduled(float(at), entry.decode(), state.decode().partition("\n")[0])
