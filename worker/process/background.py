"""The background threads of a worker: they start before its consumer, and end before the worker.

While Redis is full no consumer can begin, and a full Redis has to be seen, and emptied, by somebody.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, get_args

from celery import signals

from config.celeryconfig import LANES
from config.settings import Settings
from worker.core.batch import Lane
from worker.embedded import attach
from worker.metrics import health
from worker.metrics.engines import Engines, of_carillon
from worker.metrics.figures import Figures
from worker.metrics.http import Page
from worker.pipeline.insist import INSIST_SECONDS
from worker.process import exporter, watchdog
from worker.process.background_thread import BackgroundThread
from worker.process.leader import Leaders
from worker.process.lookout import Lookout
from worker.process.runtime import close_runtime, get_runtime
from worker.process.tasks import idle_for, open_for, tick
from worker.process.ticker import Ticker

#: Seconds that a background thread has to finish its last step, and with it its transaction.
LAST_STEP: Final = 20.0
#: Seconds that work has before the process ends. For as long it retries writing answers to a Redis that is down; no other process
#: has these answers.
PATIENCE: Final = INSIST_SECONDS + 30.0
#: The background threads.
_threads: list[BackgroundThread] = []
#: The consumer has begun.
_ready = threading.Event()


@signals.celeryd_after_setup.connect
def _serve(sender: object, instance: Any, **_: object) -> None:
    watchdog.alive["background"] = _fault
    exporter.start("worker", _engines, figures=_figures, more=_health)
    runtime = get_runtime()

    def lanes() -> list[str]:
        queues = instance.app.amqp.queues.consume_from if _ready.is_set() else ()
        return [lane for lane in get_args(Lane) if LANES[lane][0] in queues]

    runtime.hand_over.start(lambda: "urgent" in lanes())
    for thread in (
        Leaders(runtime, str(sender), open_for, idle_for),
        Ticker(runtime, tick),
        Lookout(runtime, str(sender), lanes),
    ):
        thread.start()
        _threads.append(thread)


def _engines(settings: Settings) -> Engines:
    urls = attach(settings)
    return of_carillon(urls.redis, urls.postgres)


def _health() -> Mapping[str, Page]:
    return {"/healthz": health.page(lambda: get_runtime().fleet.brief, lambda: get_runtime().watch.alone)}


def _figures() -> Figures:
    return replace(get_runtime().figures(), leads=any(isinstance(one, Leaders) and one.leads for one in _threads))


def _fault() -> str | None:
    return next((fault for thread in _threads if (fault := thread.fault)), None)


@signals.worker_ready.connect
def _begun(**_: object) -> None:
    _ready.set()


def takes_nothing() -> None:
    """The consumer has ended, and the process works on no lane. Its threads go on."""
    _ready.clear()


@signals.worker_shutting_down.connect
def stop_threads(**_: object) -> None:
    """Ends the intake in this process; another process may lead."""
    for thread in _threads:
        thread.stop()
    if _threads:
        get_runtime().hand_over.stop()


def join_threads(patience: float) -> None:
    """Waits until the background threads have finished their step, and so many seconds for work that was handed over."""
    began = time.monotonic()
    for thread in _threads:
        thread.join(max(0.0, began + LAST_STEP - time.monotonic()))
    if _threads:
        get_runtime().hand_over.join(began + patience)


@signals.worker_shutdown.connect
def _close(**_: object) -> None:
    stop_threads()
    # Longer than a supervisor waits, which ends the process: consumer.py bounds that.
    join_threads(PATIENCE)
    exporter.stop()
    close_runtime()
