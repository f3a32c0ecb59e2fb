"""What one process exports about itself: connections, threads, the event loop, and through prometheus-client memory and CPU."""

import platform
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from worker.metrics import families
from worker.metrics.engines import Engines
from worker.metrics.figures import Figures
from worker.metrics.samples import many, one
from worker.reports.words import release
from worker.sender.stats import SenderStats


class Own(Collector):
    """`part` of the system this process is, such as `worker`. `figures` is called for each scrape."""

    def __init__(self, part: str, engines: Engines, figures: Callable[[], Figures | None]) -> None:
        self._part, self._engines, self._figures = part, engines, figures

    def describe(self) -> list[Metric]:
        """Nothing, so that a registry does not collect to learn names."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield one(families.PROCESS_INFO, 1, self._part)
        yield build_info()
        asked = self._engines.ask()
        yield many(families.ENGINE_UP, ((fault is None, (name,)) for name, (fault, _) in asked.items()))
        yield many(families.ENGINE_SECONDS, ((s, (name,)) for name, (fault, s) in asked.items() if fault is None))
        figures = self._figures()
        if figures is not None:
            yield from _of_senders(figures.senders)
            yield from _of_threads(figures)
            yield from _of_pool(figures.pool)


def build_info() -> Metric:
    return one(families.BUILD_INFO, 1, release(), platform.python_version())


def registry(own: Own) -> CollectorRegistry:
    """With what prometheus-client knows about any process of Linux."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    found.register(own)
    return found


def _of_senders(senders: Mapping[str, SenderStats]) -> Iterator[Metric]:
    each = senders.items()
    yield many(families.SENDER_CONNECTIONS, ((of.connections, (kind,)) for kind, of in each))
    yield many(families.SENDER_STREAMS, ((of.streams, (kind,)) for kind, of in each))
    yield many(families.SENDER_IN_FLIGHT, ((of.in_flight, (kind,)) for kind, of in each))
    results = (
        (n, (kind, result))
        for kind, of in each
        for result, n in (("answered", of.answered), ("not_sent", of.not_sent), ("unknown", of.unknown))
    )
    yield many(families.SENDER_REQUESTS, results)
    yield many(families.SENDER_BATCHES, ((of.batches, (kind,)) for kind, of in each))
    yield many(families.LOOP_DELAY, ((of.delay, (kind,)) for kind, of in each))


def _of_threads(figures: Figures) -> Iterator[Metric]:
    if (threads := figures.threads) is not None:
        busy = ((threads.working, ("working",)), (threads.waiting, ("waiting",)))
        yield many(families.TASK_THREADS, busy)
        yield one(families.TASK_THREADS_LIMIT, threads.limit)
    yield one(families.RECORDER_BATCHES, figures.batches)
    if figures.leads is not None:
        yield one(families.LEADS, figures.leads)


def _of_pool(pool: Mapping[str, int]) -> Iterator[Metric]:
    if pool:
        free = pool.get("pool_available", 0)
        states = ((free, ("free",)), (pool.get("pool_size", 0) - free, ("used",)))
        yield many(families.POSTGRES_CONNECTIONS, states)
        yield one(families.POSTGRES_WAITS, pool.get("requests_queued", 0))
        yield one(families.POSTGRES_WAITED, pool.get("requests_wait_ms", 0) / 1000)
