"""A node of a cluster is frozen, and has no replica: what is published for the partitions of the other nodes is delivered."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from producers import Publisher
from producers import events as ev
from producers.partitions import Layout
from producers.topology import slot_of
from tests.integration.pipeline.harness import token
from tests.processes import wait_until
from tests.system.environments.test_failover_of_all import USERS, reached
from tests.system.fleet import Fleet
from tests.system.pipeline.test_workers import new_message, now_stamp, populate
from tests.valkey import Cluster, Valkey
from worker.state import keys, layout
from worker.state.redis import connect

pytestmark = pytest.mark.slow

MESSAGES = 30


def node_of(cluster: Cluster, key: str) -> Valkey:
    return cluster.owner(slot_of(key.encode()))


@pytest.mark.parametrize("whose", ["other partitions", "the fleet"])
def test_a_frozen_node_delays_nobody_else(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, whose: str
) -> None:
    with ExitStack() as stack:
        cluster = Cluster(
            tmp_path_factory.mktemp("clustered"), stack, "--cluster-require-full-coverage", "no", replicas=0
        )
        broker = Valkey(tmp_path_factory.mktemp("broker"))
        broker.start()
        stack.callback(broker.stop)
        with connect(cluster.url) as client:
            found: Layout = layout.agree(client, 8)
        ours, fleets = node_of(cluster, found.stream("demo")), node_of(cluster, "carillon:{fleet}:workers")
        if whose == "the fleet":
            if ours is fleets:
                pytest.skip("the app's partition is on that node too")
            frozen = fleets
        else:
            frozen = next(node for node in cluster.nodes if node not in (ours, fleets))
        fleet = stack.enter_context(Fleet(postgres_url, cluster.url, tmp_path, CARILLON_BROKER_URL=broker.url))
        fleet.start("worker", "--concurrency", "4")
        fleet.start("worker", "--concurrency", "4")
        # Of whom an answering node knows that they are there.
        there = next(name for n in range(100) if node_of(cluster, keys.ONLINE("demo", name := f"there{n}")) is ours)
        populate(fleet, "general", [*USERS, there])
        asked = next(id for n in range(100) if node_of(cluster, keys.REPLY(id := f"asked{n}")) is frozen)
        fleet.publisher.online("demo", there, 600)
        with Publisher(cluster.url, timeout=60) as publisher:
            publisher.publish(new_message("before"))
            wait_until(lambda: len(reached(fleet)) == len(USERS))
            frozen.freeze()
            stack.callback(frozen.thaw)
            # An author on the frozen node waits for an answer that cannot be written.
            device = ev.Device(token=token(USERS[0]))
            publisher.publish(ev.DeviceRegistered(**now_stamp(), user=USERS[0], device=device, reply=asked))
            for n in range(MESSAGES):
                publisher.publish(new_message(f"e{n}"))
                wait_until(lambda n=n: len(reached(fleet)) == (n + 2) * len(USERS), seconds=40)  # type: ignore[misc]
        assert sum(reached(fleet).values()) == (MESSAGES + 1) * len(USERS)
