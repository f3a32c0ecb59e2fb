"""The tasks that operators see in Flower. Each is a wake-up: it says that a lane has ready work, and returns what it did.

A worker chooses the work when it takes it, so each app gets its share whatever the order of the wake-ups. Results have apps,
names of providers and counts, no token and no text. If an engine is down, a task ends early. Its work is due when the lease
ends, and the tick then wakes workers for it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, Final, ParamSpec, get_args

import msgspec
from celery import Task
from celery.exceptions import Reject

from config.celeryconfig import LANES
from config.seldom import Seldom
from worker import facts
from worker.core.batch import Lane
from worker.core.envelope import identify
from worker.database import audit, incidents, postgres
from worker.database.ledger import DeadLetter
from worker.pipeline.expansion.fan_out import Expanded
from worker.process import broker
from worker.process.celery_app import app
from worker.process.deliverers import Deliverers
from worker.process.expanders import Expanders
from worker.process.partitions import PartitionRuntime
from worker.process.runtime import Runtime, get_runtime
from worker.process.task_events import shown
from worker.process.task_result import Result, Work
from worker.reports import acts
from worker.reports.faults import sentence
from worker.state import presence, redis
from worker.state.homes import AWAY
from worker.state.journal import OCTETS, Opened
from worker.state.publishing import publish

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: Messages in one piece of a fan-out. A piece costs as much as about twenty messages, so a backlog is taken in large pieces.
FAN_OUT: Final = 500
#: Seconds for which a task begins further pieces. There are few such tasks, so they delay nothing.
EXPANDS: Final = 1.0
#: Seconds for which one delivery task begins further batches; then other tasks of its queue get their turn.
TURN: Final = 0.1
#: Wake-ups that may wait in a lane. Each serves all ready work, so more would only delay others.
MOST: Final = 32
#: The same of those for urgent batches: who gets one brings others, as long as more batches are ready.
MOST_URGENT: Final = 1
#: Threads that take over batches leave so many for messages.
SPARE: Final = 1
#: Messages that a leader's own process expands without asking other workers to help: a piece of them takes some milliseconds.
FEW: Final = 50
#: Tries that a message's expansion has before it is dead-lettered.
TRIES: Final = 3
_PRUNE_SECONDS: Final = 60
#: Seconds that it may take to delete old incidents.
_INCIDENTS_SECONDS: Final = 0.5
#: Percent of its memory above which Redis may refuse wake-ups, and seconds for which a tick then does the work itself.
_FULL: Final = 99
_UNBLOCKING: Final = 2.0
#: Seconds before events that Redis did not accept are published again.
_BRIEFLY: Final = 0.5

#: What a part of the tick may end with that is no bug.
_PASSING: Final = (postgres.Unavailable, *redis.Unavailable, *broker.Away, *postgres.Unready)

_P = ParamSpec("_P")


def _when_engines_answer(task: Callable[_P, Result]) -> Callable[_P, Result]:
    @wraps(task)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> Result:
        try:
            return task(*args, **kwargs)
        except (postgres.Unavailable, *redis.Unavailable) as fault:
            seldom.warning("put off, an engine is away", extra={"task": task.__name__, "fault": sentence(fault)})
            return {"put_off": 1}
        except postgres.Unready as fault:
            seldom.error("put off: %s", sentence(fault), extra={"task": task.__name__})
            return {"put_off": 1}

    return run


@app.task(name="carillon.fan_out")
@_when_engines_answer
def fan_out(lane: Lane = "urgent", events: list[dict[str, Any]] | None = None, partition: int = 0) -> Result:
    """Expands the lane's next messages. If a chat server calls it with `events`, it publishes these first."""
    runtime = get_runtime()
    if events is not None:
        try:
            return {"published": _publish(runtime, events)}
        except redis.Unavailable as fault:  # they are nowhere else: the message goes back to its queue
            time.sleep(_BRIEFLY)
            raise Reject(type(fault).__name__, requeue=True) from fault
    if (of := _partition(runtime, partition)) is None:
        return {}
    work, expanders = Work(), of.expanders if lane == "urgent" else Expanders()
    with runtime.bulkhead.working(bulk=lane == "bulk") as works:
        if works:
            _expand_and_deliver(runtime, of, lane, expanders, work, partial(_wake_here, runtime, of), [], [])
    _after(runtime, fan_out, of, lane, works=works)
    return work.result(fan_out.request.id)


