"""How much waits, where, of whom, and since when.

Messages and batches are counted. What is in a batch, and bytes, are estimated from a bounded number of them where there are more.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from worker.core.way import Way
from worker.state.redis import Redis

#: Where it waits. `stream`: the leader has not taken it. `ready`: a worker can take it. `leased`: a worker has it. `due`: it is
#: taken later, for example to be tried again. `held`: its way is stopped, paused or over a quota. `scheduled`: a push for later.
State = Literal["stream", "ready", "leased", "due", "held", "scheduled"]


class Waiting(NamedTuple):
    """What waits in one state, of one app, in one lane, for one way."""

    state: State
    #: '': entries of the inlet, which may be of any app.
    app: str = ""
    #: 'urgent' or 'bulk'; '' for what has no lane yet.
    lane: str = ""
    #: Of batches.
    way: Way | None = None
    #: Entries of streams, and messages to expand.
    messages: int = 0
    batches: int = 0
    #: In the batches.
    notifications: int = 0
    #: Of documents of messages and batches.
    octets: int = 0
    #: Age in seconds of the oldest, since it was published; None: not known.
    oldest: float | None = None


class Backlog(NamedTuple):
    waiting: Sequence[Waiting]
    #: Whether notifications and octets are estimated: not every batch was looked at.
    estimated: bool = False

    def by(self, key: Callable[[Waiting], tuple[str, ...]]) -> dict[tuple[str, ...], Waiting]:
        """Sums by what `key` returns of each, for example `(w.state, w.lane)`. A sum has the oldest of its parts."""
        raise NotImplementedError

    @property
    def total(self) -> Waiting:
        """Everything but what is scheduled for later."""
        raise NotImplementedError


def read(redis: Redis, cursors: Mapping[str, str], apps: Mapping[int, str]) -> Backlog:
    """The backlog now. `cursors`: stream -> the last id that the leader took; `apps`: provider -> its app.

    Keys are read one after another, so what moves meanwhile may be seen twice or not at all.
    """
    raise NotImplementedError
