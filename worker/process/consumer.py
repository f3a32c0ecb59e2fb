"""Runs Celery's worker and keeps this process consuming when Celery gives up, stops consuming, or uses too much memory.

A lost broker can end Celery's consumer with an error, or leave it alive without consuming (celery#8091, #10205, #10302). Then,
and when its memory exceeds `CARILLON_WORKER_MEMORY`, the process restarts under the same pid. Its work is leased in Redis, and
the tick wakes workers for it. A supervisor does not notice.
"""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from types import FrameType
from typing import Any, Final

import psutil
from celery import bootsteps, signals
from celery.apps.worker import Worker
from celery.bootsteps import CLOSE, TERMINATE
from celery.platforms import EX_OK
from celery.utils.nodenames import host_format
from celery.worker import state as celery_state
from celery.worker.consumer import Consumer
from celery.worker.consumer.tasks import Tasks
from kombu.transport import virtual

from config.celeryconfig import URGENT
from config.seldom import Seldom
from config.settings import get_settings
from worker.core.errors import UnfitError
from worker.pipeline.bulkhead import BULK, WAITING
from worker.process import broker, exporter
from worker.process.background import LAST_STEP, PATIENCE, join_threads, stop_threads, takes_nothing
from worker.process.celery_app import app, refuse_unusable
from worker.process.host import Stop, at_terminal, hold_signals
from worker.process.runtime import close_runtime, get_runtime
from worker.process.task_events import TaskEvents
from worker.state import redis

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: A consumer is broken if wake-ups wait and threads are idle for so many seconds, and it takes none.
DEAF_SECONDS: Final = 6.0
#: Seconds between two checks.
PAUSE: Final = 1.0
#: A process that lived for fewer seconds waits `BREATH` seconds before it restarts, because the cause may persist.
SHORT_LIFE: Final = 5.0
BREATH: Final = 1.0
#: Seconds for which a worker's note is valid that all of its threads are busy.
BUSY_SECONDS: Final = 9.0
#: Seconds between two looks at whether the partitions were changed.
_LAYOUT_SECONDS: Final = 2.0
#: New objects after which the garbage collector runs. Python's default of 700 is reached within a few messages, and a piece of
#: messages that is expanded has some 30,000, none of which is garbage before its end.
YOUNG: Final = 50_000


#: Seconds after which a computing thread yields to another. With Python's default of 5 ms each step of a small message waits
#: for every thread that expands a large backlog: half a second in all instead of a twentieth.
SWITCH_SECONDS: Final = 0.001