def open_for(partition: int, messages: int) -> None:
    """What the leader of a partition calls with the number of messages that became ready.

    A thread of this process expands them at once, if one is idle. Where one expands already, it takes many next, and workers are
    woken once more are ready than it takes.
    """
    runtime = get_runtime()
    of = runtime.partitions[partition]
    if messages > FEW and of.expanders.look_again():
        _wake_for_rest(of)
    elif not runtime.hand_over.offer(partial(_handed_over, runtime, of)):
        wake_fan_out(of, messages)


def idle_for(partition: int, messages: int) -> Callable[[Sequence[Opened]], None] | None:
    """What the leader of a partition calls before it opens so many messages: a thread of this process that takes them at once."""
    runtime = get_runtime()
    of = runtime.partitions[partition]
    if messages > FEW or not of.expanders.room or not runtime.hand_over.reserve():
        return None
    return lambda taken: runtime.hand_over.give(partial(_handed_over, runtime, of, taken) if taken else None)


@_when_engines_answer
def _handed_over(runtime: Runtime, of: PartitionRuntime, opened: Sequence[Opened] = ()) -> Result:
    """Expands these messages, which are taken, and what is ready, and delivers a batch of it, as the tasks do.

    Another idle thread has the next batch.

    It does not wait until fewer threads work: these may all be busy with a large channel.
    """
    own, taken, given = 0, list[Expanded](), [opened] if opened else []

    def wake(lane: Lane, batches: int) -> None:
        nonlocal own
        if lane == "urgent" and batches and not own and not taken:
            own = 1
            batches -= 1
        _wake_here(runtime, of, lane, batches)

    with shown("carillon.fan_out", _arguments(of, "urgent")) as work:
        _expand_and_deliver(runtime, of, "urgent", of.expanders, work, wake, taken, given)
    if given:  # by now enough others expand
        of.journal.give_back("urgent", opened)
        wake_fan_out(of, len(opened))
    return _deliver_ready(runtime, of) if own else {}


@_when_engines_answer
def _deliver_ready(runtime: Runtime, of: PartitionRuntime) -> Result:
    """Delivers batches until none is ready."""
    with shown("carillon.deliver", _arguments(of, "urgent")) as work:
        _deliver_for(EXPANDS, runtime, of, "urgent", work)
    return {}


def _deliver_for(
    seconds: float,
    runtime: Runtime,
    of: PartitionRuntime,
    lane: Lane,
    work: Work,
    others: Callable[[int], None] | None = None,
) -> None:
    """Delivers batches until none is ready, or so many seconds have passed: then others go on.

    `others` gets how many more are ready once it has the first.
    """
    wake = partial(_wake_freed, runtime, of)
    deliverers = of.deliverers if lane == "urgent" else Deliverers()
    untold = [] if others is None else [others]

    def note(ready: int) -> None:
        deliverers.note(ready)
        if untold:
            untold.pop()(ready)

    if deliverers.work(lambda: of.delivery.deliver_next(lane, wake, work.add, wake_home, note).more, seconds):
        _wake_here(runtime, of, lane, 1)


@_when_engines_answer
def _deliver_taken(runtime: Runtime, of: PartitionRuntime, expanded: Expanded) -> Result:
    """Delivers what was taken as it was written."""
    for batch in expanded.taken:
        with shown("carillon.deliver", _arguments(of, "urgent")) as work:
            of.delivery.deliver_taken(batch, expanded.taken_at, partial(_wake_freed, runtime, of), work.add)
    of.fan_out.keep(expanded.kept)
    return {}


def _wake_here(runtime: Runtime, of: PartitionRuntime, lane: Lane, batches: int) -> None:
    """Idle threads of this process deliver the batches, as far as there are any; workers are woken for the others."""
    while lane == "urgent" and batches and runtime.hand_over.offer(partial(_deliver_ready, runtime, of), spare=SPARE):
        batches -= 1
    wake_deliver(of, lane, batches)


