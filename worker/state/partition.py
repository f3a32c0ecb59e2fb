"""Where the keys are: partitions, each in one slot of a cluster, and what is of no partition.

A store of one app's state takes its `Partition`. What all processes share is in the `Fleet`.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from copy import copy
from functools import partial
from typing import Final

from producers.partitions import UNTAGGED, Layout
from worker.core.entry import Names, mark_of
from worker.core.lazy import lazy
from worker.state import layout, servers
from worker.state.gate import Gate, GateOfServer
from worker.state.keys import FLEET, PREFIX, Keys
from worker.state.parts import Outcome, Parts
from worker.state.redis import Away, Error, Redis
from worker.state.scripts import Scripts

#: Seconds within which a server has to answer somebody who goes over all partitions.
_ANSWERS: Final = 1.0


class Partition:
    """The keys of some apps, which scripts change together: number `index` of the layout.

    `redis` is a client of the server that has them. `any_slot` is one for single keys wherever they are, as those of producers.
    """

    def __init__(
        self,
        index: int,
        of: Layout,
        redis: Redis,
        any_slot: Redis | None = None,
        gate: Gate | GateOfServer | None = None,
    ) -> None:
        self.index, self.redis, self._layout = index, redis, of
        #: What its keys begin with.
        self.prefix = of.prefix(index)
        self.any_slot = redis if any_slot is None else any_slot
        mark = mark_of(index) if of.tags else ""
        self.keys = Keys(self.prefix, "partition", mark)
        self.names = Names(self.keys.EVENTS(), mark)
        self.scripts = Scripts(redis, self.keys)
        #: What this process's threads go through that must not all wait for its server.
        self.gate = Gate() if gate is None else gate

    @lazy
    def brief(self) -> "Partition":
        """The same for what may as well be done later: nobody waits for long for its server, where there are several."""
        if (client := servers.briefly(self.redis)) is self.redis:
            return self
        return Partition(self.index, self._layout, client, self.any_slot, self.gate)

    def owns(self, app: str) -> bool:
        """Whether events of the app may come here: it lives here, or its channels are spread over all partitions."""
        return self.is_spread(app) or self.is_home(app)

    def is_spread(self, app: str) -> bool:
        """Whether the app's channels are spread over all partitions."""
        return self._layout.is_spread(app)

    def home_of(self, app: str) -> int:
        """The number of the partition that the app lives in."""
        return self._layout.home_of(app)

    def is_home(self, app: str) -> bool:
        """Whether the app lives here, with its badges, rates and all that is no channel's."""
        return self._layout.home_of(app) == self.index

    def is_right(self, app: str, channel: str | None) -> bool:
        """Whether events about this channel of the app, or with None its other events, belong here."""
        return self._layout.partition_of(app, channel) == self.index

    def __repr__(self) -> str:
        return f"Partition({self.index}, {self.prefix!r})"


class Keyspace:
    """All keys of an installation, as its layout says. `read` reads that when it is first needed, and may raise Redis' errors.

    `redis` is a client for single keys wherever they are.
    """

    def __init__(self, redis: Redis, read: Callable[[Redis], Layout] = layout.read) -> None:
        self.redis, self._read = redis, read
        self.fleet = Fleet(self)
        self._asking, self._silent = Parts(_ANSWERS, passing=(Error,)), frozenset[int]()

    @lazy
    def layout(self) -> Layout:
        return self._read(self.redis)

    @lazy
    def partitions(self) -> Sequence[Partition]:
        of, gates = self.layout, defaultdict[Hashable, Gate](Gate)

        def partition(n: int) -> Partition:
            client = self.client_of(of.prefix(n))
            gate = GateOfServer(gates, partial(servers.server_of, client)) if servers.spread(client) else None
            return Partition(n, of, client, self.redis, gate)

        return [partition(n) for n in range(of.partitions)]

    def client_of(self, key: str) -> Redis:
        """A client of the server that has the key's slot."""
        return servers.beside(self.redis, key)

    def moved(self) -> bool:
        """Whether another layout is in force by now."""
        return layout.read(self.redis) != self.layout

    def renewed(self) -> "Keyspace":
        """This one, or where another layout is in force by now, one of that. While Redis is away, this one."""
        try:
            return Keyspace(self.redis, self._read) if self.moved() else self
        except Error:
            return self

    def of_app(self, app: str) -> Partition:
        """The partition that the app lives in: of a spread app its home."""
        return self.partitions[self.layout.home_of(app)]

    def of_channel(self, app: str, channel: str) -> Partition:
        """The partition of this channel of the app."""
        return self.partitions[self.layout.partition_of(app, channel)]

    def all_of(self, app: str) -> Sequence[Partition]:
        """Every partition that may hold work of the app, its home first."""
        home = self.of_app(app)
        return [home, *(one for one in self.partitions if one is not home)] if self.layout.is_spread(app) else [home]

    def answering(self) -> tuple["Keyspace", dict[int, str]]:
        """The same, but going over it leaves those partitions out whose server does not answer soon; and why, by their numbers.

        A single partition is always asked for what is wanted of it.
        """
        if len(self.partitions) == 1:
            return self, {}
        # A key of the partition: while its slot is being moved key by key, its server answers others alone.
        asks: dict[Hashable, Callable[[], object]] = {
            of.index: partial(of.redis.exists, of.keys.NONE()) for of in self.partitions
        }
        asked = self._asking.calls(asks)
        silent = {of.index: why for of in self.partitions if (why := _why(asked[of.index])) is not None}
        others = copy(self)
        vars(others)["_silent"] = frozenset(silent)
        return others, silent

    def fleet_fault(self) -> str | None:
        """Why the server of the fleet's keys gives no answer soon; None: it does."""
        answer = self._asking.call("fleet", partial(self.fleet.redis.exists, self.fleet.keys.WORKERS()))
        # Whoever reads them says that a right is missing.
        is_away = answer is None or isinstance(answer.fault, Away)
        return _why(answer) if is_away else None

    def __iter__(self) -> Iterator[Partition]:
        return (one for one in self.partitions if one.index not in self._silent)


def _why(answer: Outcome | None) -> str | None:
    """Why a server's answer is none."""
    if answer is None:
        return f"no answer within {_ANSWERS:.0f} s"
    if answer.fault is not None and not isinstance(answer.fault, Error):
        raise answer.fault
    return None if answer.fault is None else str(answer.fault).partition("\n")[0].rstrip(".")


class Fleet:
    """What all processes of an installation tell each other and operators."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace

    @lazy
    def redis(self) -> Redis:
        return self._keyspace.client_of(PREFIX + FLEET)

    @lazy
    def brief(self) -> "Fleet":
        """The same for those who go on without an answer: as `Partition.brief`."""
        return self.through(servers.briefly(self.redis))

    def through(self, redis: Redis) -> "Fleet":
        """The same by another client of its server."""
        same = Fleet(self._keyspace)
        vars(same)["redis"] = redis
        return same

    @lazy
    def keys(self) -> Keys:
        return Keys(PREFIX + FLEET if self._keyspace.layout.tags else PREFIX, "fleet")

    @lazy
    def scripts(self) -> Scripts:
        return Scripts(self.redis, self.keys)


def untagged(redis: Redis) -> Partition:
    """The only partition of an installation without tags."""
    return Partition(0, UNTAGGED, redis)
