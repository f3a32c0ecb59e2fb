"""Real Celery workers between a producer and a simulator: everything arrives, once, also when things go away and come back."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from config.celeryconfig import KEY_PREFIX, URGENT
from producers import events as ev
from tests.integration.pipeline.harness import message, stamp, token
from tests.processes import PATIENCE, wait_until
from tests.system.fleet import Fleet
from tests.system.ops.flowers import AUTH, page
from worker.database.migrate import migrate
from worker.embedded import Engines
from worker.embedded.home import Home
from worker.pipeline.insist import INSIST_SECONDS
from worker.reports import watch
from worker.simulator import Answer, ControlClient, Rule, Script
from worker.state.partition import Keyspace


@pytest.fixture
def fleet(postgres_url, redis_url, tmp_path) -> Iterator[Fleet]:
    with Fleet(postgres_url, redis_url, tmp_path) as made:
        yield made


def now_stamp(**fields):
    return stamp() | {"at": datetime.now(UTC)} | fields


def populate(fleet: Fleet, channel: str, users: list[str]) -> None:
    fleet.publisher.publish(ev.MemberAdded(**now_stamp(), channel=ev.ChannelId(id=channel), users=users))
    fleet.publisher.publish_many(
        ev.DeviceRegistered(**now_stamp(), user=user, device=ev.Device(token=token(user))) for user in users
    )


def new_message(id: str, channel: str = "general", **fields) -> ev.MessageNew:
    return replace(message(channel=channel, id=id, **fields), at=now_stamp()["at"])


def accepted(fleet: Fleet) -> Counter[str]:
    return Counter(entry.token for entry in fleet.simulator.accepted)


def test_a_published_message_reaches_every_device_once_through_two_workers(fleet):
    fleet.start("worker", "--name", "one")
    fleet.start("worker", "--name", "two")
    fleet.start("beat")
    users = [f"u{n}" for n in range(20)]
    populate(fleet, "general", ["leia", *users])
    fleet.publisher.publish_many(new_message(f"e{n}") for n in range(200))
    wait_until(lambda: len(fleet.simulator.accepted) >= 4000 and fleet.idle())
    assert accepted(fleet) == {token(user): 200 for user in users}
    counts = fleet.journal.counts("demo")
    assert (counts["messages"], counts["accepted"], counts["skipped.sender"]) == (200, 4000, 200)


def test_order_holds_under_load_with_several_workers(fleet):
    """Thousands of "add member, register device, send message" back to back while two workers expand: each gets a push."""
    fleet.start("worker", "--name", "one")
    fleet.start("worker", "--name", "two")
    triples = 1500
    events = []
    for n in range(triples):
        events += [
            ev.MemberAdded(**now_stamp(), channel=ev.ChannelId(id=f"c{n}"), users=[f"u{n}"]),
            ev.DeviceRegistered(**now_stamp(), user=f"u{n}", device=ev.Device(token=token(f"u{n}"))),
            new_message(f"e{n}", channel=f"c{n}"),
        ]
    fleet.publisher.publish_many(events)
    wait_until(lambda: fleet.idle())
    assert accepted(fleet) == {token(f"u{n}"): 1 for n in range(triples)}


@pytest.mark.parametrize("beat", [True, False])
def test_a_retry_comes_back_through_the_tick_and_where_beat_is_away_without_it(fleet, beat):
    fleet.simulator.set_script(Script(rules=(Rule(token=token("han"), count=1, answer=Answer("Shutdown")),)))
    fleet.start("worker")
    if beat:
        fleet.start("beat")
    populate(fleet, "general", ["leia", "han"])
    fleet.publisher.publish(new_message("e1"))
    wait_until(lambda: len(fleet.simulator.accepted) == 1 and fleet.idle())
    assert [entry.status for entry in fleet.simulator.refused] == [503]


def test_sigterm_is_obeyed_in_time_though_a_thread_hangs_and_its_work_goes_on_elsewhere(
    postgres_url, redis_url, tmp_path
):
    bounds = {"CARILLON_SHUTDOWN_TIMEOUT": "1", "CARILLON_LEASE_SECONDS": "4", "CARILLON_APNS_TIMEOUT": "600"}
    with Fleet(postgres_url, redis_url, tmp_path, **bounds) as fleet:
        fleet.simulator.set_script(Script(rules=(Rule(count=1, latency=600.0),)))
        worker = fleet.start("worker")
        fleet.start("beat")
        populate(fleet, "general", ["leia", "han"])
        fleet.publisher.publish(new_message("e1"))
        control = ControlClient(fleet.simulator.host, fleet.simulator.control_port or 0, fleet.simulator.control_token)
        wait_until(lambda: any(connection["open"] for connection in control.connections()))
        assert fleet.stop(worker) == 0, "ten minutes without the bound"
        assert "time is up" in fleet.output()
        fleet.start("worker")
        wait_until(fleet.idle)
        assert set(accepted(fleet)) == {token("han")}


def test_sigterm_hands_back_what_is_in_flight_and_nothing_is_lost_or_doubled(fleet):
    """A rolling restart under load: each worker is stopped in its turn while messages pour in."""
    workers = [fleet.start("worker", "--name", f"w{n}") for n in range(2)]
    fleet.start("beat")
    users = [f"u{n}" for n in range(50)]
    populate(fleet, "general", ["leia", *users])
    for round_ in range(4):
        fleet.publisher.publish_many(new_message(f"e{round_}-{n}") for n in range(60))
        fleet.simulator.wait_accepted(round_ * 3000 + 1, PATIENCE)
        # Stopped before it had begun, it simply ends.
        assert fleet.stop(workers[round_ % 2]) in (0, -signal.SIGTERM)
        workers[round_ % 2] = fleet.start("worker", "--name", f"w{round_ % 2}")
    wait_until(lambda: fleet.idle())
    assert accepted(fleet) == {token(user): 240 for user in users}


def test_a_worker_whose_memory_grew_begins_again_and_loses_nothing(postgres_url, redis_url, tmp_path):
    """A limit that every process is over: it recycles again and again, and everything arrives once all the same."""
    with Fleet(postgres_url, redis_url, tmp_path, CARILLON_WORKER_MEMORY="64") as fleet:
        worker = fleet.start("worker")
        fleet.start("beat")
        populate(fleet, "general", ["leia", "han"])
        fleet.publisher.publish_many(new_message(f"e{n}") for n in range(20))
        wait_until(lambda: len(fleet.simulator.accepted) == 20 and fleet.idle())
        wait_until(lambda: fleet.output().count("begins again") >= 2)
        assert worker.poll() is None, "the pid stays"
        assert accepted(fleet) == {token("han"): 20}
        assert fleet.stop(worker) in (0, -signal.SIGTERM), "though it is about to begin again most of the time"


def test_a_full_redis_is_seen_by_a_worker_that_begins_then_and_that_goes_on_once_there_is_room(fleet):
    """No consumer can begin then: Celery's queues need a write. Nothing of the fleet was written before."""
    with no_room(fleet):
        fleet.start("worker")
        wait_until(lambda: "redis_filling" in open_conditions(fleet))
        # Who connects again and again still looks.
        wait_until(lambda: fleet.output().count("Trying to reconnect") > 2)
        assert open_conditions(fleet) == {"redis_filling"}
        assert "begins again" not in fleet.output()
    fleet.start("beat")
    wait_until(lambda: not open_conditions(fleet))
    populate(fleet, "general", ["leia", "han"])
    fleet.publisher.publish(new_message("e1"))
    wait_until(lambda: len(fleet.simulator.accepted) == 1)