def _wake_freed(runtime: Runtime, of: PartitionRuntime, lane: Lane, batches: int) -> None:
    """The same for batches that waited for others. Where no thread is idle, enough that deliver here take these next."""
    while lane == "urgent" and batches and runtime.hand_over.offer(partial(_deliver_ready, runtime, of), spare=SPARE):
        batches -= 1
    if batches and not (lane == "urgent" and of.deliverers.take_over()):
        wake_deliver(of, lane, batches)


def _expand_and_deliver(
    runtime: Runtime,
    of: PartitionRuntime,
    lane: Lane,
    expanders: Expanders,
    work: Work,
    wake: Callable[[Lane, int], None],
    taken: list[Expanded],
    given: list[Sequence[Opened]],
) -> None:
    """Expands the lane's next messages, and delivers what it took of them as it wrote it; adds both to `work` and `taken`.

    `wake` gets the other batches that it made, by lane. `given`: messages that were taken for it, of which it takes those that
    it expands.
    """

    def expand() -> bool:
        if lane == "bulk":
            runtime.bulkhead.pause()
        opened = given.pop() if given else of.journal.take_messages(lane, FAN_OUT if lane == "urgent" else 1)
        return bool(opened) and _fan_out(runtime, of, lane, opened, work, wake, taken.append)

    more = expanders.work(expand, EXPANDS, leaves=lambda: bool(taken))
    if more and not (taken and runtime.hand_over.offer(partial(_handed_over, runtime, of))):
        _wake(fan_out, of, lane, 1, most=2 * MOST)
    for expanded in taken:
        _deliver_taken(runtime, of, expanded)


def _fan_out(
    runtime: Runtime,
    of: PartitionRuntime,
    lane: Lane,
    opened: Sequence[Opened],
    work: Work,
    wake: Callable[[Lane, int], None],
    deliver_here: Callable[[Expanded], None],
) -> bool:
    """Expands these messages; adds to `work`. `wake` gets the batches that it made, by lane.

    `deliver_here` gets what has batches that it took. Returns whether there is more for this task.
    """
    more = len(opened) >= FAN_OUT or sum(len(one.document) for one in opened) >= OCTETS
    if more and lane == "urgent" and not work:  # others need not wait until these are expanded
        _wake_for_rest(of)
    few = lane == "urgent" and len(opened) <= FEW
    idle = lane == "urgent" and not few and runtime.hand_over.reserve()
    expanded = None
    try:
        expanded = _expand(runtime, of, opened, here=few or idle, bulk=lane == "bulk")
    except postgres.Unavailable:  # other messages of their channels need not wait until the leases end
        of.journal.give_back(lane, opened)
        raise
    finally:
        if idle:
            taken = None if expanded is None or not expanded.taken else partial(_deliver_taken, runtime, of, expanded)
            runtime.hand_over.give(taken)
    if expanded.taken and few:
        deliver_here(expanded)
    if expanded.held and lane == "bulk":
        of.journal.put_off(expanded.remaining, AWAY)
    else:
        of.journal.give_back(lane, expanded.remaining)
    for of_lane, n in expanded.batches.items():
        wake(of_lane, n - (len(expanded.taken) if of_lane == "urgent" else 0))
    wake_fan_out(of, expanded.unfinished, "bulk")
    if lane == "urgent":
        # While it expanded many, others came: a look costs little, another wake-up much.
        more = more or not few or expanded.freed > 0
        # What waits for its home is before all others, and would be taken at once again.
        stuck = expanded.held and len(expanded.remaining) == len(opened)
    else:
        wake_fan_out(of, expanded.freed)
        stuck = False
    for of_app, counts in expanded.counts.items():
        work.add(of_app, None, counts)
    return not stuck and (more or bool(expanded.remaining))


