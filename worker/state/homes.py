"""What a batch takes at the home of its app, where it lies in another partition: badge numbers, devices and rates.

A spread app's channels are in many partitions, and a device gets pushes of all of them. So its badge is at home, counted once for
each batch by the batch's name, and a batch has the device there while it is sent: the last push that arrives shows the number as
it is. Every step may be repeated and answers the same.

Few threads of a process wait for a home whose server does not answer. What needs it is for later, and the others go on.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import redis

from worker.core.batch import Batch, Freed, device_orders
from worker.core.way import Way
from worker.state.limiter import Given, Limiter, Wanted
from worker.state.partition import Partition
from worker.state.parts import Parts
from worker.state.redis import Error, Unavailable

#: Seconds for which home keeps what it answered, after a batch was last taken.
KEPT: Final = 86_400
#: Notes that are carried at once.
_NOTES: Final = 1_000
#: Seconds after which work is tried again whose home did not answer.
AWAY: Final = 1.0

_T = TypeVar("_T")


class HomeAwayError(redis.ConnectionError):
    """The server of the partition `home` does not answer: what needs it is for later."""

    def __init__(self, home: int) -> None:
        super().__init__(f"partition {home}, the home of an app, does not answer")
        self.home = home


class Numbered(NamedTuple):
    """A batch's badge numbers, and those of its devices that others have."""

    badges: Sequence[int]
    blocked: Collection[int]


class Home:
    """The home of some apps, as batches of the partition `here` ask it. Each call may raise `HomeAwayError`.

    `apart`: it is on another server, so that `here` may go on without it.
    """

    def __init__(self, partition: Partition, here: int, *, apart: bool = False) -> None:
        self.partition, self._here = partition, here
        self._scripts, self._keys = partition.scripts, partition.keys
        self.limiter: Limiter = _Limiter(self)
        self._apart = Parts(passing=(Error,)) if apart else None
        #: Whether it gave no answer when it was last asked.
        self._silent = False

    def ask(self, call: Callable[[], _T]) -> _T:
        """What the call of its server comes to. Few threads wait at once for it, and while it is silent none does for long."""
        return self.briefly(call) if self._silent else self._asked(call)

    def briefly(self, call: Callable[[], _T]) -> _T:
        """The same, but a call that takes long goes on in a thread of its own, and nobody waits for it."""
        if self._apart is None:
            return self._asked(call)
        outcome = self._apart.call(threading.get_ident(), lambda: self._asked(call))
        if outcome is None:
            self._silent = True
            raise HomeAwayError(self.partition.index)
        if outcome.fault is not None:
            raise outcome.fault
        answer: _T = outcome.value
        return answer

    def _asked(self, call: Callable[[], _T]) -> _T:
        try:
            with self.partition.gate:
                answer = call()
        except Unavailable as fault:
            self._silent = True
            raise HomeAwayError(self.partition.index) from fault
        self._silent = False
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
        """These have their devices for `lease` seconds more, but those that have accepted. Nobody waits long for it."""
        records = [(self._name(batch), ",".join(map(str, accepted))) for batch, accepted in batches]
        return Freed(*self.briefly(lambda: self._scripts.renew_claims(lease=lease, batches=records)))

    def release(self, batch: str, *, done: float = 0.0) -> Freed:
        """The batch is not sent any more; `done`: nor ever again, and for so many seconds it is known that it was counted.

        Returns how many batches can be taken there by now that waited for it.
        """
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


class _Limiter(Limiter):
    """The rates of a home."""

    def __init__(self, home: Home) -> None:
        super().__init__(home.partition)
        self._home = home

    def reserve(self, wanted: Sequence[Wanted]) -> list[Given]:
        reserve = super().reserve
        return self._home.ask(lambda: reserve(wanted)) if wanted else []

    def beyond(self, free: int, way: Way, devices: Sequence[int], *, now: float) -> list[int]:
        beyond = super().beyond
        return self._home.ask(lambda: beyond(free, way, devices, now=now))

    def moved(self, name: str) -> float:
        moved = super().moved
        return self._home.ask(lambda: moved(name))


class Homes:
    """The homes of apps whose batches lie in the partition `here`; `partitions` are all of the installation."""

    def __init__(self, here: Partition, partitions: Callable[[], Sequence[Partition]] | None = None) -> None:
        self.here, self._partitions = here, partitions
        self._homes: dict[int, Home] = {}
        self._parts = Parts(passing=(Error,))
        #: Ways whose batches wait for their home, and until when (`time.monotonic()`).
        self._waiting: Mapping[Way, float] = {}

    def of(self, app: str) -> Home | None:
        """None: the app is at home here."""
        return None if self._partitions is None or self.here.is_home(app) else self._home(self.here.home_of(app))

    def _home(self, index: int) -> Home:
        if (home := self._homes.get(index)) is None:
            assert self._partitions is not None
            of = self._partitions()[index]
            home = self._homes[index] = Home(of.brief, self.here.index, apart=of.redis is not self.here.redis)
        return home

    def is_at(self, home: int, app: str) -> bool:
        """Whether the app's home is the partition `home`, and not here."""
        return home != self.here.index and self.here.home_of(app) == home

    def put_off(self, way: Way) -> None:
        """Batches of the way need a home that does not answer: none is to be taken for a moment."""
        now = time.monotonic()
        if self._waiting.get(way, 0.0) <= now:
            self._waiting = {one: until for one, until in self._waiting.items() if until > now} | {way: now + AWAY}

    def waiting(self) -> list[Way]:
        """The ways that are put off."""
        now = time.monotonic()
        return [way for way, until in self._waiting.items() if until > now]

    def carry_soon(self) -> None:
        """As `carry`. Nobody waits long for it: it goes on alone where another server does not answer."""
        if self._partitions is None or all(one.redis is self.here.redis for one in self._partitions()):
            self.carry()
            return
        outcome = self._parts.call("carry", self.carry)
        if outcome is not None and outcome.fault is not None:
            raise outcome.fault

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
