"""The workers' clients while a primary dies or is replaced, behind Sentinels and in a cluster."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from time import sleep
from typing import Any, Self

import pytest
import redis
from redis.exceptions import NoScriptError

from producers.topology import slot_of
from tests.valkey import Cluster, Valkey, Watched, wait_until
from worker.state.redis import Away, Redis, await_fit, connect, unfit
from worker.state.servers import beside

pytestmark = pytest.mark.slow

#: The beginning of the keys of three partitions, each on another node of three.
PREFIXES = ("carillon:{p0.41}:", "carillon:{p1.42}:", "carillon:{p2.3}:")
COUNT = "redis.call('HSETNX', KEYS[1], ARGV[1], 1) return redis.call('RPUSH', KEYS[2], ARGV[1])"


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("clustered"), stack)


@pytest.fixture
def any_slot(clustered: Cluster) -> Iterator[Redis]:
    clustered.rest()
    with connect(clustered.url) as client:
        yield client


class Store:
    """Calls a script, a pipeline and a transaction of one partition again and again, as stores do, and reads a stream."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis, self._prefix = redis, prefix
        self.done: list[str] = []
        self.seen: set[str] = set()
        self.faults: list[BaseException] = []
        self._stop = threading.Event()
        self._script = redis.register_script(COUNT)
        self._threads = [threading.Thread(target=self._bear, args=(one,)) for one in (self._write, self._read)]
        self._n, self._last = 0, "0-0"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self) -> None:
        goal = len(self.done) + 100
        wait_until(lambda: len(self.done) >= goal or self.faults, "nothing is done")

    def _bear(self, step: Callable[[], None]) -> None:
        while not self._stop.is_set():
            try:
                step()
            except Away:
                sleep(0.05)
            except Exception as fault:  # noqa: BLE001 the test shows it
                self.faults.append(fault)
                return

    def _write(self) -> None:
        self._n += 1
        name = str(self._n)
        call = partial(self._script, keys=[f"{self._prefix}open", f"{self._prefix}ready"], args=[name])
        try:
            call()
        except NoScriptError:  # as `worker/state/scripts.py` does
            call()
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hset(f"{self._prefix}open", name, 1)
            pipe.hlen(f"{self._prefix}open")
            pipe.execute()
        with self._redis.pipeline() as pipe:
            pipe.xadd(f"{self._prefix}events", {"n": name})
            pipe.hset(f"{self._prefix}done", name, 1)
            pipe.execute()
        self.done.append(name)

    def _read(self) -> None:
        found: Any = self._redis.xread({f"{self._prefix}events": self._last}, count=100, block=500)
        for _, entries in found or []:
            for id, fields in entries:
                self.seen.add(fields[b"n"].decode())
                self._last = id

    def check(self, redis: Redis) -> None:
        """What was acknowledged is there, and the reader saw it."""
        assert self.faults == []
        names: Any = redis.hkeys(f"{self._prefix}done")
        entries: Any = redis.xrange(f"{self._prefix}events")
        assert set(self.done) <= {name.decode() for name in names}
        assert set(self.done) <= {fields[b"n"].decode() for _, fields in entries}


def seen_to_the_end(store: Store) -> None:
    done = set(store.done)
    wait_until(lambda: done <= store.seen, "the reader does not go on")


def test_a_primary_behind_sentinels_dies_and_the_stores_go_on(watched: Watched) -> None:
    watched.rest()
    primary = watched.primary()
    with connect(watched.url) as client, Store(client, "carillon:killed:") as store:
        primary.kill()
        store.more()
        seen_to_the_end(store)
    primary.start()
    watched.rest()
    with connect(watched.url) as client:
        assert unfit(client) is None
        await_fit(client)
        store.check(client)


def test_a_client_leaves_a_primary_that_was_replaced_without_a_fault_of_its(watched: Watched) -> None:
    """A planned failover leaves the old primary writing until the Sentinels make it a replica."""
    watched.rest()
    before = watched.primary()
    with connect(watched.url) as client:
        client.set("carillon:x", "1")
        before.ask("CLIENT", "NO-TOUCH", "OFF")
        watched.fail_over()
        after = watched.primary()
        wait_until(lambda: client.info("server")["tcp_port"] == after.port, "the client stays")
        assert after is not before
    watched.rest()


def test_a_coordinated_failover_behind_sentinels_loses_nothing(watched: Watched) -> None:
    watched.rest()
    with connect(watched.url) as client, Store(client, "carillon:coordinated:") as store:
        watched.fail_over("COORDINATED")
        store.more()
        seen_to_the_end(store)
    watched.rest()
    with connect(watched.url) as client:
        store.check(client)


@pytest.mark.parametrize("how", ["bound", "any"])
def test_a_primary_of_a_cluster_dies_and_the_stores_go_on(clustered: Cluster, how: str) -> None:
    clustered.rest()
    prefix = PREFIXES[1]
    primary = clustered.owner(slot_of(prefix.encode()))
    clustered.replica_of(primary)
    with connect(clustered.url, slot_key=prefix if how == "bound" else None) as client, Store(client, prefix) as store:
        primary.kill()
        store.more()
        seen_to_the_end(store)
    primary.start()
    clustered.rest()
    with connect(clustered.url, slot_key=prefix) as client:
        store.check(client)


