"""Which server has a key: the only one, the primary that Sentinels name, or the node of a cluster that owns the key's slot.

Asks nothing itself: a look is a generator of questions, which publishers, those of asyncio and workers ask in their own way.
"""

from abc import ABC, abstractmethod
from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, NamedTuple

from redis import exceptions

from producers.urls import Address, RedisUrl

SLOTS: Final = 16_384
#: Seconds between two looks at Sentinels while nothing fails: a planned failover is no fault of the old primary, which goes on
#: taking what is lost then.
EVERY: Final = 1.0
#: Seconds for which a server that did not answer is asked after all others.
_SHUNNED: Final = 5.0
#: Seconds of faults in a row after which an older configuration is believed too.
_FORGIVEN: Final = 10.0
#: Seconds to wait for the answer to a question.
PATIENCE: Final = 1.0

NO_CLUSTER: Final = "this server is no Redis Cluster: name it as redis://"


class Question(NamedTuple):
    """A command for one server. `sentinel`: with the user and password of the Sentinels."""

    at: Address
    command: tuple[str, ...]
    sentinel: bool = False


#: Yields questions, and is sent the answer of each, or the error in its place. Raises the last error where nobody could tell.
Look = Generator[Question, Any, None]


def slot_of(key: bytes) -> int:
    """The hash slot of a key, of its tag where it has one."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    return crc_hqx(key[start + 1 : end] if end > start + 1 else key, 0) % SLOTS


class Topology(ABC):
    """Where to send what, as far as it is known. Not safe for threads: one of them looks, and reading is one look-up."""

    #: Whether keys lie on several servers.
    spread = False

    def slot(self, key: bytes) -> int:
        """The slot to ask `where` for. Where one server has all keys they are all in one."""
        return slot_of(key) if self.spread else 0

    @abstractmethod
    def where(self, slot: int) -> Address | None:
        """The server; None: unknown until there was a look."""

    @abstractmethod
    def due(self) -> bool:
        """Whether to look before the next command."""

    @abstractmethod
    def look(self) -> Look:
        """One look."""

    @abstractmethod
    def failed(self, at: Address) -> None:
        """This server did not answer, or is not what it was said to be: look before the next command."""

    @abstractmethod
    def known(self, at: Address) -> bool:
        """Whether anything may be sent to this server."""

    @abstractmethod
    def moved(self, slot: int, to: Address) -> None:
        """A node said that another one owns the slot."""


class OneServer(Topology):
    """What needs no looking: the address is in the URL, which may be a socket's too."""

    _HERE: Final = Address("", 0)

    def where(self, slot: int) -> Address | None:
        return self._HERE

    def due(self) -> bool:
        return False

    def look(self) -> Look:
        yield from ()

    def failed(self, at: Address) -> None:
        pass

    def known(self, at: Address) -> bool:
        return True

    def moved(self, slot: int, to: Address) -> None:
        pass


class _Turns:
    """Servers in the order in which to ask them: each look begins with another one, and who was silent comes last."""

    def __init__(self, servers: Sequence[Address], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._servers, self._at = list(servers), 0
        self._silent: dict[Address, float] = {}

    def next(self) -> list[Address]:
        at, now = self._at % len(self._servers), self._clock()
        self._at += 1
        turn = [*self._servers[at:], *self._servers[:at]]
        return sorted(turn, key=lambda server: self._silent.get(server, 0.0) > now)

    def silent(self, server: Address) -> None:
        self._silent[server] = self._clock() + _SHUNNED

    def answered(self, server: Address) -> None:
        self._silent.pop(server, None)

    def add(self, servers: Iterable[Address]) -> None:
        self._servers += [one for one in dict.fromkeys(servers) if one not in self._servers]


def _is_silence(answer: Any) -> bool:
    silence = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)
    return isinstance(answer, silence) and not isinstance(answer, exceptions.AuthenticationError)