def test_a_full_redis_is_seen_by_a_worker_that_takes_a_wake_up_then_and_waits_for_its_tasks(fleet):
    """What is in work insists on writing down its answer."""
    fleet.simulator.set_script(Script(rules=(Rule(count=1, latency=600.0),)))
    fleet.start("worker")
    populate(fleet, "general", ["leia", "han"])
    fleet.publisher.publish(new_message("e1"))
    control = ControlClient(fleet.simulator.host, fleet.simulator.control_port or 0, fleet.simulator.control_token)
    wait_until(lambda: any(connection["open"] for connection in control.connections()))
    where = '{"exchange": "", "routing_key": "carillon.urgent"}'
    with no_room(fleet, f'{{"body": "", "properties": {{"delivery_tag": "t", "delivery_info": {where}}}}}'):
        wait_until(lambda: "wake-ups are worked on all the same" in fleet.output())
        # The answer is insisted on for longer.
        wait_until(lambda: "redis_filling" in open_conditions(fleet), INSIST_SECONDS - 30)


@contextmanager
def no_room(fleet: Fleet, *wake_ups: str) -> Iterator[None]:
    """Redis takes nothing from the moment at which these wait in the urgent queue."""
    with fleet.redis.pipeline() as pipe:
        for wake_up in wake_ups:
            pipe.lpush(KEY_PREFIX + URGENT, wake_up)
        pipe.config_set("maxmemory", 1)
        pipe.execute()
    try:
        yield
    finally:
        fleet.redis.config_set("maxmemory", 0)