def test_a_failover_that_a_replica_of_a_cluster_asks_for_loses_nothing(clustered: Cluster) -> None:
    clustered.rest()
    prefix = PREFIXES[2]
    primary = clustered.owner(slot_of(prefix.encode()))
    replica = clustered.replica_of(primary)
    with connect(clustered.url, slot_key=prefix) as client, Store(client, prefix) as store:
        replica.ask("CLUSTER", "FAILOVER")
        wait_until(lambda: replica.role() == "master", "no failover")
        store.more()
        seen_to_the_end(store)
    clustered.rest()
    with connect(clustered.url, slot_key=prefix) as client:
        store.check(client)


def test_a_slot_moves_to_another_node_while_stores_use_it(clustered: Cluster) -> None:
    clustered.rest()
    prefix = "carillon:{moved}:"
    slot = slot_of(prefix.encode())
    source = clustered.owner(slot)
    target = next(one for one in clustered.nodes if one.role() == "master" and one is not source)
    with connect(clustered.url, slot_key=prefix) as client, Store(client, prefix) as store:
        source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.ask("CLUSTER", "MYID"))
        wait_until(lambda: clustered.owner(slot) is target, "the slot does not move")
        store.more()
        seen_to_the_end(store)
    clustered.rest()
    with connect(clustered.url, slot_key=prefix) as client:
        store.check(client)


def test_each_command_goes_to_the_node_that_has_its_key(clustered: Cluster, any_slot: Redis) -> None:
    assert unfit(any_slot) is None
    await_fit(any_slot)
    names = [f"carillon:online:acme:{n}" for n in range(50)]
    with any_slot.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.set(name, name, ex=60)
        pipe.zadd("carillon:read:acme:general", {"ann": 5})
        assert pipe.execute() == [True] * 50 + [1]
    counts = [node.ask("DBSIZE") for node in clustered.nodes if node.role() == "master"]
    assert all(counts)
    with any_slot.pipeline(transaction=False) as pipe:
        pipe.mget([*names, "carillon:online:acme:nobody"])
        pipe.exists(*names, "carillon:nothing")
        pipe.zmscore("carillon:read:acme:general", ["ann", "bob"])
        pipe.hget(names[0], "x")
        values, exist, scores, wrong = pipe.execute(raise_on_error=False)
    assert values == [*(name.encode() for name in names), None]
    assert (exist, scores) == (50, [5.0, None])
    assert isinstance(wrong, redis.ResponseError)
    assert any_slot.mget(names[:3]) == [name.encode() for name in names[:3]]
    assert any_slot.delete(*names[:10]) == 10
    found: Any
    cursor, found = any_slot.scan(0, match="carillon:online:acme:*", count=10)
    while cursor:
        cursor, more = any_slot.scan(cursor, match="carillon:online:acme:*", count=10)
        found += more
    assert {key.decode() for key in found} == set(names[10:])


def test_scripts_and_transactions_of_any_slot_run_where_their_keys_are(any_slot: Redis) -> None:
    script = any_slot.register_script(COUNT)
    for prefix in PREFIXES:
        assert script(keys=[f"{prefix}o", f"{prefix}r"], args=["1"]) == 1
        with any_slot.pipeline() as pipe:
            pipe.set(f"{prefix}a", 1)
            pipe.get(f"{prefix}a")
            assert pipe.execute() == [True, b"1"]
        part = beside(any_slot, prefix)
        assert part.llen(f"{prefix}r") == 1
        assert part.register_script(COUNT)(keys=[f"{prefix}o", f"{prefix}r"], args=["1"]) == 2
    with any_slot.pipeline() as pipe:
        pipe.set(f"{PREFIXES[0]}a", 1)
        pipe.set(f"{PREFIXES[1]}a", 1)
        with pytest.raises(redis.ResponseError, match="CROSSSLOT"):
            pipe.execute()


def test_a_client_of_another_slot_shares_the_connections(clustered: Cluster, any_slot: Redis) -> None:
    for prefix in PREFIXES * 5:
        beside(any_slot, prefix).set(f"{prefix}x", 1)
        any_slot.set(f"{prefix}y", 1)
    ours = [
        node.ask("CLIENT", "LIST").count(b"lib-name=redis-py") for node in clustered.nodes if node.role() == "master"
    ]
    # One for commands; one that the nodes were asked by; the one that asks here.
    assert max(ours) <= 3


def test_a_server_that_is_no_cluster_is_named(tmp_path: Any) -> None:
    server = Valkey(tmp_path)
    server.start()
    try:
        with connect(f"redis+cluster://127.0.0.1:{server.port}") as client:
            assert unfit(client) == "this server is no Redis Cluster: name it as redis://"
    finally:
        server.stop()
