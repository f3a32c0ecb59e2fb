"""What a batch takes at the home of its app, where it lies in another partition: badge numbers, devices and rates.

A spread app's channels are in many partitions, and a device gets pushes of all of them. So its badge is at home, counted once for
each batch by the batch's name, and a batch has the device there while it is sent: the last push that arrives shows the number as
it is. Every step may be repeated and answers the same.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import redis

from worker.core.batch import Batch, Freed, device_orders
from worker.state.limiter import Limiter
from worker.state.partition import Partition
from worker.state.parts import Parts
from worker.state.redis import Away, Error, Unavailable

#: Seconds for which home keeps what it answered, after a batch was last taken.
KEPT: Final = 86_400
#: Notes that are carried at once.
_NOTES: Final = 1_000
#: Seconds within which a home on another server has to answer. The lease of a batch is longer.
_ANSWERS: Final = 1.0

_T = TypeVar("_T")


class Numbered(NamedTuple):
    """A batch's badge numbers, and those of its devices that others have."""

    badges: Sequence[int]
    blocked: Collection[int]


class Home:
    """The home of some apps, as batches of the partition `here` ask it. `apart`: it may be on another server."""

    def __init__(self, partition: Partition, here: int, *, apart: bool = False) -> None:
        self.partition, self._here = partition, here
        self._scripts, self._keys = partition.scripts, partition.keys
        self.limiter = Limiter(partition)
        self._asking = Parts(_ANSWERS, passing=Unavailable) if apart else None
        #: Whether it gave no answer when it was last asked, and who looks whether it does again.
        self._silent, self._looking = False, threading.Lock()

    def ask(self, call: Callable[[], _T]) -> _T:
        """What the call of its server comes to. One on another server has to answer soon, else this raises an `Unavailable`.

        While it is silent, one thread at a time waits for it: the others have work of other apps.
        """
        if self._asking is None:
            return call()
        if not self._silent:
            return self._asked(self._asking, call)
        if not self._looking.acquire(blocking=False):
            raise redis.ConnectionError("the home of a spread app does not answer others")
        try:
            return self._asked(self._asking, call)
        finally:
            self._looking.release()

    def _asked(self, asking: Parts, call: Callable[[], _T]) -> _T:
        outcome = asking.call(threading.get_ident(), call)
        self._silent = outcome is None or isinstance(outcome.fault, Away)
        if outcome is None:
            raise redis.ConnectionError("the home of a spread app does not answer")
        if outcome.fault is not None:
            raise outcome.fault
        answer: _T = outcome.value
        return answer

    def number(self, batch: str, of: Batch, *, again: bool, lease: float) -> Numbered:
        """Counts the jobs of the batch once, and takes its devices for `lease` seconds. `again`: it was counted before."""
        badges, blocked = self.ask(
            lambda: self._scripts.number_batch(
                id=self._name(batch),
                app=of.app,
                way=of.way,
                orders=device_orders(of),
                again=int(again),
                lease=lease,
                keep=KEPT,
            )
        )
        return Numbered([int(n) for n in badges.split(b",") if n], frozenset(map(int, blocked)))

    def uncount(self, batch: str, dropped: Sequence[int]) -> list[int]:
        """As `Journal.uncount`; of a batch that was not counted nothing is given back."""
        answer = self._keys.NUMBERED(self._name(batch))
        found = self.ask(lambda: self._scripts.uncount(batch=answer, dropped=list(dropped)))
        return [int(n) for n in found.split(b",") if n]

    def renew(self, batches: Iterable[tuple[str, Sequence[int]]], lease: float) -> Freed:
        """These have their devices for `lease` seconds more, but those that have accepted."""
        records = [(self._name(batch), ",".join(map(str, accepted))) for batch, accepted in batches]
        return Freed(*self.ask(lambda: self._scripts.renew_claims(lease=lease, batches=records)))

    def release(self, batch: str, *, done: float = 0.0) -> Freed:
        """The batch is not sent any more; `done`: nor ever again, and for so many seconds it is known that it was counted."""
        return Freed(*self.ask(lambda: self._scripts.release_claims(id=self._name(batch), done=done)))

    def carry(self, number: int, note: bytes) -> None:
        """Takes a note: what messages leave for users of whom nothing is pushed. A second time does nothing."""
        missed, badges, silent = msgspec.json.decode(note)
        self.ask(
            lambda: self._scripts.carry_home(
                source=self._here, number=number, missed=missed, badges=badges, silent=silent
            )
        )

    def _name(self, batch: str) -> str:
        return f"{batch}~{self._here}"


class Homes:
    """The homes of apps whose batches lie in the partition `here`; `partitions` are all of the installation."""

    def __init__(self, here: Partition, partitions: Callable[[], Sequence[Partition]] | None = None) -> None:
        self.here, self._partitions = here, partitions
        self._homes: dict[int, Home] = {}

    def of(self, app: str) -> Home | None:
        """None: the app is at home here."""
        return None if self._partitions is None or self.here.is_home(app) else self._home(self.here.home_of(app))

    def _home(self, index: int) -> Home:
        if (home := self._homes.get(index)) is None:
            assert self._partitions is not None
            of = self._partitions()[index]
            home = self._homes[index] = Home(of, self.here.index, apart=of.redis is not self.here.redis)
        return home

    def partition_of(self, app: str) -> Partition:
        """The home of the app."""
        home = self.of(app)
        return self.here if home is None else home.partition

    def carry(self) -> int:
        """Brings notes of this partition to their homes, in their order. Returns how many; one whose home is away stays."""
        if self._partitions is None:
            return 0
        key, carried, away = self.here.keys.HOMEWARD(), 0, set[int]()
        fault: Error | None = None
        notes: Any = self.here.redis.lrange(key, 0, _NOTES - 1)
        for note in notes:
            number, index, left = note.split(b" ", 2)
            if int(index) in away:
                continue
            try:
                self._home(int(index)).carry(int(number), left)
            except Error as its:
                away.add(int(index))
                fault = fault if isinstance(its, Unavailable) else its
                continue
            self.here.redis.lrem(key, 1, note)
            carried += 1
        if fault is not None:
            raise fault
        return carried