@app.task(name="carillon.deliver")
@_when_engines_answer
def deliver(lane: Lane, partition: int = 0) -> Result:
    """Sends the lane's next batches for a moment, and carries out the outcomes of their answers."""
    runtime, work = get_runtime(), Work()
    if (of := _partition(runtime, partition)) is None or (lane == "urgent" and of.deliverers.take_over()):
        return {}
    with runtime.bulkhead.working(bulk=lane == "bulk") as works:
        if works:
            others = partial(_wake_here, runtime, of, lane) if lane == "urgent" else None
            _deliver_for(TURN, runtime, of, lane, work, others)
    _after(runtime, deliver, of, lane, works=works)
    return work.result(deliver.request.id)


def _partition(runtime: Runtime, number: int) -> PartitionRuntime | None:
    """None: a wake-up of a layout that is not in force."""
    return runtime.partitions[number] if 0 <= number < len(runtime.partitions) else None


def _after(runtime: Runtime, task: Task, of: PartitionRuntime, lane: Lane, *, works: bool) -> None:
    """A task that was turned away, because enough others worked on the bulk lane, is woken again once one of these has ended."""
    if not works:
        runtime.turned_away.add((task, of))
    elif lane == "bulk":
        while runtime.turned_away:
            turned_away, of_it = runtime.turned_away.pop()
            _wake(turned_away, of_it, lane, 1, most=2 * MOST)


# Task events of ticks and canaries would bury those of the work.
@app.task(name="carillon.tick", expires=5, send_events=False)
@_when_engines_answer
def tick() -> Result:
    """Makes due work ready, repeats lost wake-ups, logs what people did, writes the ledger and the history, deletes old rows."""
    runtime = get_runtime()
    ticking = _Ticking(runtime)
    for of in runtime.partitions:
        ticking.part("tick", partial(_tick, runtime, of), of)
        ticking.part("homes", partial(_carry_home, of), of)
    ticking.part("acts", lambda _: acts.log_acts(runtime.fleet))
    ticking.part("presence", lambda _: presence.sweep(runtime.keyspace))
    ticking.part("prune", partial(_prune, runtime))
    # Last: a fault of these keeps nothing else from being done.
    for of in runtime.partitions:
        ticking.part("digests", partial(_tell_due, of), of)
    ticking.part("sample", partial(_sample, runtime))
    return ticking.result()


