"""The number of partitions is changed between two workers, by a command that is killed and run again; publishers go on."""

import pytest

from producers.partitions import Layout, tags
from tests.integration.pipeline.harness import token
from tests.processes import PATIENCE, wait_until
from tests.system.fleet import Fleet
from tests.system.pipeline.test_partitions import PARTITIONS, accepted, every, populate, say, spread
from tests.system.pipeline.test_partitions import fleet as fleet  # noqa: PLC0414 the fixture
from worker.reports import signs
from worker.reports.invariants import check_invariants
from worker.state import keys, layout
from worker.state.partition import Keyspace


@pytest.mark.slow
def test_what_was_published_before_meanwhile_and_after_is_pushed_once(fleet: Fleet) -> None:
    worker = fleet.start("worker")
    fleet.start("beat")
    # Before there is a layout, publishers take it that there is one partition.
    wait_until(lambda: spread(fleet) == [PARTITIONS])
    populate(fleet)
    say(fleet, "before")
    wait_until(lambda: accepted(fleet) == {token(f"han-{app}"): 1 for app in every()})
    assert fleet.start("partitions", "set", "16").wait(PATIENCE) == 2
    assert "workers run" in fleet.output()
    assert fleet.stop(worker) == 0
    wait_until(lambda: signs.read(Keyspace(fleet.redis).fleet) == [])
    say(fleet, "meanwhile")
    killed = fleet.start("partitions", "set", "16")
    wait_until(lambda: fleet.redis.exists(keys.NEXT_LAYOUT()) or killed.poll() is not None)
    killed.kill()
    assert fleet.start("partitions", "set", "16").wait(PATIENCE) in (0, 2), "2: it had ended before it was killed"
    assert layout.read(fleet.redis) == Layout(3, tags(16, 3))
    say(fleet, "after")
    fleet.start("worker", CARILLON_PARTITIONS="16")
    wait_until(lambda: accepted(fleet) == {token(f"han-{app}"): 3 for app in every()})
    with fleet.pool.connection() as db:
        wait_until(lambda: check_invariants(Keyspace(fleet.redis), db, looks=1) == [])
