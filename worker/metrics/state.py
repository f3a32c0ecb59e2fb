"""What is now, as Prometheus gets it: the backlog, providers, conditions, engines."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, get_args

from prometheus_client.metrics_core import Metric

from worker.core.batch import Lane
from worker.database.census import DeadLetters
from worker.database.outbox import State
from worker.metrics import families
from worker.metrics.samples import Samples, many, one
from worker.metrics.tallied import OTHER
from worker.reports.conditions import STOPS, WORKERLESS, Condition
from worker.reports.snapshot import RedisFacts, WorkerFacts
from worker.state.backlog import Backlog, Waiting
from worker.state.backlog import State as WaitingState

#: Providers that are listed one by one, of each metric.
MOST: Final = 200
#: Conditions because of which nothing, or less, goes to a provider.
_STOPS: Final = (*STOPS, "provider_over_quota")

#: Where something may wait, for every app together: app, lane, state.
_PLACES: Final[Sequence[tuple[str, str, WaitingState]]] = (
    ("", "", "stream"),
    ("", "", "scheduled"),
    *(("", lane, state) for lane in get_args(Lane) for state in ("ready", "leased", "due", "held")),
)


class Named(NamedTuple):
    """A provider that is set up."""

    app: str
    name: str
    kind: str


def backlog(found: Backlog, named: Collection[str]) -> Iterator[Metric]:
    """By app, lane and state. `named`: the apps that have their names, all others are `other`."""

    def key(waiting: Waiting) -> tuple[str, ...]:
        # The inlet's entries are of any app.
        app = waiting.app if waiting.app in named or not waiting.app else OTHER
        return app, waiting.lane, waiting.state

    # A place where nothing waits is 0, not unknown.
    sums = {labels: Waiting(labels[2], oldest=0.0) for labels in _PLACES} | found.by(key)
    yield many(families.BACKLOG_MESSAGES, ((of.messages, labels) for labels, of in sums.items()))
    yield many(families.BACKLOG_BATCHES, ((of.batches, labels) for labels, of in sums.items()))
    yield many(families.BACKLOG_NOTIFICATIONS, ((of.notifications, labels) for labels, of in sums.items()))
    yield many(families.BACKLOG_BYTES, ((of.octets, labels) for labels, of in sums.items()))
    ages = ((of.oldest, labels) for labels, of in sums.items() if of.oldest is not None)
    yield many(families.BACKLOG_OLDEST, ages)


def providers(known: Iterable[Named], apps: int, ends: Mapping[Named, float], now: float) -> Iterator[Metric]:
    """`ends`: when a credential ends, in UNIX seconds."""
    kinds = Samples(families.PROVIDERS)
    for provider in known:
        kinds.add(1, provider.kind)
    yield kinds.metric()
    yield one(families.APPS, apps)
    soonest = sorted(ends.items(), key=lambda of: of[1])[:MOST]
    yield many(families.CREDENTIAL, ((at - now, tuple(provider)) for provider, at in soonest))


def conditions(found: Iterable[Condition], kinds: Mapping[tuple[str, str], str]) -> Iterator[Metric]:
    """Those that there are, and of them those that stop or delay a provider. `kinds` by app and name of a provider."""
    # One sample for each, however many origins of a provider have it.
    labels = {(one.name, str(one.severity), one.app or "", one.provider or ""): None for one in found}
    yield many(families.CONDITION, ((1, of) for of in labels))
    stopped: dict[tuple[str, ...], None] = {}
    waiting = Samples(families.PROVIDER_WAITING)
    for condition in found:
        if condition.app is None or condition.provider is None or condition.name not in _STOPS:
            continue
        of = (condition.app, condition.provider, kinds.get((condition.app, condition.provider), ""))
        stopped[*of, "origin" if condition.origin else "provider", condition.name] = None
        waiting.add(condition.waiting or 0, *of)
    yield many(families.STOPPED, ((1, of) for of in stopped))
    yield waiting.metric()


def engine(redis: RedisFacts) -> Iterator[Metric]:
    """The memory of Redis and its limit, in bytes."""
    yield one(families.REDIS_USED, redis.used)
    yield one(families.REDIS_LIMIT, redis.maximum)


def work(leads: bool, dead: DeadLetters) -> Iterator[Metric]:
    """Whether somebody leads, and dead letters: in all, and of the last hour."""
    yield one(families.LEADER, leads)
    yield one(families.DEAD_LETTERS, dead.total)
    yield one(families.DEAD_LETTERS_LATE, dead.late)


def fleet(workers: Iterable[WorkerFacts], *, beat: bool) -> Iterator[Metric]:
    """Workers that gave a sign of life recently, by lane; a worker of both lanes counts in both."""
    lanes = Samples(families.WORKERS)
    for lane in get_args(Lane):
        lanes.add(0, lane)
    for worker in workers:
        if worker.age < WORKERLESS:
            for lane in worker.lanes:
                lanes.add(1, lane)
    yield lanes.metric()
    yield one(families.BEAT, beat)


def outbox(found: State) -> Iterator[Metric]:
    yield one(families.OUTBOX_ROWS, found.waiting)
    yield one(families.OUTBOX_FAILED, found.failed)
    yield one(families.OUTBOX_OLDEST, found.oldest_waiting or 0.0)
