"""What is done to Redis where it is several servers: a cluster of three primaries with replicas, or a primary behind Sentinels.

Nobody starts a node of these that dies but who killed it. `Owners` notes who is the primary of each partition, so that the
account knows every failover, also one that a busy machine brought about.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from producers.partitions import Layout
from producers.topology import slot_of
from tests.chaos.account import Failover
from tests.chaos.engines import Hands, Name
from tests.chaos.repeated import Repeated
from tests.valkey import Cluster, Valkey, Watched
from worker.embedded import Urls
from worker.embedded.valkey import LARGEST_VALUE

#: Milliseconds for which a primary is silent before another one takes its place: more than what a busy machine holds one up.
DOWN: Final = 2_500
#: Seconds for another primary, and for all servers to be at rest again.
TAKES_OVER: Final = 30.0
RESTS: Final = 60.0
#: Seconds between two looks at who is the primary, and for which a server's answer is waited for then.
_EVERY: Final = 0.1
_ANSWERS: Final = 0.5
#: Begins the key of each partition that says when its primary was last written to by us.
_MARK: Final = "chaos:mark:"
_OPTIONS: Final = (
    "--maxmemory-policy",
    "noeviction",
    "--proto-max-bulk-len",
    str(LARGEST_VALUE),
    "--loglevel",
    "warning",
)


class Several(Hands):
    """`urls` has the URL of all servers. A partition is meant by its number."""

    def __init__(self, data_dir: Path, urls: Urls, nodes: Sequence[Valkey], layout: Layout, random: Random) -> None:
        super().__init__(data_dir, urls)
        self.nodes, self.layout, self._random = nodes, layout, random

    @abstractmethod
    def owner(self, partition: int) -> Valkey:
        """The primary of a partition. Raises LookupError or redis.RedisError while nobody knows."""

    @abstractmethod
    def rests(self) -> bool:
        """Whether everything answers, agrees and follows."""

    @abstractmethod
    def claims(self, node: Valkey) -> frozenset[int]:
        """The partitions whose primary this node says it is, now. Raises redis.RedisError."""

    @abstractmethod
    def ask_for_failover(self, partition: int) -> None:
        """Has the primary of a partition replaced in such a way that nothing is lost. Raises redis.RedisError."""

    def pids(self) -> dict[str, int]:
        found = ((f"valkey-{n}", node.pid) for n, node in enumerate(self.nodes))
        return {name: pid for name, pid in found if pid is not None}

    def kill(self, engine: Name) -> None:
        """A primary dies and is there again at once: most often before another one takes its place."""
        if engine != "valkey":
            super().kill(engine)
            return
        node = self._any_primary()
        node.kill()
        node.start()
        self._rest()

    @contextmanager
    def primary_killed(self) -> Iterator[None]:
        """A primary dies, another one takes its place, and inside the block the dead one is away. Then it is a replica."""
        self._rest()
        partition = self._any_partition()
        node = self.owner(partition)
        node.kill()
        try:
            _await(lambda: self.owner(partition) is not node and self.owner(partition).role() == "master", TAKES_OVER)
            yield
        finally:
            node.start()
            self._rest()

    def fail_over(self) -> None:
        """A planned failover."""
        self._rest()
        partition = self._any_partition()
        node = self.owner(partition)
        self.ask_for_failover(partition)
        _await(lambda: self.owner(partition) is not node and self.owner(partition).role() == "master", TAKES_OVER)

    @contextmanager
    def paused(self, engine: Name) -> Iterator[None]:
        """Of Redis one primary is stopped; when it goes on, another one has its place if this took long enough."""
        if engine != "valkey":
            with super().paused(engine):
                yield
            return
        node = self._any_primary()
        node.freeze()
        try:
            yield
        finally:
            node.thaw()
            self._rest()

    @contextmanager
    def full(self) -> Iterator[None]:
        node = self._any_primary()
        _set_maxmemory(node, 1)
        try:
            yield
        finally:
            self._no_maxmemory()

    @contextmanager
    def limited(self, spare: int, app: str) -> Iterator[int]:
        node = self.owner(self.layout.partition_of(app))
        limit = _used(node) + spare
        _set_maxmemory(node, limit + _kept_for_replicas(node))
        try:
            yield limit
        finally:
            self._no_maxmemory()

    def used(self, app: str) -> int:
        return _used(self.owner(self.layout.partition_of(app)))

    def _any_partition(self) -> int:
        return self._random.randrange(self.layout.partitions)

    def _any_primary(self) -> Valkey:
        self._rest()
        return self.owner(self._any_partition())

    def _rest(self) -> None:
        _await(self.rests, RESTS)

    def _no_maxmemory(self) -> None:
        for node in self.nodes:
            _set_maxmemory(node, 0)


class Clustered(Several):
    def __init__(
        self, cluster: Cluster, data_dir: Path, urls: Urls, nodes: Sequence[Valkey], layout: Layout, random: Random
    ) -> None:
        super().__init__(data_dir, urls, nodes, layout, random)
        self._cluster, self._slots = cluster, [slot_of(layout.prefix(n).encode()) for n in range(layout.partitions)]

    def owner(self, partition: int) -> Valkey:
        return self._cluster.owner(self._slots[partition])

    def rests(self) -> bool:
        return self._cluster.at_rest()

    def claims(self, node: Valkey) -> frozenset[int]:
        with _client(node) as client:
            role: Any = client.execute_command("ROLE")
            if role[0] != b"master":
                return frozenset()
            ranges: Any = client.execute_command("CLUSTER SLOTS")
        mine = [(first, last) for first, last, server, *_ in ranges if server[1] == node.port]
        return frozenset(n for n, slot in enumerate(self._slots) if any(first <= slot <= last for first, last in mine))

    def ask_for_failover(self, partition: int) -> None:
        self._cluster.replica_of(self.owner(partition)).ask("CLUSTER", "FAILOVER")

    def move_slot(self) -> None:
        """The slot of a partition goes to another primary as a whole."""
        self._rest()
        partition = self._any_partition()
        slot, source = self._slots[partition], self.owner(partition)
        target = self._random.choice([one for one in self.nodes if one is not source and one.role() == "master"])
        source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.ask("CLUSTER", "MYID"))
        _await(lambda: self.owner(partition) is target, TAKES_OVER)


class BehindSentinels(Several):
    def __init__(
        self, watched: Watched, data_dir: Path, urls: Urls, nodes: Sequence[Valkey], layout: Layout, random: Random
    ) -> None:
        super().__init__(data_dir, urls, nodes, layout, random)
        self._watched = watched

    def owner(self, partition: int) -> Valkey:
        return self._watched.primary()

    def rests(self) -> bool:
        return self._watched.at_rest()

    def claims(self, node: Valkey) -> frozenset[int]:
        with _client(node) as client:
            role: Any = client.execute_command("ROLE")
        return frozenset(range(self.layout.partitions) if role[0] == b"master" else ())

    def ask_for_failover(self, partition: int) -> None:
        self._watched.sentinels[0].ask("SENTINEL", "FAILOVER", "bell", "COORDINATED")


class Owners(Repeated):
    """Notes failovers: when another server says that it is a partition's primary, and the one before does not.

    It writes the time to each primary. The one that a new primary has is how far replication had got: it has everything that
    was confirmed before that, as replicas execute what their primary did, in its order.
    """

    def __init__(self, hands: Several) -> None:
        super().__init__("owners", _EVERY)
        self._hands = hands
        #: By partition: its primary, when that one last said so and nobody else did, and whether another one has begun to.
        self._last: dict[int, tuple[Valkey, float]] = {}
        self._disputed: set[int] = set()
        #: By partition, and a server that is not its primary yet: the time that it had when it first said that it is.
        self._had: dict[tuple[int, Valkey], float] = {}
        self.failovers: list[Failover] = []

    def turn(self) -> None:
        began, claims, silent = time.time(), dict[int, list[Valkey]](), list[Valkey]()
        for node in self._hands.nodes:
            try:
                claimed = self._hands.claims(node)
            except redis.TimeoutError:
                silent.append(node)  # it may go on and believe that it is the primary
                continue
            except redis.RedisError:
                continue
            for partition in range(self._hands.layout.partitions):
                if partition in claimed:
                    claims.setdefault(partition, []).append(node)
                else:
                    self._had.pop((partition, node), None)
            self._mark(node, claimed)
        for partition, nodes in claims.items():
            before = self._last.get(partition)
            if before is None or nodes == [before[0]]:
                # One that was dead takes itself for the primary until it follows again.
                self._disputed.discard(partition)
                self._last[partition] = nodes[0], began
            elif any(node is not before[0] for node in nodes):
                self._disputed.add(partition)
                if len(nodes) == 1 and before[0] not in silent:
                    self._disputed.discard(partition)
                    self._note(partition, *before, self._had.pop((partition, nodes[0]), 0.0))
                    self._last[partition] = nodes[0], began

    def _mark(self, node: Valkey, partitions: Collection[int]) -> None:
        """Writes the time to this primary; of a new one what it has is read before."""
        try:
            with _client(node) as client:
                for partition in partitions:
                    key = _MARK + self._hands.layout.prefix(partition)
                    owner = self._last.get(partition)
                    if owner is not None and owner[0] is not node and (partition, node) not in self._had:
                        found: Any = client.get(key)
                        self._had[partition, node] = float(found or 0.0)
                    client.set(key, repr(time.time()))
        except redis.RedisError:  # it is full, or does not answer: then a failover may have lost more
            pass

    def _note(self, partition: int, old: Valkey, last_at: float, has_until: float) -> None:
        # A primary that has handed a slot on is still one.
        if old.role() != "master":
            self.failovers.append(Failover(partition, last_at, time.time(), has_until))


@contextmanager
def cluster(
    data_dir: Path, postgres: str, home: Path, agree: Callable[[str], Layout], random: Random
) -> Iterator[Clustered]:
    """A cluster; `agree` is called with its URL and gives the layout."""
    with ExitStack() as stack:
        made = Cluster(home, stack, *_OPTIONS, down=DOWN)
        yield Clustered(made, data_dir, Urls(made.url, postgres), made.nodes, agree(made.url), random)


@contextmanager
def sentinel(
    data_dir: Path, postgres: str, home: Path, agree: Callable[[str], Layout], random: Random
) -> Iterator[BehindSentinels]:
    """A primary with two replicas behind three Sentinels."""
    with ExitStack() as stack:
        made = Watched(home, stack, *_OPTIONS, replicas=2, down=DOWN)
        yield BehindSentinels(made, data_dir, Urls(made.url, postgres), made.servers, agree(made.url), random)


def _client(node: Valkey) -> redis.Redis:
    return redis.Redis(
        port=node.port,
        protocol=2,
        socket_timeout=_ANSWERS,
        socket_connect_timeout=_ANSWERS,
        retry=Retry(NoBackoff(), 0),
    )


def _used(node: Valkey) -> int:
    """Octets, without what the node keeps for its replicas: that grows up to a size of its own and never comes down."""
    with node.client() as client:
        found: dict[str, Any] = client.info("memory")
    return int(found["used_memory"]) - int(found["mem_total_replication_buffers"])


def _kept_for_replicas(node: Valkey) -> int:
    with node.client() as client:
        found: dict[str, Any] = client.config_get("repl-backlog-size")
    return int(found["repl-backlog-size"])


def _set_maxmemory(node: Valkey, octets: int) -> None:
    node.ask("CONFIG", "SET", "maxmemory", octets)


def _await(condition: Callable[[], object], seconds: float) -> None:
    """Returns once it holds; what Redis raises counts as no. Raises TimeoutError."""
    ends = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (redis.RedisError, LookupError, ValueError, StopIteration):
            pass
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for Redis' servers")
        time.sleep(0.05)
