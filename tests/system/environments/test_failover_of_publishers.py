"""Publishers while a primary dies or is replaced, behind Sentinels and in a cluster: what was acknowledged is there then."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from producers import AsyncPublisher, Publisher, PublishError
from producers.partitions import Layout, tags
from producers.topology import slot_of
from tests.processes import PATIENCE
from tests.valkey import Cluster, Valkey, Watched, wait_until
from worker.state import layout
from worker.state.redis import connect

pytestmark = pytest.mark.slow

STREAM = "carillon:events"
#: The same on a cluster.
TAGGED = Layout(2, tags(1)).stream("acme")
SLOT = slot_of(TAGGED.encode())


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        made = Cluster(tmp_path_factory.mktemp("clustered"), stack)
        with Publisher(made.url, timeout=0.2) as early, pytest.raises(PublishError, match="no partitions yet"):
            early.publish(event("early"))
        with connect(made.url) as client:
            assert layout.agree(client, 1).stream("acme") == TAGGED
        yield made


def event(id: str, app: str = "acme") -> dict[str, Any]:
    return {"v": 1, "type": "badge.cleared", "id": id, "app": app, "at": "2026-11-29T10:00:00Z", "user": "han"}


def written(server: Valkey, stream: str = STREAM) -> list[str]:
    """The ids of the events on the stream."""
    with server.client() as client:
        entries: Any = client.xrange(stream)
        return [msgspec.json.decode(fields[b"event"])["id"] for _, fields in entries]


class Load:
    """Publishes one event after the other, from a thread or from a task, until the block ends."""

    def __init__(self, url: str, name: str, *, tasks: bool, **options: Any) -> None:
        self.acknowledged: list[str] = []
        self.faults: list[PublishError] = []
        self._url, self._name, self._options = url, name, {"timeout": PATIENCE} | options
        self._stop = threading.Event()
        work: Callable[[], None] = (lambda: asyncio.run(self._tasks())) if tasks else self._threads
        self._thread = threading.Thread(target=work)

    def __enter__(self) -> Self:
        self._thread.start()
        self.more()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def more(self) -> None:
        """Waits until 200 more are acknowledged."""
        goal = len(self.acknowledged) + 200
        wait_until(lambda: len(self.acknowledged) >= goal or not self._thread.is_alive(), "nothing is published")

    def _threads(self) -> None:
        with Publisher(self._url, **self._options) as publisher:
            n = 0
            while not self._stop.is_set():
                n += 1
                try:
                    publisher.publish(event(f"{self._name}-{n}"))
                    self.acknowledged.append(f"{self._name}-{n}")
                except PublishError as fault:
                    self.faults.append(fault)

    async def _tasks(self) -> None:
        async with AsyncPublisher(self._url, **self._options) as publisher:
            n = 0
            while not self._stop.is_set():
                n += 1
                try:
                    await publisher.publish(event(f"{self._name}-{n}"))
                    self.acknowledged.append(f"{self._name}-{n}")
                except PublishError as fault:
                    self.faults.append(fault)


KINDS = [pytest.param(False, id="threads"), pytest.param(True, id="asyncio")]


@pytest.mark.parametrize("tasks", KINDS)
def test_a_primary_behind_sentinels_dies_and_nothing_acknowledged_is_lost(watched: Watched, tasks: bool) -> None:
    watched.rest()
    primary = watched.primary()
    with Load(watched.url, f"killed-{tasks}", tasks=tasks) as load:
        primary.kill()
        load.more()
    primary.start()
    watched.rest()
    assert load.faults == []
    assert set(load.acknowledged) <= set(written(watched.primary()))


def test_a_coordinated_failover_behind_sentinels_loses_nothing(watched: Watched) -> None:
    watched.rest()
    with Load(watched.url, "coordinated", tasks=False) as load:
        watched.fail_over("COORDINATED")
        load.more()
    watched.rest()
    assert load.faults == []
    assert set(load.acknowledged) <= set(written(watched.primary()))


def test_a_publisher_that_waits_for_a_replica_says_nothing_false_in_a_plain_failover(watched: Watched) -> None:
    watched.rest()
    with Load(watched.url, "plain", tasks=False, wait_replicas=1, timeout=2.0) as load:
        watched.fail_over()
        watched.rest()
        load.more()
    assert set(load.acknowledged) <= set(written(watched.primary()))
    assert all(
        "Publish the same event again" in str(fault) or "Redis did not confirm" in str(fault) for fault in load.faults
    )


@pytest.mark.parametrize("tasks", KINDS)
def test_a_primary_of_a_cluster_dies_and_nothing_acknowledged_is_lost(clustered: Cluster, tasks: bool) -> None:
    clustered.rest()
    primary = clustered.owner(SLOT)
    clustered.replica_of(primary)
    with Load(clustered.url, f"killed-{tasks}", tasks=tasks) as load:
        primary.kill()
        load.more()
    primary.start()
    clustered.rest()
    assert load.faults == []
    assert set(load.acknowledged) <= set(written(clustered.owner(SLOT), TAGGED))


def test_a_failover_that_a_replica_of_a_cluster_asks_for_loses_nothing(clustered: Cluster) -> None:
    clustered.rest()
    primary = clustered.owner(SLOT)
    replica = clustered.replica_of(primary)
    with Load(clustered.url, "asked", tasks=False) as load:
        replica.ask("CLUSTER", "FAILOVER")
        wait_until(lambda: clustered.owner(SLOT) is replica, "no failover")
        load.more()
    clustered.rest()
    assert load.faults == []
    assert set(load.acknowledged) <= set(written(clustered.owner(SLOT), TAGGED))


@pytest.mark.parametrize("tasks", KINDS)
def test_a_slot_moves_to_another_node_while_it_is_written_to(clustered: Cluster, tasks: bool) -> None:
    clustered.rest()
    source = clustered.owner(SLOT)
    target = next(one for one in clustered.nodes if one.role() == "master" and one is not source)
    with Load(clustered.url, f"moved-{tasks}", tasks=tasks) as load:
        source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", target.ask("CLUSTER", "MYID"))
        wait_until(lambda: clustered.owner(SLOT) is target, "the slot does not move")
        load.more()
    clustered.rest()
    assert load.faults == []
    # What tests before it left there may be there twice: their publishers had lost an answer.
    ids = [id for id in written(target, TAGGED) if id.startswith(f"moved-{tasks}-")]
    assert set(load.acknowledged) <= set(ids)
    assert len(ids) == len(set(ids))


def test_a_slot_that_is_moved_key_by_key_is_followed_to_both_nodes(clustered: Cluster) -> None:
    clustered.rest()
    source = clustered.owner(SLOT)
    target = next(one for one in clustered.nodes if one.role() == "master" and one is not source)
    from_id, to_id = source.ask("CLUSTER", "MYID"), target.ask("CLUSTER", "MYID")
    with Load(clustered.url, "by-key", tasks=False) as load:
        target.ask("CLUSTER", "SETSLOT", SLOT, "IMPORTING", from_id)
        source.ask("CLUSTER", "SETSLOT", SLOT, "MIGRATING", to_id)
        source.ask("MIGRATE", "127.0.0.1", target.port, TAGGED, 0, 5000)
        # The slot is still the source's, which sends each command on.
        load.more()
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", SLOT, "NODE", to_id)
        load.more()
    clustered.rest()
    assert load.faults == []
    assert set(load.acknowledged) <= set(written(target, TAGGED))


def test_presence_and_markers_lie_in_any_slot_of_a_cluster(clustered: Cluster) -> None:
    clustered.rest()
    with Publisher(clustered.url) as publisher:
        publisher.online("acme", "ann", 60, active=True, viewing=("general", "m1"))
        publisher.mark_read("acme", "ann", "general", datetime.now(UTC))
        assert publisher.read("acme", "ann", "general", datetime.now(UTC)) is None
        found = [key for node in clustered.nodes[:3] for key in node.ask("KEYS", "carillon:*:acme:*")]
        assert {key.split(b":")[1] for key in found} >= {b"online", b"active", b"viewing", b"read"}
        publisher.offline("acme", "ann")


def test_a_replica_that_is_missing_leaves_an_event_unknown(tmp_path: Path) -> None:
    server = Valkey(tmp_path)
    server.start()
    try:
        unknown = pytest.raises(PublishError, match="0 of 1 replicas confirmed it in time: it is unknown")
        with Publisher(server.url, timeout=4, wait_replicas=1) as publisher, unknown:
            publisher.publish(event("alone"))
        assert written(server) == ["alone"]
    finally:
        server.stop()
