"""The facts of one moment that the conditions are decided from. `worker/reports/reading.py` reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from worker.core.breaker import Quota, Stopped
from worker.providers.base import Words
from worker.reports.words import counted


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What INFO says. Memory in bytes."""

    used: int = 0
    #: 0: no limit.
    maximum: int = 0
    policy: str = "noeviction"
    append_only: bool = True
    replicas: int = 0
    #: Whether it refuses writes without a replica that keeps up: `min-replicas-to-write`.
    needs_replicas: bool = False

    @property
    def percent(self) -> int:
        return self.used * 100 // self.maximum if self.maximum else 0


@dataclass(frozen=True, slots=True)
class AppFacts:
    name: str
    push_enabled: bool = True
    #: Whether it got recent messages; only asked if pushes are off.
    traffic: bool = False


@dataclass(frozen=True, slots=True)
class WayFacts:
    #: Empty: the whole provider.
    origin: str = ""
    stopped: Stopped | None = None
    quota: Quota | None = None
    #: Notifications that wait for it, and UNIX seconds at which the first of them is too old.
    waiting: int = 0
    first_loss: float | None = None


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    app: str
    name: str
    words: Words
    #: Those that do not flow.
    ways: Sequence[WayFacts] = ()
    #: UNIX seconds at which its certificate ends; None: it has none, or it could not be read.
    ends: float | None = None
    #: Whether the keys at hand decrypt its credential; None: not tried.
    readable: bool | None = None
    #: A worker (host) whose keys do not.
    unreadable_by: str | None = None


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """A stream of events. Times in UNIX seconds by the engines' clocks."""

    name: str
    #: None: the stream of all apps.
    app: str | None = None
    #: Age of the oldest entry that was not taken, in seconds; None: none waits.
    oldest: float | None = None
    waiting: int | None = None
    #: Seconds since the intake last moved its cursor; None: not known.
    still: float | None = None
    #: Seconds by which the newest id is ahead of Redis' clock.
    ahead: float = 0.0
    #: Id of that oldest entry.
    first: str = ""
    #: Where there are several.
    partition: int | None = None
    #: Of a spread app's channels: the app's home, where that is another partition.
    home: int | None = None


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """What waits for a worker of the lane: neither scheduled, nor held back for a provider, nor for a rate."""

    lane: str
    #: Notifications, and messages that are not expanded yet.
    notifications: int = 0
    messages: int = 0
    #: Seconds since the oldest of them was published; None: nothing waits.
    oldest: float | None = None
    #: The only app that has any; None: several have.
    app: str | None = None

    @property
    def waiting(self) -> str:
        """What waits, in words."""
        parts = [counted(self.notifications, "notification")] if self.notifications else []
        parts += [counted(self.messages, "message")] if self.messages else []
        return (
            f"{' and '.join(parts)} {'waits' if self.notifications + self.messages == 1 else 'wait'}" if parts else ""
        )


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """A worker process by its last sign of life."""

    name: str
    lanes: Sequence[str] = ()
    #: Seconds since that sign, and by which its clock is ahead of Redis'.
    age: float = 0.0
    ahead: float = 0.0
    #: Why Celery's broker does not answer it, or ''.
    broker: str = ""


class Trimmed(NamedTuple):
    """Entries that somebody else took off a stream, and when the last was missed (UNIX seconds)."""

    stream: str
    app: str | None
    n: int
    at: float


@dataclass(frozen=True, slots=True)
class Leader:
    """Who took the lease of an intake last."""

    owner: str
    since: float
    #: Seconds until the lease ends; negative: nobody leads.
    left: float
    #: Where there are several.
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters: all, those of the last hour, and of these the most frequent app and reason."""

    total: int = 0
    late: int = 0
    app: str | None = None
    reason: str | None = None
    #: Messages of the last hour; not counted on where the dead letters are no share worth a warning.
    messages: int = 0


@dataclass(frozen=True, slots=True)
class OutboxFacts:
    """Rows of the outbox beside our own tables that wait for the relay, and the seconds that the oldest has waited."""

    waiting: int = 0
    oldest: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the conditions depend on, of one moment. None: it could not be read."""

    now: float
    apps: Sequence[AppFacts] = ()
    providers: Sequence[ProviderFacts] | None = None
    streams: Sequence[StreamFacts] = ()
    redis: RedisFacts | None = None
    #: Migrations that were not applied.
    unapplied: Sequence[str] = ()
    #: Postgres takes no writes.
    read_only: bool | None = None
    #: Nobody ever led: `Leader` with an empty owner. None: not known, or no workers are expected.
    #: One a partition; None: not known.
    leaders: Sequence[Leader] | None = None
    letters: Letters | None = None
    trimmed: Sequence[Trimmed] = ()
    #: A worker (host) whose keys did not open a device's secret, in the last minutes.
    devices_unreadable_by: str | None = None
    #: Seconds by which an engine's clock is ahead of this host's.
    skews: Mapping[str, float] = field(default_factory=dict)
    #: This fleet's name, and that of the fleet that the database belongs to.
    fleet: str = ""
    recorded_fleet: str = ""
    #: Why an engine does not answer, in a sentence; None: it does, or was not asked.
    redis_fault: str | None = None
    postgres_fault: str | None = None
    #: Seconds since somebody looked for conditions; only given where that is too long ago.
    unwatched: float | None = None
    lanes: Sequence[LaneFacts] = ()
    #: Seconds since the first of the digests, of the reminders, was due.
    late: Mapping[str, float] = field(default_factory=dict)
    #: None: not known, or no workers are expected.
    workers: Sequence[WorkerFacts] | None = None
    #: Whether beat sends ticks.
    beat: bool | None = None
    outbox: OutboxFacts | None = None
    #: Why the server of a partition does not answer, where those of others do, by the partition's number.
    silent: Mapping[int, str] = field(default_factory=dict)
    #: Why the server of what processes tell each other does not answer, where those of partitions do.
    fleet_fault: str | None = None
    #: The name of this machine.
    host: str = ""