class SentinelTopology(Topology):
    """The primary of a service. Sentinels hear of a failover at different times: the newest configuration counts."""

    def __init__(self, url: RedisUrl, clock: Callable[[], float] = monotonic) -> None:
        assert url.service is not None, "the URL was looked at"
        self._service, self._clock = url.service, clock
        self._turns = _Turns(url.hosts, clock)
        self._primary: Address | None = None
        self._epoch, self._next = -1, 0.0
        self._trouble = (-_FORGIVEN, -_FORGIVEN)

    def where(self, slot: int) -> Address | None:
        return self._primary

    def due(self) -> bool:
        return self._clock() >= self._next

    def look(self) -> Look:
        self._next = self._clock() + EVERY
        fault: Exception | None = None
        for sentinel in self._turns.next():
            answer = yield Question(sentinel, ("SENTINEL", "MASTER", self._service), sentinel=True)
            if isinstance(answer, Exception):
                if _is_silence(answer):
                    self._turns.silent(sentinel)
                    fault = fault or answer
                else:
                    unknown = "No such master" in str(answer)
                    nobody = exceptions.ConnectionError(f"no Sentinel knows the service {self._service!r}")
                    fault = nobody if unknown else answer
                continue
            self._turns.answered(sentinel)
            if self._take(answer):
                return
        if self._primary is None:
            raise fault or exceptions.ConnectionError("no Sentinel answered")

    def _take(self, answer: Any) -> bool:
        fields = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=False))
        with suppress(KeyError, ValueError, AttributeError):
            epoch = int(fields[b"config-epoch"])
            if epoch >= self._epoch:
                self._epoch, self._primary = epoch, Address(fields[b"ip"].decode(), int(fields[b"port"]))
                return True
        return False

    def failed(self, at: Address) -> None:
        now = self._clock()
        began, last = self._trouble
        began = now if now - last > _FORGIVEN else began
        self._next, self._trouble = 0.0, (began, now)
        if now - began > _FORGIVEN:
            # Sentinels that were set up anew count from the beginning.
            self._epoch = -1

    def known(self, at: Address) -> bool:
        return at == self._primary

    def moved(self, slot: int, to: Address) -> None:
        self.failed(to)


class ClusterTopology(Topology):
    """The nodes of a cluster and their slots. A node that does not own a slot says so, so it looks only after a fault."""

    spread = True

    def __init__(self, url: RedisUrl, clock: Callable[[], float] = monotonic) -> None:
        self._turns = _Turns(url.hosts, clock)
        self._stale = True
        self._starts: list[int] = []
        self._ranges: list[tuple[int, Address]] = []
        self._moved: dict[int, Address] = {}

    def where(self, slot: int) -> Address | None:
        if (moved := self._moved.get(slot)) is not None:
            return moved
        ranges, at = self._ranges, bisect_right(self._starts, slot) - 1
        return ranges[at][1] if 0 <= at < len(ranges) and slot <= ranges[at][0] else None

    def due(self) -> bool:
        return self._stale

    def look(self) -> Look:
        fault: Exception | None = None
        for node in self._turns.next():
            answer = yield Question(node, ("CLUSTER", "SLOTS"))
            if isinstance(answer, Exception):
                if _is_silence(answer):
                    self._turns.silent(node)
                    fault = fault or answer
                else:
                    disabled = "cluster support disabled" in str(answer)
                    fault = exceptions.ResponseError(NO_CLUSTER) if disabled else answer
                continue
            self._turns.answered(node)
            if answer:
                self._take(node, answer)
                return
            fault = exceptions.ConnectionError("no node of the cluster owns a slot")
        raise fault or exceptions.ConnectionError("no node of the cluster answered")

    def _take(self, asked: Address, answer: Any) -> None:
        ranges, nodes = [], []
        for first, last, *servers in answer:
            # A node that does not know how it is reached leaves its host out: it is the one that was asked.
            found = [Address(host.decode() if host else asked.host, int(port)) for host, port, *_ in servers]
            found = [one for one in found if one.host != "?"]
            nodes += found
            if servers and found:
                ranges.append((int(first), int(last), found[0]))
        ranges.sort()
        # Two assignments that readers may see one without the other: `where` finds None then, and asks again.
        self._ranges = [(last, address) for _, last, address in ranges]
        self._starts = [first for first, _, _ in ranges]
        self._moved, self._stale = {}, False
        self._turns.add(nodes)

    def failed(self, at: Address) -> None:
        self._stale = True

    def moved(self, slot: int, to: Address) -> None:
        self._moved[slot] = to
        self._stale = True

    def known(self, at: Address) -> bool:
        return at in self._moved.values() or any(at == address for _, address in self._ranges)


def topology(url: RedisUrl | None) -> Topology:
    """How to find the servers of a URL; None: there is one, which needs no finding."""
    if url is not None and url.kind == "sentinel":
        return SentinelTopology(url)
    return ClusterTopology(url) if url is not None and url.kind == "cluster" else OneServer()
