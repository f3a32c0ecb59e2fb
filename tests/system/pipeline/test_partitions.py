"""Four partitions on one Valkey: each app is served in its own, the leads are spread, and a killed worker's are taken over."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from producers import events as ev
from producers.partitions import Layout, tags
from tests.integration.pipeline.harness import message, stamp, token
from tests.processes import PATIENCE, wait_until
from tests.system.fleet import Fleet
from worker.core.entry import partition_of
from worker.core.model import AppSettings, Provider
from worker.database import lease
from worker.reports.invariants import check_invariants
from worker.state.partition import Keyspace

PARTITIONS: Final = 4
#: Two apps of each partition.
_LAYOUT: Final = Layout(2, tags(PARTITIONS))
APPS: Final = {
    n: [app for k in range(100) if _LAYOUT.partition_of(app := f"app-{k}") == n][:2] for n in range(PARTITIONS)
}


@pytest.fixture
def fleet(postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(postgres_url, redis_url, tmp_path, CARILLON_PARTITIONS=str(PARTITIONS)) as made:
        [like] = made.registry.providers().values()
        for app in every():
            made.registry.save_app(AppSettings(app))
            made.registry.save_provider(Provider(0, app, "apns", like.environment, like.settings))
        yield made


def every() -> list[str]:
    return [app for apps in APPS.values() for app in apps]


def now(app: str) -> dict[str, Any]:
    return stamp() | {"app": app, "at": datetime.now(UTC)}


def populate(fleet: Fleet) -> None:
    for app in every():
        fleet.publisher.publish(ev.MemberAdded(**now(app), channel=ev.ChannelId(id="general"), users=["leia", "han"]))
        fleet.publisher.publish(
            ev.DeviceRegistered(**now(app), user="han", device=ev.Device(token=token(f"han-{app}")))
        )


def say(fleet: Fleet, *ids: str) -> None:
    fleet.publisher.publish_many(
        replace(message(id=f"{id}-{app}"), app=app, at=now(app)["at"]) for id in ids for app in every()
    )


def accepted(fleet: Fleet) -> Counter[str]:
    return Counter(entry.token for entry in fleet.simulator.accepted)


def leads(fleet: Fleet) -> dict[int, str]:
    """Partition -> who leads it now."""
    found = {}
    with fleet.pool.connection() as db:
        for n in range(PARTITIONS):
            holder = lease.holder(db, lease.lease_of(n, tagged=True))
            if holder is not None and holder.until > holder.now:
                found[n] = holder.owner
    return found


def spread(fleet: Fleet) -> list[int]:
    return sorted(Counter(leads(fleet).values()).values())


@pytest.mark.slow
def test_every_partition_is_used_the_leads_are_spread_and_those_of_a_killed_worker_taken_over(fleet: Fleet) -> None:
    one = fleet.start("worker", "--name", "one")
    fleet.start("beat")
    wait_until(lambda: spread(fleet) == [PARTITIONS])
    keyspace = Keyspace(fleet.redis)
    assert [of.prefix for of in keyspace] == [f"carillon:{{{tag}}}:" for tag in tags(PARTITIONS)]
    populate(fleet)
    say(fleet, "before")
    wait_until(lambda: accepted(fleet) == {token(f"han-{app}"): 1 for app in every()})

    two = fleet.start("worker", "--name", "two")
    wait_until(lambda: spread(fleet) == [2, 2])
    say(fleet, *(f"shared{n}" for n in range(20)))
    wait_until(lambda: accepted(fleet) == {token(f"han-{app}"): 21 for app in every()})

    assert all(of.redis.exists(of.names.inlet) for of in keyspace)
    wait_until(lambda: not any(of.redis.exists(of.keys.OPEN()) for of in keyspace))
    with fleet.pool.connection() as db:
        rows = db.execute("SELECT app, entry FROM carillon.messages").fetchall()
    assert {app: partition_of(entry) for app, entry in rows} == {app: n for n, apps in APPS.items() for app in apps}

    one.kill()
    say(fleet, "after")
    wait_until(lambda: spread(fleet) == [PARTITIONS])
    wait_until(lambda: accepted(fleet) == {token(f"han-{app}"): 22 for app in every()})
    assert two.poll() is None
    with fleet.pool.connection() as db:
        wait_until(lambda: check_invariants(keyspace, db, looks=1) == [])
    assert fleet.stop(two) == 0


@pytest.mark.slow
def test_a_worker_of_another_number_of_partitions_is_refused_in_words(fleet: Fleet) -> None:
    fleet.start("worker", "--name", "one")
    wait_until(lambda: spread(fleet) == [PARTITIONS])
    other = fleet.start("worker", "--name", "other", CARILLON_PARTITIONS="8")
    assert other.wait(PATIENCE) == 1
    assert "CARILLON_PARTITIONS is 8, and this Redis has 4 partitions" in fleet.output()
