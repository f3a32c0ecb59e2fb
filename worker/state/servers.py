"""Clients for several servers: their connections go to the primary that Sentinels name, or to a cluster's node that has a slot.

What a node answers where another one has the keys, or nobody has them for a moment, becomes an error of the connection: who
asked tries again, and finds the right node then. So it is in the family that stands for "Redis is away".
"""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.client import Pipeline
from redis.retry import Retry

from producers import link
from producers.credentials import Credentials
from producers.topology import SLOTS, slot_of
from producers.urls import Address
from worker.state.client import Client, Pool, closing

#: Connections that one process has at most, to all servers together. They are opened one by one, when they are needed.
_MOST: Final = 1_000
#: Options of connections on which nobody waits for long: a server that is silent is not asked again at once.
_BRIEFLY: Final[dict[str, Any]] = {
    "socket_timeout": 2.0,
    "socket_connect_timeout": 2.0,
    "retry": Retry(ExponentialBackoff(base=0.05, cap=0.5), 2, supported_errors=(redis.ConnectionError,)),
}
_MOVED: Final = "the slot is being moved to another node"
_MOVING: Final = "the slot is being moved to another node key by key: its partition waits until that has ended"
#: What a script ends with that finds a key of its slot on the other node. Each begins with a write to a key that is never there:
#: it has changed nothing by then.
_ELSEWHERE: Final = "access a non local key"
_NOBODY: Final = "nobody has the slot now: a failover, or keys that are being moved"
_ENDED: Final = "this server is no primary any more"
#: What is not about one key. Of a name with two words the first counts.
_KEYLESS: Final = frozenset(
    re.split(
        " ",
        "ACL CLIENT CLUSTER COMMAND CONFIG DBSIZE ECHO HELLO INFO LATENCY LASTSAVE PING PUBLISH PUBSUB ROLE SCRIPT SLOWLOG TIME"
        " WAIT",
    )
)
_SCRIPTS: Final = frozenset(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"))
#: Commands for many keys, what they are for one, and how their answers are put together.
_OF_MANY: Final[Mapping[str, tuple[str, Callable[[Iterable[Any]], Any]]]] = {
    "MGET": ("GET", list),
    "EXISTS": ("EXISTS", sum),
    "DEL": ("DEL", sum),
    "UNLINK": ("UNLINK", sum),
}


class _Finding:
    """What a connection of redis-py does besides: it asks where to go, and heeds it when a server says that it is not there."""

    def __init__(self, *, finder: link.Finder, **options: Any) -> None:
        self.finder = finder
        self.slot = 0
        self.at: Address | None = None
        super().__init__(**options)

    def _connect(self) -> Any:
        self.at = self.finder.address(self.slot)
        self.host, self.port = self.at
        try:
            return super()._connect()  # type: ignore[misc]
        except OSError:
            self.finder.topology.failed(self.at)
            raise

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)  # type: ignore[misc]
        if not self.finder.topology.spread:
            # A node of a cluster answers for itself; what a Sentinel says may be old.
            self.send_command("HELLO", check_health=False)  # type: ignore[attr-defined]
            hello = None
            with suppress(redis.ResponseError):  # of a server or a proxy that does not know the command
                hello = self.read_response()
            if link.unfit(hello) == link.REPLICA:
                self._leave(link.REPLICA)

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except redis.ResponseError as fault:
            if (text := self._left(fault)) is not None:
                self._leave(text, fault)
            raise
        except (redis.ConnectionError, redis.TimeoutError) as fault:
            if self.at is not None and not isinstance(fault, redis.AuthenticationError):
                self.finder.topology.failed(self.at)
            raise

    def _left(self, fault: redis.ResponseError) -> str | None:
        """Why to ask another server, or later; None: the fault is another one."""
        if isinstance(fault, redis.exceptions.MovedError) and self.at is not None:
            self.finder.topology.moved(fault.slot_id, Address(fault.host or self.at.host, fault.port))
            return _MOVED
        if isinstance(fault, redis.exceptions.AskError | redis.exceptions.TryAgainError):
            return _MOVING
        if _ELSEWHERE in str(fault):
            return _MOVING
        if isinstance(fault, redis.exceptions.ClusterDownError):
            return _NOBODY
        if isinstance(fault, redis.ReadOnlyError) or str(fault).startswith("UNBLOCKED"):
            return _ENDED
        return str(fault) if str(fault).startswith(link.NO_WRITES) else None

    def _leave(self, text: str, fault: Exception | None = None) -> None:
        if self.at is not None and text not in (_MOVED, _MOVING):
            self.finder.topology.failed(self.at)
        self.disconnect()  # type: ignore[attr-defined]
        raise redis.ConnectionError(text) from fault