def open_conditions(fleet: Fleet) -> set[str]:
    return {one.name for one in watch.current(Keyspace(fleet.redis).fleet).conditions} - {"not_watched"}


def test_no_token_and_no_text_in_what_workers_say(fleet):
    fleet.start("worker")
    populate(fleet, "general", ["leia", "han"])
    fleet.publisher.publish(new_message("e1", text="a secret rendezvous"))
    wait_until(lambda: len(fleet.simulator.accepted) == 1)
    said = fleet.output()
    assert "secret rendezvous" not in said
    assert token("han") not in said
    assert "PRIVATE KEY" not in said


def test_flower_shows_work_what_it_is_about_and_no_token_and_no_text(fleet):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    fleet.environment["FLOWER_BASIC_AUTH"] = AUTH
    fleet.start("flower", "--port", str(port))
    wait_until(lambda: page(port, "/healthcheck") == b"OK")
    fleet.start("worker")
    fleet.start("beat")
    # A tick and a canary come through before the message.
    health = [sys.executable, "-m", "worker.cli", "health", "--beat", "--lane", "all"]
    wait_until(lambda: subprocess.run(health, env=fleet.environment, check=False).returncode == 0)
    populate(fleet, "general", ["leia", "han"])
    fleet.publisher.publish(new_message("e1", text="a secret rendezvous"))
    wait_until(lambda: b"'accepted': 1" in page(port, "/api/tasks"))
    shown = page(port, "/api/tasks") + page(port, "/tasks")
    tasks = json.loads(page(port, "/api/tasks")).values()
    assert {task["name"] for task in tasks} == {"carillon.fan_out", "carillon.deliver"}
    [delivery] = [task for task in tasks if "accepted" in (task["result"] or "")]
    assert (delivery["name"], delivery["kwargs"]) == ("carillon.deliver", "{'lane': 'urgent'}")
    assert (delivery["args"], delivery["result"]) == ("(demo/apns)", "{'demo/apns': {'accepted': 1}}")
    [expansion] = [task for task in tasks if "jobs" in (task["result"] or "")]
    assert (expansion["name"], expansion["args"]) == ("carillon.fan_out", "(demo)")
    for secret in ("secret rendezvous", token("han"), "PRIVATE KEY"):
        assert secret.encode() not in shown


def test_a_celery_user_may_publish_as_the_page_says(fleet, redis_url):
    """The snippet of docs/contract.md, run as it stands but for the broker's address."""
    fleet.start("worker")
    page = (Path(__file__).parents[3] / "docs" / "contract.md").read_text()
    [snippet] = [code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "send_task" in code]
    address = "redis://localhost:6379/0"
    assert address in snippet
    names: dict[str, Any] = {}
    exec(snippet.replace(address, redis_url), names)
    names["app"].close()
    wait_until(lambda: fleet.redis.exists(ev.STREAM) and fleet.idle())
    document = msgspec.json.decode(msgspec.json.encode(new_message("e1")))
    populate(fleet, "general", ["leia", "han"])
    exec(snippet.replace(address, redis_url).replace("[event]", "[message]"), names | {"message": document})
    wait_until(lambda: len(fleet.simulator.accepted) == 1)


@pytest.mark.parametrize("engine", ["valkey", "postgres"])
def test_an_engine_that_dies_is_waited_for_and_nothing_is_lost(engine, tmp_path):
    """`kill -9` in the middle of the traffic; the engine comes back with what it had."""
    engines = Engines(tmp_path / "engines")
    urls = engines.start()
    try:
        migrate(urls.postgres)
        (tmp_path / "logs").mkdir()
        with Fleet(urls.postgres, urls.redis, tmp_path / "logs") as fleet:
            fleet.start("worker")
            fleet.start("beat")
            users = [f"u{n}" for n in range(20)]
            populate(fleet, "general", ["leia", *users])
            fleet.publisher.publish_many(new_message(f"before-{n}") for n in range(100))
            wait_until(lambda: len(fleet.simulator.accepted) > 100)
            os.kill(engine_pid(tmp_path / "engines", engine), signal.SIGKILL)
            fleet.publisher.publish_many(new_message(f"after-{n}") for n in range(100))
            wait_until(lambda: len(accepted(fleet)) == 20 and min(accepted(fleet).values()) >= 200)
            wait_until(fleet.idle)
    finally:
        engines.stop()


def engine_pid(data_dir, engine: str) -> int:
    return int((Home.at(data_dir).pids / engine).read_text().split()[0])