class _Ticking:
    """One tick. With several partitions a part of it that takes long, as where its server is frozen, goes on while others begin.

    It is not begun again before it has ended.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._parts = runtime.parts if len(runtime.partitions) > 1 else None
        self._counts, self._faults = Counter[str](due=0, woken=0, accounts=0, pruned=0), list[Exception]()

    def part(self, name: str, work: Callable[[Counter[str]], object], of: PartitionRuntime | None = None) -> None:
        """`work` gets what it counts in."""
        if self._parts is None:
            self._alone(work, of)
            return
        counts = Counter[str]()
        whole = name if of is None else f"{name}-{of.index}"
        outcome = self._parts.call(whole, lambda: work(counts))
        if outcome is None:
            self._counts["late"] += 1
            extra = {"part": name} | ({} if of is None else {"partition": of.index})
            seldom.warning("a part of the tick takes long, the others go on", extra=extra)
            return
        self._counts.update(counts)
        if outcome.fault is not None:
            self._faults.append(outcome.fault)

    def _alone(self, work: Callable[[Counter[str]], object], of: PartitionRuntime | None) -> None:
        try:
            work(self._counts)
        except (*redis.Unavailable, *broker.Away) as fault:
            if of is None:
                raise
            self._faults.append(fault)

    def result(self) -> Result:
        """Raises what a part ended with, a bug before an engine that was away."""
        if self._faults:
            raise min(self._faults, key=lambda fault: isinstance(fault, _PASSING))
        return dict(self._counts)


def _carry_home(of: PartitionRuntime, counts: Counter[str]) -> None:
    counts["carried"] += of.homes.carry()


def _prune(runtime: Runtime, counts: Counter[str]) -> None:
    fleet = runtime.fleet
    if not fleet.redis.set(fleet.keys.PRUNED(), 1, nx=True, ex=_PRUNE_SECONDS):
        return
    counts["pruned"] += runtime.ledger.prune(runtime.settings.message_retention_days)
    counts["pruned"] += facts.forget_old(runtime.pool, runtime.settings.message_retention_days)
    counts["pruned"] += runtime.ledger.forget_letters(runtime.settings.dead_letter_days)
    counts["pruned"] += audit.forget(runtime.pool)
    counts["pruned"] += incidents.forget(runtime.pool, seconds=_INCIDENTS_SECONDS)
    upkeep = runtime.upkeep.prune(runtime.settings.message_retention_days)
    counts.update({f"devices_{what}": n for what, n in upkeep.items()})


def _tell_due(of: PartitionRuntime, counts: Counter[str]) -> None:
    ready = sum((one.tell_due() for one in of.due_users), Counter[Lane]())
    for lane, n in ready.items():
        wake_deliver(of, lane, n)
    counts["digests_and_reminders"] += ready.total()


def _sample(runtime: Runtime, counts: Counter[str]) -> None:
    counts["sampled"] = runtime.sampler.sample()


def _tick(runtime: Runtime, of: PartitionRuntime, counts: Counter[str]) -> None:
    percent = of.streams.tell_pressure()
    counts["due"] += of.journal.make_due_ready()
    unable = "redis is full" if percent >= _FULL else None
    try:
        counts["woken"] += _wake_lost(runtime, of)
    except broker.Away as fault:
        if not runtime.broker.apart:
            raise
        unable = f"the broker is away ({sentence(fault)})"
    if unable is not None:
        counts["unblocked"] += _work_here(of, unable)
    counts["retired"] += of.deferred_retirement.retire_due()
    while written := runtime.ledger.flush(of.journal):
        counts["accounts"] += written
        runtime.bulkhead.pause()


@app.task(name="carillon.canary", send_events=False)
def canary(key: str) -> Result:
    """Proves that workers consume this queue: a worker can be alive and consume nothing."""
    fleet = get_runtime().fleet
    fleet.redis.set(fleet.keys.CANARY(key), 1, ex=60)
    return {"ok": 1}


def _work_here(of: PartitionRuntime, unable: str) -> int:
    """Works on what is ready without wake-ups, because nobody accepts any, until there is no more or time is up."""
    done, ends = 0, time.monotonic() + _UNBLOCKING
    seldom.warning("%s and takes no wake-ups: the tick works on what is ready, which is slower", unable)
    while time.monotonic() < ends:
        before = done
        for lane in get_args(Lane):
            done += bool(of.delivery.deliver(lane)) + bool(fan_out(lane, partition=of.index))
        if done == before:
            break
    return done


def wake_fan_out(of: PartitionRuntime, messages: int, lane: Lane = "urgent") -> None:
    """Wakes workers for so many ready messages.

    In the urgent lane one waiting wake-up is enough: the worker that gets it wakes others for the rest.
    """
    if not messages:
        return
    if lane == "urgent":
        try:
            if not of.journal.wake():
                return
        except redis.Unavailable as fault:
            _lost(lane, fault)
            return
    # Wake-ups for batches leave room for these.
    _wake(fan_out, of, lane, 1 if lane == "urgent" else messages, most=2 * MOST)


def _wake_for_rest(of: PartitionRuntime) -> None:
    """Wakes workers if more urgent messages are ready than one piece, which this task takes next."""
    if of.journal.ready("e", "urgent") > FAN_OUT:
        wake_fan_out(of, 1)


def wake_deliver(of: PartitionRuntime, lane: Lane, batches: int) -> None:
    """Wakes workers for so many ready batches. In the urgent lane one waiting wake-up is enough, as for messages."""
    if lane == "urgent":
        _wake(deliver, of, lane, min(batches, 1), most=MOST_URGENT)
    else:
        _wake(deliver, of, lane, batches, most=MOST)


def wake_home(home: int, lane: Lane, batches: int) -> None:
    """The same in the partition `home`."""
    wake_deliver(get_runtime().partitions[home], lane, batches)


def _wake(task: Task, of: PartitionRuntime, lane: Lane, times: int, *, most: int) -> None:
    """Sends so many wake-ups, but at most `most` for each partition wait in the lane: each serves all ready work of its own."""
    if times <= 0:
        return
    kwargs, runtime = _arguments(of, lane), get_runtime()
    try:
        waiting = runtime.broker.waiting(LANES[lane][0])
        for _ in range(min(times, most * len(runtime.partitions) - waiting)):
            task.apply_async(kwargs=kwargs, queue=LANES[lane][0], ignore_result=True)
    except (AttributeError, *broker.Away) as fault:
        # kombu raises AttributeError if its connection was closed meanwhile. The tick wakes workers again.
        _lost(lane, fault)


def _arguments(of: PartitionRuntime, lane: Lane) -> dict[str, Any]:
    """Those of a wake-up. Without a number it is for the first partition, as for a release before."""
    return {"lane": lane, "partition": of.index} if of.index else {"lane": lane}


def _lost(lane: Lane, fault: Exception) -> None:
    seldom.warning("wake-ups lost, the broker is away", extra={"lane": lane, "fault": type(fault).__name__})


def _wake_lost(runtime: Runtime, of: PartitionRuntime) -> int:
    """Wakes workers for ready work that no waiting wake-up serves. A superfluous wake-up finds nothing and does no harm."""
    woken, alone = 0, len(runtime.partitions) == 1
    for lane, (messages, batches) in of.journal.ready_by_lane().items():
        on_their_way = runtime.broker.waiting(LANES[lane][0])  # in any case, so that its absence is in the log at once
        if not messages and not batches:
            continue
        most = MOST_URGENT if lane == "urgent" else MOST
        lost = max(0, min(messages, most) + min(batches, most) - on_their_way)
        if not alone:  # those that wait may all be for other partitions
            lost = max(1, lost)
        if lost:
            wake_deliver(of, lane, min(lost, batches))
            wake_fan_out(of, min(messages, lost), lane)
        woken += lost
    return woken


def _expand(
    runtime: Runtime, of: PartitionRuntime, opened: Sequence[Opened], *, here: bool = False, bulk: bool = False
) -> Expanded:
    """Finds the message that cannot be expanded by halving, so that it does not stop the others.

    `here`: this task delivers a batch of it that is the next. `bulk`: it lets urgent messages pass.
    """
    try:
        pause = runtime.bulkhead.pause if bulk else lambda: None
        return of.fan_out.expand(opened, full=runtime.bulkhead.full() if here else None, pause=pause)
    except (postgres.Unavailable, *redis.Unavailable):
        raise
    except Exception as fault:  # noqa: BLE001 - whatever the bug is, it stays with its message
        if len(opened) == 1:
            return Expanded(Counter(), 0, {}, freed=_failed(runtime, of, opened[0], fault))
        log.warning("messages cannot be expanded together, each half is tried", extra={"messages": len(opened)})
    half = len(opened) // 2
    first = _expand(runtime, of, opened[:half], bulk=bulk)
    if first.remaining or first.unfinished:  # the other half may have more messages of their channels
        return replace(first, counts={}, remaining=[*first.remaining, *opened[half:]])
    second = _expand(runtime, of, opened[half:], bulk=bulk)
    return replace(second, batches=first.batches + second.batches, counts={}, freed=first.freed + second.freed)


def _failed(runtime: Runtime, of: PartitionRuntime, opened: Opened, fault: Exception) -> int:
    """Dead-letters a message whose expansion has failed several times, with the fault.

    Returns how many messages no longer wait for it.
    """
    extra = {"app": opened.app, "entry": opened.entry, "fault": type(fault).__name__}
    log.error("message cannot be expanded", extra=extra, exc_info=fault)
    if of.journal.last_try(opened.entry, tries=TRIES):
        error = f"expansion failed: {type(fault).__name__}"
        _, id = identify(opened.document)
        runtime.ledger.add_dead_letter(DeadLetter(opened.entry, opened.app, id, error, opened.document))
        return of.journal.abandon(opened.id)
    return of.journal.postpone(opened)


def _publish(runtime: Runtime, events: list[Any]) -> int:
    """Puts them on their streams unchanged. The intake dead-letters events that break the contract, as for any producer."""
    publish(runtime.keyspace, [msgspec.json.encode(event) for event in events])
    return len(events)