class _Room(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Takes no more wake-ups than this process can work on, and leaves the others to other processes."""

    requires = (Tasks,)

    def start(self, c: Any) -> None:
        if (qos := getattr(c.task_consumer.channel, "qos", None)) is None:
            return  # RabbitMQ sends as many as the worker has threads
        bulkhead = get_runtime().bulkhead
        can_consume = qos.can_consume
        qos.can_consume = lambda: len(celery_state.reserved_requests) < bulkhead.room() and can_consume()
        qos.append = partial(_take, qos, qos.append)


def _take(qos: Any, append: Callable[[Any, str], None], message: Any, tag: str) -> None:
    """Takes a wake-up, which has left its queue, also where a full Redis cannot note who has it: it would be lost otherwise."""
    try:
        append(message, tag)
    except redis.Refused as fault:
        seldom.warning("the broker takes no writes, wake-ups are worked on all the same", extra={"error": str(fault)})
        keep: Any = virtual.QoS.append
        keep(qos, message, tag)


class _Consumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Celery's consumer, which outlives its broker while tasks are in work."""

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Celery tries again at once."""
        _pause(exc)
        super().on_connection_error_before_connected(exc)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Neither gives wake-ups back through a lost connection nor acknowledges them later: kombu would look for the server of
        one that it has closed, and the consumer would give up: `'NoneType' object has no attribute 'hostname'`, `'client'`.
        Redis gives them out again when their visibility timeout is over, and the tick does not wait for that.
        """
        _pause(exc)
        channel: Any = getattr(self.task_consumer, "channel", None)
        if hasattr(channel, "do_restore"):  # not at RabbitMQ
            channel.do_restore = False
            channel.basic_ack = channel.basic_reject = _pass_over
        super().on_connection_error_after_connected(exc)


def _pause(fault: Exception) -> None:
    """Where the broker takes no writes, it refuses what is asked next as well."""
    if isinstance(fault, redis.Refused):
        time.sleep(PAUSE)


def _pass_over(*_: object, **__: object) -> None:
    pass


class _Hearing:
    """What the consumer has taken, according to Celery's signals."""

    def __init__(self, concurrency: int, queues: Collection[str]) -> None:
        self.concurrency = concurrency
        self._bulk = BULK if URGENT in queues else None
        self.stop = Stop()
        #: The process stops in order to restart: because of its memory, or of SIGHUP.
        self.recycled = False
        self.hung_up = False
        self.active = 0
        self.began_at = self.heard_at = self.looked_at = time.monotonic()
        self._lock = threading.Lock()
        self._blueprint: Any = None
        signals.task_received.connect(self._heard)
        signals.task_prerun.connect(self._begun)
        signals.task_postrun.connect(self._ended)
        signals.worker_ready.connect(self._ready)

    @property
    def ready(self) -> bool:
        """The consumer has begun."""
        return self._blueprint is not None

    @property
    def gave_up(self) -> bool:
        """Celery stops its worker without being asked to."""
        state = None if self._blueprint is None else self._blueprint.state
        return state in (CLOSE, TERMINATE) and not self.stop.is_set()

    def _ready(self, sender: Any, **_: object) -> None:
        _spare_the_collector()
        get_runtime().bulkhead.resize(self.concurrency, bulk=self._bulk)
        self.heard_at, self._blueprint = time.monotonic(), sender.controller.blueprint

    def _heard(self, **_: object) -> None:
        self.heard_at = time.monotonic()

    def _begun(self, **_: object) -> None:
        with self._lock:
            self.active += 1

    def _ended(self, **_: object) -> None:
        self.heard_at = time.monotonic()
        with self._lock:
            self.active -= 1


class _Worker(Worker):  # type: ignore[misc]  # Celery has no types
    """Celery's worker with our signal handlers: see `_Signals`."""

    app = app
    hearing: _Hearing

    def install_platform_tweaks(self, worker: Any) -> None:
        hangup = signal.getsignal(signal.SIGHUP)
        super().install_platform_tweaks(worker)
        handlers = _Signals(self.hearing)
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(each, handlers.stop)
        if hangup is signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGHUP, hangup)
        else:
            signal.signal(signal.SIGHUP, handlers.stop if at_terminal(sys.stdin) else handlers.begin_again)


class _Signals:
    """The effects of signals. Celery's handler for SIGQUIT acts late, and its handler for SIGHUP looks like a fault."""

    def __init__(self, hearing: _Hearing) -> None:
        self._hearing = hearing

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Finishes the running tasks and ends. A second signal ends at once, except SIGTERM, which supervisors repeat."""
        if not self._hearing.stop.is_set():
            self._hearing.stop.heed(number)
            celery_state.should_stop = EX_OK
        elif number != signal.SIGTERM:
            os._exit(EX_OK)

    def begin_again(self, _number: int, _frame: FrameType | None) -> None:
        """Finishes the running tasks and executes the program again, with its present code and secret files."""
        self._hearing.hung_up = self._hearing.recycled = True
        celery_state.should_stop = EX_OK


def run(name: str, *, queues: Collection[str], concurrency: int) -> None:
    """Runs Celery's worker with a thread pool until it is asked to stop. Flower shows it as `name@host`.

    `concurrency` tasks work at once. More threads exist for tasks that wait for a silent provider: see `Bulkhead`. Raises
    `SettingsError` or `UnfitError` if a restart would not help.

    It does not use Celery's command line, which imports every other command, Flower and a shell: that would delay each restart by
    a second.
    """
    refuse_unusable()
    broker.refuse_unfit(get_settings(), queues)
    sys.setswitchinterval(SWITCH_SECONDS)
    hearing, threads = _Hearing(concurrency, queues), concurrency + WAITING
    exporter.moving("consumer", lambda: hearing.looked_at)
    threading.Thread(target=_listen, args=(hearing, queues, threads), name="carillon-hearing", daemon=True).start()
    try:
        app.steps["consumer"].update((_Room, TaskEvents))
        _Worker.hearing = hearing
        _Worker(
            hostname=host_format(f"{name}@%h"),
            queues=list(queues),
            pool_cls="threads",
            consumer_cls=_Consumer,
            concurrency=threads,
            # Workers need not know each other: Redis and Postgres decide.
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        ).start()
    except Exception:  # whatever ended Celery, the process restarts
        log.exception("the consumer failed")
    if hearing.stop.is_set():
        return
    if hearing.hung_up:
        log.info("asked to begin again (SIGHUP)")
    elif not hearing.recycled:
        log.error("the consumer gave up, the process begins again")
    _begin_again(hearing)


def _spare_the_collector() -> None:
    """Excludes the objects of the start from garbage collection, which spent a twelfth of a busy worker's time on them."""
    gc.freeze()
    gc.set_threshold(YOUNG)


