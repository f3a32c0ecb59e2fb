"""An app is spread by the command: all partitions push, and a mute holds although the leader of its home is killed."""

import json
import os
import signal

import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.integration.pipeline.harness import message, token
from tests.processes import PATIENCE, wait_until
from tests.system.fleet import Fleet
from tests.system.pipeline.test_partitions import APPS, PARTITIONS, accepted, leads, now, populate, spread
from tests.system.pipeline.test_partitions import fleet as fleet  # noqa: PLC0414 the fixture
from worker.reports import signs
from worker.reports.invariants import check_invariants
from worker.state import layout
from worker.state.partition import Keyspace

APP = APPS[2][0]
CHANNELS = [f"c{n}" for n in range(8)]
HAN = token(f"han-{APP}")


def say(fleet: Fleet, sender: str) -> None:
    """A message of this sender to each channel."""
    said = [message(channel, sender, id=f"{sender}-{channel}") for channel in CHANNELS]
    fleet.publisher.publish_many(replace(one, app=APP, at=now(APP)["at"]) for one in said)


@pytest.mark.slow
def test_a_spread_app_is_served_by_all_partitions_and_a_mute_outlives_its_home_s_leader(fleet: Fleet) -> None:
    first = fleet.start("worker")
    fleet.start("beat")
    wait_until(lambda: spread(fleet) == [PARTITIONS])
    populate(fleet)
    users = ["leia", "luke", "chewie", "han"]
    fleet.publisher.publish_many(
        ev.MemberAdded(**now(APP), channel=ev.ChannelId(id=channel), users=users) for channel in CHANNELS
    )
    assert fleet.start("partitions", "spread", APP).wait(PATIENCE) == 2
    assert fleet.stop(first) == 0
    wait_until(lambda: signs.read(Keyspace(fleet.redis).fleet) == [])
    assert fleet.start("partitions", "spread", APP).wait(PATIENCE) == 0
    assert layout.read(fleet.redis).spread == {APP}

    for name in ("one", "two"):
        fleet.start("worker", "--name", name)
    wait_until(lambda: spread(fleet) == [2, 2])
    say(fleet, "leia")
    wait_until(lambda: accepted(fleet)[HAN] == len(CHANNELS))
    badges = [json.loads(one.payload)["aps"]["badge"] for one in fleet.simulator.accepted if one.token == HAN]
    assert badges[-1] == max(badges) == len(CHANNELS), "the last push shows what was counted for all"

    home = Keyspace(fleet.redis).of_app(APP).index
    os.kill(int(leads(fleet)[home].rpartition(":")[2]), signal.SIGKILL)
    fleet.publisher.publish(ev.UserMuted(**now(APP), user="han", target="luke"))
    say(fleet, "luke")
    say(fleet, "chewie")
    wait_until(lambda: accepted(fleet)[HAN] == 2 * len(CHANNELS))
    with fleet.pool.connection() as db:
        wait_until(lambda: check_invariants(Keyspace(fleet.redis), db, looks=1) == [])
    assert accepted(fleet)[HAN] == 2 * len(CHANNELS), "what luke said is muted"
    assert fleet.start("partitions", "status", "--apps").wait(PATIENCE) == 0