class _Plain(_Finding, redis.Connection):
    pass


class _Tls(_Finding, redis.SSLConnection):
    pass


class _Pool(Pool):
    """The connections of a client, and of those beside it, lent for a slot."""

    def __init__(self, servers: link.Servers, finder: link.Finder, **options: Any) -> None:
        self._servers, self._options, self._making = servers, options, threading.Lock()
        self._brief: _Pool | None = None
        self.finder = finder
        self.spread = finder.topology.spread
        base, arguments = servers.of(Address("localhost", 1))
        given = {name: value for name, value in arguments.items() if name not in ("host", "port")}
        super().__init__(
            _Tls if issubclass(base, redis.SSLConnection) else _Plain,
            max_connections=_MOST,
            finder=self.finder,
            **given | options,
        )

    @property
    def brief(self) -> "_Pool":
        """Connections to the same servers on which nobody waits for long. They are closed with these."""
        with self._making:
            if self._brief is None:
                self._brief = _Pool(self._servers, self.finder, **self._options | _BRIEFLY)
            return self._brief

    def lend(self, slot: int) -> Any:
        """A connection to the server that has this slot's keys. Give it back with `release`."""
        self._checkpid()
        at = self.finder.address(slot)
        with self._lock:
            connection: Any = self._idle(at) or self.make_connection()
            self._in_use_connections.add(connection)
        connection.slot = slot
        if connection.at != at:
            connection.disconnect()
        return self.made_ready(connection)

    def _idle(self, at: Address) -> Any:
        """One to this server, or to none that is of use now."""
        idle, known = self._available_connections, self.finder.topology.known
        for place in range(len(idle) - 1, -1, -1):
            if idle[place].at == at:
                return idle.pop(place)
        return next((idle.pop(place) for place in range(len(idle)) if not known(idle[place].at)), None)

    def close(self) -> None:
        super().close()
        if self._brief is not None:
            redis.ConnectionPool.close(self._brief)
        self.finder.close()


class _Lent:
    """A pool as a client of one slot sees it."""

    def __init__(self, pool: _Pool, slot: int) -> None:
        self.pool, self.slot = pool, slot

    def get_connection(self, *_: Any, **__: Any) -> Any:
        """A connection to the server that has the slot."""
        return self.pool.lend(self.slot)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)


def connect(
    url: str, slot_key: str | None, credentials: Credentials | None, options: Mapping[str, Any], *, retries: int
) -> redis.Redis:
    """A client for Sentinels or a cluster. `slot_key`: its commands are all about this key's slot; None: each about its own."""
    servers = link.Servers(url, credentials)
    pool = _Pool(servers, link.Finder(servers), **options)
    if slot_key is None and pool.spread:
        return closing(_AnySlot(pool, retries))
    return closing(_bound(pool, slot_key or ""))


def beside(client: redis.Redis, slot_key: str) -> redis.Redis:
    """A client for this key's slot, by the connections of another one, which closes them; that one, if there is one server."""
    lent = cast("Any", client.connection_pool)
    return _bound(lent.pool, slot_key) if isinstance(lent, _Lent) and lent.pool.spread else client


def briefly(client: redis.Redis) -> redis.Redis:
    """The same client, but an answer that takes longer than two seconds is not awaited; that one, if there is one server.

    A connection that breaks is made again, as by the client: what ends so may have been done.
    """
    lent = cast("Any", client.connection_pool)
    if not (isinstance(lent, _Lent) and lent.pool.spread):
        return client
    return _brief(lent)