def _listen(hearing: _Hearing, queues: Collection[str], threads: int) -> None:
    waiting_since: float | None = None
    noted_at, looked_at = -BUSY_SECONDS, 0.0
    limit, process = get_settings().worker_memory, psutil.Process()
    while not hearing.stop.wait(PAUSE):
        now = hearing.looked_at = time.monotonic()
        if hearing.recycled:
            continue
        if hearing.ready and process.memory_info().rss > limit * 1_000_000:
            log.warning(
                "memory over its limit, the process finishes its work and begins again", extra={"megabytes": limit}
            )
            hearing.recycled = True
            # SIGTERM would set it too, but our own signal would then look like an operator's.
            celery_state.should_stop = EX_OK
            continue
        if hearing.ready and now >= looked_at + _LAYOUT_SECONDS:
            looked_at = now
            if _moved():
                log.warning("the partitions were changed, the process finishes its work and begins again")
                hearing.recycled = True
                celery_state.should_stop = EX_OK
                continue
        if hearing.gave_up:
            log.error("the consumer gave up, the process begins again")
            _begin_again(hearing)
        if hearing.ready and hearing.active >= hearing.concurrency and now >= noted_at + BUSY_SECONDS / 3:
            noted_at = now
            _tell_busy(queues)
        if not hearing.ready or hearing.active >= threads or not _waiting(queues):
            waiting_since = None
            continue
        waiting_since = waiting_since or now
        if now - max(waiting_since, hearing.heard_at) > DEAF_SECONDS:
            log.error("the consumer takes nothing though wake-ups wait, the process begins again")
            _begin_again(hearing)
    log.info("finishes what is in work and leaves", extra={"signal": hearing.stop.signal})
    stop_threads()
    _leave_in_time(get_settings().shutdown_timeout)


def _leave_in_time(seconds: float) -> None:
    """Bounds the shutdown: Celery waits for its threads without a limit, and a thread may wait long for an engine."""
    time.sleep(seconds)
    log.warning("time is up: what is still in work is resumed by another worker when its lease is over")
    _flush()
    os._exit(EX_OK)


def _tell_busy(queues: Collection[str]) -> None:
    """Notes for `carillon health` that all threads are busy: a canary behind them does not prove that this process hangs."""
    try:
        for queue in queues:
            fleet = get_runtime().fleet
            fleet.redis.set(fleet.keys.BUSY(queue), socket.gethostname(), ex=int(BUSY_SECONDS))
    except redis.Error:
        return


def _moved() -> bool:
    try:
        return get_runtime().keyspace.moved()
    except (redis.Error, UnfitError):
        return False


def _waiting(queues: Collection[str]) -> bool:
    try:
        return any(get_runtime().broker.waiting(queue) for queue in queues)
    except (*broker.Away, redis.Error):
        return False


def _begin_again(hearing: _Hearing) -> None:
    """Executes this process again: tasks may finish, connections are closed, the pid stays."""
    takes_nothing()
    ends = time.monotonic() + PATIENCE
    while hearing.active and time.monotonic() < ends:
        time.sleep(0.05)
    stop_threads()
    join_threads(max(LAST_STEP, ends - time.monotonic()))
    exporter.stop()
    close_runtime()
    _flush()
    if time.monotonic() - hearing.began_at < SHORT_LIFE:
        hearing.stop.wait(BREATH)
    if hearing.stop.is_set():
        os._exit(EX_OK)
    hold_signals()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 the very command that started us


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
