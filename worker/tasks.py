"""The tasks that ops see in Flower. Each is a doorbell: it names what is in Redis, and returns small counts.

Arguments and results hold no token and no text. An engine that is away ends a task early and quietly: what it did not do is
still due, and the tick rings for it again.
"""

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final, ParamSpec

import msgspec
from celery import Task

from config.celeryconfig import BULK, LANES, URGENT
from producers.events import FIELD, STREAM, decode
from worker.app import app
from worker.fanout import Expanded
from worker.runtime import Runtime, get_runtime
from worker.stores import postgres, redis
from worker.stores.ledger import DeadLetter

log = logging.getLogger(__name__)

#: Messages in one fan-out task.
FAN_OUT: Final = 100
#: Tries that a message's expansion has before it is set aside.
TRIES: Final = 3
#: Doorbells in a lane's queue at which the tick does not add to them.
QUEUED: Final = 64
_PRUNE_SECONDS: Final = 600

_P = ParamSpec("_P")
Counts = dict[str, int]


def _when_engines_answer(task: Callable[_P, Counts]) -> Callable[_P, Counts]:
    @wraps(task)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> Counts:
        try:
            return task(*args, **kwargs)
        except (postgres.Unavailable, *redis.Unavailable) as fault:
            log.warning("put off, an engine is away", extra={"task": task.__name__, "fault": type(fault).__name__})
            return {"put_off": 1}

    return run


@app.task(name="carillon.fan_out")
@_when_engines_answer
def fan_out(entries: list[str] | None = None, events: list[dict[str, Any]] | None = None) -> Counts:
    """Expands messages that the journal holds; or, called by a chat server with `events`, publishes these first."""
    runtime = get_runtime()
    if events is not None:
        return {"published": _publish(runtime, events)}
    expanded = _expand(runtime, entries or [])
    for batch, lane in expanded.batches:
        ring_deliver(batch, lane)
    for entry in expanded.unfinished:
        ring_fan_out([entry], queue=BULK)
    return {name: n for counts in expanded.counts.values() for name, n in counts.items()}


@app.task(name="carillon.deliver")
@_when_engines_answer
def deliver(batch: str) -> Counts:
    """Sends a batch and carries out what APNs answers."""
    return get_runtime().delivery.deliver(batch)


@app.task(name="carillon.tick", expires=5)
@_when_engines_answer
def tick() -> Counts:
    """Rings for what is due, brings the ledger up to date, forgets what is old."""
    runtime = get_runtime()
    counts = {"rung": _ring_due(runtime), "accounts": 0, "pruned": 0}
    while written := runtime.ledger.flush(runtime.journal):
        counts["accounts"] += written
    if runtime.redis.set("carillon:pruned", 1, nx=True, ex=_PRUNE_SECONDS):
        counts["pruned"] = runtime.ledger.prune(runtime.settings.message_retention_days)
    return counts


@app.task(name="carillon.canary")
def canary(key: str) -> Counts:
    """Proves that messages still come through this queue: a worker can be alive and consume nothing."""
    get_runtime().redis.set(f"carillon:canary:{key}", 1, ex=60)
    return {"ok": 1}


def ring_fan_out(entries: Sequence[str], queue: str = URGENT) -> None:
    for start in range(0, len(entries), FAN_OUT):
        some = list(entries[start : start + FAN_OUT])
        _ring(fan_out, {"entries": some}, queue, f"{len(some)} messages from {some[0]}")


def ring_deliver(batch: str, lane: str) -> None:
    _ring(deliver, {"batch": batch}, LANES[lane][0], f"batch {batch}")


def _ring(task: Task, kwargs: dict[str, Any], queue: str, shown: str) -> None:
    task.apply_async(kwargs=kwargs, queue=queue, argsrepr="()", kwargsrepr=shown, ignore_result=True)


def _ring_due(runtime: Runtime) -> int:
    queued = {lane: runtime.queued(queues[0]) for lane, queues in LANES.items() if lane != "all"}
    due = [one for one in runtime.journal.due(1000) if queued[one.lane or "urgent"] < QUEUED]
    ring_fan_out([one.id for one in due if one.kind == "e"])
    for one in due:
        if one.kind == "b":
            ring_deliver(one.id, one.lane)
    return len(due)


def _expand(runtime: Runtime, entries: Sequence[str]) -> Expanded:
    """One message that cannot be expanded must not stop the others: then each is expanded by itself."""
    try:
        return runtime.fan_out.expand(entries)
    except (postgres.Unavailable, *redis.Unavailable):
        raise
    except Exception as fault:
        if len(entries) == 1:
            _failed(runtime, entries[0], fault)
            return Expanded([], [], {})
        log.exception("messages cannot be expanded together, each is tried by itself")
    for entry in entries:
        ring_fan_out([entry])
    return Expanded([], [], {})


def _failed(runtime: Runtime, entry: str, fault: Exception) -> None:
    """A fault that stays goes to the dead letters with its message, after some tries."""
    log.error("message cannot be expanded", extra={"entry": entry, "fault": type(fault).__name__})
    found = runtime.journal.read([entry])
    if not found or not runtime.journal.last_try(entry, tries=TRIES):
        return
    document = found[0].document
    event = decode(document)
    error = f"expansion failed: {type(fault).__name__}"
    runtime.ledger.set_aside(DeadLetter(entry, event.app, event.id, error, document))
    runtime.journal.abandon(entry)


def _publish(runtime: Runtime, events: list[dict[str, Any]]) -> int:
    documents = [msgspec.json.encode(event) for event in events]
    for document in documents:
        decode(document)
    with runtime.redis.pipeline(transaction=True) as pipe:
        for document in documents:
            pipe.xadd(STREAM, {FIELD: document})
        pipe.execute()
    return len(documents)