def impatient(client: redis.Redis) -> redis.Redis:
    """As `briefly`, and where there is one server, a client with connections of its own, which it closes."""
    pool = cast("Any", client.connection_pool)
    if isinstance(pool, _Lent):
        return _brief(pool)
    options = {name: value for name, value in _BRIEFLY.items() if name in pool.connection_kwargs}
    return closing(
        Client(connection_pool=Pool(connection_class=pool.connection_class, **pool.connection_kwargs | options))
    )


def _brief(lent: _Lent) -> redis.Redis:
    return Client(connection_pool=cast("Any", _Lent(lent.pool.brief, lent.slot)))


def server_of(client: redis.Redis) -> object:
    """What is the same for clients whose keys lie on the same server now. May raise what stands for a cluster that is away."""
    lent = cast("Any", client.connection_pool)
    return lent.pool.finder.address(lent.slot) if isinstance(lent, _Lent) else id(lent)


def spread(client: redis.Redis) -> bool:
    """Whether the client's keys lie on several servers."""
    return isinstance(lent := cast("Any", client.connection_pool), _Lent) and lent.pool.spread


def by_server(client: redis.Redis, names: Iterable[str]) -> dict[Address, list[str]]:
    """The keys of a client for any slot, by the node that has them now."""
    finder = cast("Any", client.connection_pool).pool.finder
    found: defaultdict[Address, list[str]] = defaultdict(list)
    for name in names:
        found[finder.address(slot_of(name.encode()))].append(name)
    return found


def _bound(pool: _Pool, slot_key: str) -> redis.Redis:
    return Client(connection_pool=cast("Any", _Lent(pool, slot_of(slot_key.encode()))))


