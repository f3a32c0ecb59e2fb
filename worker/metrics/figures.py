"""What a process of the pipeline knows about itself, as it hands it to `worker/metrics/own.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.sender.stats import SenderStats


@dataclass(frozen=True, slots=True)
class Threads:
    """Task threads: those that may work at once, those that do, and those that wait for a silent way."""

    limit: int
    working: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Figures:
    #: By kind.
    senders: Mapping[str, SenderStats] = field(default_factory=dict)
    threads: Threads | None = None
    #: Batches in flight.
    batches: int = 0
    #: What psycopg's pool says, by its own names.
    pool: Mapping[str, int] = field(default_factory=dict)
    #: None: it never leads.
    leads: bool | None = None
