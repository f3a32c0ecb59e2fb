"""Whole workers of four partitions on a Postgres behind PgBouncer, and on one whose standby is promoted, under load."""

from collections.abc import Callable
from pathlib import Path

import pytest

from producers import Publisher
from tests.processes import wait_until
from tests.programs import pgbouncer
from tests.system.environments.postgres import OWNER, PostgresServer
from tests.system.environments.test_failover_of_all import USERS, reached
from tests.system.fleet import Fleet
from tests.system.pipeline.test_workers import new_message, populate
from worker.database.migrate import migrate
from worker.state import layout
from worker.state.redis import connect

pytestmark = pytest.mark.slow

#: Messages in each of the parts.
MESSAGES = 40


def goes_on(fleet: Fleet, url: str, fail: Callable[[], None]) -> None:
    """Messages before, while and after something happens to Postgres are all delivered, each once."""
    names = [f"e{n}" for n in range(3 * MESSAGES)]
    with Publisher(url) as publisher:
        fleet.start("worker", "--concurrency", "4")
        fleet.start("worker", "--concurrency", "4")
        populate(fleet, "general", USERS)
        for name in names[:MESSAGES]:
            publisher.publish(new_message(name))
        wait_until(lambda: len(fleet.simulator.accepted) > 0)
        for name in names[MESSAGES : 2 * MESSAGES]:
            publisher.publish(new_message(name))
        fail()
        for name in names[2 * MESSAGES :]:
            publisher.publish(new_message(name))
    wanted = len(names) * len(USERS)
    wait_until(lambda: len(reached(fleet)) == wanted, seconds=180)
    assert sum(reached(fleet).values()) == wanted


def led(fleet: Fleet) -> int:
    """How many of the partitions have had a leader."""
    with fleet.pool.connection() as db:
        [(n,)] = db.execute("SELECT count(*) FROM carillon.lease WHERE name LIKE 'intake:%' AND token > 0").fetchall()
    return int(n)


def four(redis_url: str) -> None:
    with connect(redis_url) as client:
        layout.agree(client, 4)


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_four_partitions_behind_pgbouncer(postgres_url: str, redis_url: str, tmp_path: Path, mode: str) -> None:
    four(redis_url)
    with pgbouncer(postgres_url, tmp_path, mode=mode) as between, Fleet(between, redis_url, tmp_path) as fleet:
        goes_on(fleet, redis_url, lambda: None)
        wait_until(lambda: led(fleet) == 4)


def test_a_standby_is_promoted_under_four_partitions(
    server: PostgresServer, redis_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    """The primary is stopped, and the standby has all of it. Workers name both, and take the one that writes."""
    four(redis_url)
    server.database("many")
    migrate(server.url("many"))
    standby = server.standby(tmp_path_factory.mktemp("promoted"))
    standby.start()
    try:
        sockets, ports = f"{server.socket_dir},{standby.socket_dir}", f"{server.port},{standby.port}"
        both = f"postgresql://{OWNER}@/many?host={sockets}&port={ports}&target_session_attrs=read-write"
        with Fleet(both, redis_url, tmp_path, CARILLON_POSTGRES_POOL="4") as fleet:

            def fail() -> None:
                server.stop()
                standby.run("pg_ctl", "promote", "-D", str(standby.data))
                wait_until(lambda: standby.sql("SELECT pg_is_in_recovery()") == [(False,)])

            goes_on(fleet, redis_url, fail)
            wait_until(lambda: led(fleet) == 4)
    finally:
        standby.stop()
        server.start()
