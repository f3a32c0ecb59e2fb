"""Whole workers on Sentinels and on a cluster: a primary dies under load, and every message reaches its devices."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from producers import Publisher, PublishError
from producers.topology import slot_of
from tests.processes import PATIENCE, wait_until
from tests.system.environments.secure import USER, Secure
from tests.system.fleet import Fleet
from tests.system.pipeline.test_workers import new_message, populate
from tests.valkey import Cluster, Valkey, Watched
from worker.core.entry import ms_of
from worker.simulator.certificates import make_identity
from worker.state import layout
from worker.state.redis import connect

pytestmark = pytest.mark.slow

USERS = [f"u{n}" for n in range(5)]
#: Messages in each of the parts.
MESSAGES = 60


def reached(fleet: Fleet) -> Counter[tuple[str, str]]:
    """By message and device: how often the simulator took it."""
    return Counter((entry.token, str(_event(entry.payload))) for entry in fleet.simulator.accepted)


def _event(payload: Any) -> Any:
    return msgspec.json.decode(payload)["carillon"]["event"]


def goes_on(
    fleet: Fleet,
    url: str,
    fail: Callable[[], None],
    credentials: Callable[[], tuple[str, str]] | None = None,
    more: int = 0,
) -> None:
    """Messages before, while and after a primary is killed are all delivered; doubled are those in flight at most.

    `more`: how many `fail` publishes.
    """
    names = [f"e{n}" for n in range(3 * MESSAGES)]
    with Publisher(url, timeout=60, credentials=credentials) as publisher:
        fleet.start("worker", "--concurrency", "4")
        fleet.start("worker", "--concurrency", "4")
        populate(fleet, "general", USERS)
        for part in (names[:MESSAGES], names[MESSAGES : 2 * MESSAGES]):
            for name in part:
                publisher.publish(new_message(name))
            if part[0] == "e0":
                wait_until(lambda: len(fleet.simulator.accepted) > 0)
        fail()
        for name in names[2 * MESSAGES :]:
            publisher.publish(new_message(name))
    wanted = (len(names) + more) * len(USERS)
    wait_until(lambda: len(reached(fleet)) == wanted, seconds=120)
    assert sum(reached(fleet).values()) - wanted <= 8 * len(USERS)


def test_a_primary_behind_sentinels_is_killed_under_whole_workers(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        watched = Watched(tmp_path_factory.mktemp("watched"), stack)
        fleet = stack.enter_context(Fleet(postgres_url, watched.url, tmp_path))
        goes_on(fleet, watched.url, lambda: watched.primary().kill())


def test_sentinels_over_tls_with_a_password_that_changes_under_whole_workers(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """The servers' password changes under way, then the primary is killed. Celery's broker is the same, and asks as well."""
    identity = make_identity(tmp_path, ["127.0.0.1", "localhost"])
    secret = tmp_path / "secret"
    secret.write_text("first")
    (tmp_path / "my_cloud.py").write_text(
        f"def password():\n    with open({str(secret)!r}) as file:\n        return {USER!r}, file.read()\n"
    )
    asks = {"PYTHONPATH": str(tmp_path), "CARILLON_REDIS_CREDENTIALS": "my_cloud:password"}
    with ExitStack() as stack:
        secure = Secure(tmp_path_factory.mktemp("secure"), stack, identity, "first")
        fleet = stack.enter_context(Fleet(postgres_url, secure.url_as("first"), tmp_path, **asks))
        fleet.environment["CARILLON_REDIS_URL"] = secure.url

        def fail() -> None:
            secret.write_text("second")
            for server in secure.servers.values():
                secure.rotate(server, "second")
            said = fleet.start("health", "--lane", "urgent", "--timeout", "30")
            assert said.wait(PATIENCE) == 0, "a canary goes through the broker"
            secure.primary().kill()

        goes_on(fleet, secure.url, fail, credentials=lambda: (USER, secret.read_text()))
        with (
            Publisher(secure.url_as("second").replace("s%26cret", "wrong"), timeout=1) as stranger,
            pytest.raises(PublishError),
        ):
            stranger.publish(new_message("never"))


@pytest.mark.parametrize("partitions", ["1", "4"])
def test_a_primary_of_a_cluster_is_killed_under_whole_workers(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, partitions: str
) -> None:
    with ExitStack() as stack:
        cluster = Cluster(tmp_path_factory.mktemp("clustered"), stack)
        broker = Valkey(tmp_path_factory.mktemp("broker"))
        broker.start()
        stack.callback(broker.stop)
        more = {"CARILLON_BROKER_URL": broker.url, "CARILLON_PARTITIONS": partitions}
        with connect(cluster.url) as client:
            stream = layout.agree(client, int(partitions)).stream("demo")
        fleet = stack.enter_context(Fleet(postgres_url, cluster.url, tmp_path, **more))

        def fail() -> None:
            primary = cluster.owner(slot_of(stream.encode()))
            cluster.replica_of(primary)
            primary.kill()

        goes_on(fleet, cluster.url, fail)


def test_a_slot_moves_key_by_key_under_whole_workers(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        cluster = Cluster(tmp_path_factory.mktemp("clustered"), stack)
        broker = Valkey(tmp_path_factory.mktemp("broker"))
        broker.start()
        stack.callback(broker.stop)
        with connect(cluster.url) as client:
            stream = layout.agree(client, 4).stream("demo")
        fleet = stack.enter_context(
            Fleet(postgres_url, cluster.url, tmp_path, CARILLON_BROKER_URL=broker.url, CARILLON_LEASE_SECONDS="60")
        )

        def said(words: str) -> bool:
            return any(words in log.read_text() for log in tmp_path.glob("*-worker.log"))

        def meanwhile() -> None:
            for n in range(MESSAGES):
                fleet.publisher.publish(new_message(f"m{n}"))
            wait_until(lambda: said("being moved to another node key by key"))

        goes_on(fleet, cluster.url, lambda: cluster.move_keys(slot_of(stream.encode()), meanwhile), more=MESSAGES)
        assert not said("intake failed and starts over")
        assert not said("Traceback")


def test_what_a_plain_failover_loses_is_delivered_once_it_is_published_again(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """The old primary confirms for a while what it drops later. Its publisher publishes all of it again, under the same ids."""
    names = [f"e{n}" for n in range(600)]
    with ExitStack() as stack:
        watched = Watched(tmp_path_factory.mktemp("watched"), stack)
        fleet = stack.enter_context(Fleet(postgres_url, watched.url, tmp_path))
        fleet.start("worker", "--concurrency", "4")
        fleet.start("worker", "--concurrency", "4")
        populate(fleet, "general", USERS)
        with Publisher(watched.url, timeout=60) as publisher:
            for n, name in enumerate(names):
                publisher.publish(new_message(name))
                if n == 200:
                    wait_until(lambda: len(fleet.simulator.accepted) > 0)
                    watched.fail_over()
            watched.rest()
            again = watched.primary().ask("TIME")
            for name in names:
                publisher.publish(new_message(name))
        wanted = len(names) * len(USERS)
        wait_until(lambda: len(reached(fleet)) == wanted, seconds=120)
        with fleet.pool.connection() as db:
            rows = db.execute("SELECT event_id, entry FROM carillon.messages").fetchall()
        taken_over = {id for id, entry in rows if ms_of(entry) >= int(again[0]) * 1000}
        doubled = [one for one, times in reached(fleet).items() if times > 1 and one[1] in taken_over]
        assert len(doubled) <= 8 * len(USERS), "what was on its way at the failover"