class _AnySlot(Client):
    """Each command goes to the node that has its key; one for many keys is taken apart, and so is a pipeline."""

    def __init__(self, pool: _Pool, retries: int) -> None:
        super().__init__(connection_pool=cast("Any", _Lent(pool, 0)))
        self._pool, self.tries = pool, retries + 1

    def execute_command(self, *args: Any, **options: Any) -> Any:
        name = str(args[0]).upper()
        if name in _OF_MANY and len(args) > 2:
            with self.pipeline(transaction=False) as pipe:
                pipe.execute_command(*args, **options)  # type: ignore[no-untyped-call]
                return pipe.execute()[0]
        if name.startswith("SCRIPT"):
            # Who runs the script by its key finds it there.
            first, *_ = [self._ask(slot, args, options) for slot in self.slots()]
            return first
        return self._ask(_slot(args), args, options)

    def _ask(self, slot: int, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        return self.ask(self._pool.lend(slot), args, options)

    def slots(self) -> list[int]:
        """A slot of each node that has any."""
        self._pool.finder.address(0)
        found = {self._pool.finder.topology.where(slot): slot for slot in range(0, SLOTS, 16)}
        found.pop(None, None)
        return sorted(found.values())

    def scan(
        self, cursor: int = 0, match: Any = None, count: int | None = None, _type: str | None = None, **_: Any
    ) -> Any:
        """As of one server: the node is a part of the cursor."""
        slots = self.slots()
        inner, node = divmod(int(cursor), len(slots))
        pieces: list[Any] = ["SCAN", inner]
        for word, value in (("MATCH", match), ("COUNT", count), ("TYPE", _type)):
            pieces += [] if value is None else [word, value]
        after, keys = self._ask(slots[node], pieces, {})
        if after:
            return after * len(slots) + node, keys
        return (node + 1) % len(slots), keys

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:
        """A transaction is for keys of one slot."""
        return _AnyPipeline(self, self._pool, transaction)


class _Sent(NamedTuple):
    """A command for one key: its place in the pipeline, and there."""

    place: int
    part: int
    slot: int
    args: tuple[Any, ...]
    options: dict[str, Any]


class _AnyPipeline(Pipeline):
    """A pipeline of a client for any slot: one exchange with each node, all at once."""

    def __init__(self, client: _AnySlot, pool: _Pool, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._client, self._pool, self._whole = client, pool, transaction

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack = self.command_stack
        if self._whole or self.explicit_transaction or self.watching:
            return self._transaction(raise_on_error)
        try:
            answers = self._answers(
                [one for place, (args, options) in enumerate(stack) for one in _apart(place, args, options)]
            )
        finally:
            self.reset()
        found = [_together(args, answers[place]) for place, (args, _) in enumerate(stack)]
        if raise_on_error:
            self.raise_first_error(stack, found)  # type: ignore[no-untyped-call]
        return found

    def _transaction(self, raise_on_error: bool) -> list[Any]:
        slots = {_slot(args) for args, _ in self.command_stack}
        if len(slots) > 1:
            self.reset()
            raise redis.ResponseError("CROSSSLOT the keys of a transaction lie in several slots")
        if self.connection is None and slots:
            self.connection_pool = cast("Any", _Lent(self._pool, slots.pop()))
        return super().execute(raise_on_error)

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        if self.connection is None:
            self.connection_pool = cast("Any", _Lent(self._pool, _slot(args)))
        return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def _answers(self, sent: Sequence[_Sent]) -> Mapping[int, Mapping[int, Any]]:
        answers: defaultdict[int, dict[int, Any]] = defaultdict(dict)
        tries = self._client.tries
        while sent:
            tries -= 1
            undone, fault = self._exchange(sent, answers)
            if fault is not None and tries <= 0:
                raise fault
            if fault is not None:
                time.sleep(0.1)
            sent = undone
        return answers

    def _exchange(
        self, sent: Sequence[_Sent], answers: defaultdict[int, dict[int, Any]]
    ) -> tuple[list[_Sent], Exception | None]:
        """Sends to all nodes, then reads. Returns what a node did not answer, and the last fault."""
        groups: defaultdict[Address, list[_Sent]] = defaultdict(list)
        for one in sent:
            groups[self._pool.finder.address(one.slot)].append(one)
        undone: list[_Sent] = []
        fault: Exception | None = None
        lent: list[Any] = []
        begun: list[tuple[Any, list[_Sent]]] = []
        try:
            for group in groups.values():
                try:
                    lent.append(connection := self._pool.lend(group[0].slot))
                    connection.send_packed_command(connection.pack_commands([one.args for one in group]))
                    begun.append((connection, group))
                except (redis.ConnectionError, redis.TimeoutError) as away:
                    undone, fault = [*undone, *group], away
            for connection, group in begun:
                try:
                    for one in group:
                        answers[one.place][one.part] = self._read(connection, one)
                except (redis.ConnectionError, redis.TimeoutError) as away:
                    undone, fault = [*undone, *group], away
        finally:
            for connection in lent:
                self._pool.release(connection)
        return undone, fault

    def _read(self, connection: Any, one: _Sent) -> Any:
        try:
            return self.parse_response(connection, one.args[0], **dict(one.options))  # type: ignore[no-untyped-call]
        except redis.ResponseError as fault:
            return fault


def _apart(place: int, args: tuple[Any, ...], options: dict[str, Any]) -> Iterable[_Sent]:
    """A command for many keys as one for each."""
    if (of_many := _OF_MANY.get(str(args[0]).upper())) is None or len(args) <= 2:
        return [_Sent(place, 0, _slot(args), args, options)]
    return [_Sent(place, part, _slot(("", key)), (of_many[0], key), {}) for part, key in enumerate(args[1:])]


def _together(args: tuple[Any, ...], answers: Mapping[int, Any]) -> Any:
    if (of_many := _OF_MANY.get(str(args[0]).upper())) is None or len(args) <= 2:
        return answers[0]
    parts = [answers[part] for part in range(len(args) - 1)]
    return next((one for one in parts if isinstance(one, Exception)), None) or of_many[1](parts)


def _slot(args: Sequence[Any]) -> int:
    """The slot of a command's first key; 0 where it has none."""
    name = str(args[0]).upper()
    if name.partition(" ")[0] in _KEYLESS or len(args) < 2:
        return 0
    place = 1
    if name in _SCRIPTS:
        if not int(args[2]):
            return 0
        place = 3
    elif name in ("XREAD", "XREADGROUP"):
        place = next(at for at, one in enumerate(args) if one in ("STREAMS", b"STREAMS")) + 1
    key = args[place]
    return slot_of(bytes(key) if isinstance(key, bytes | memoryview) else str(key).encode())
