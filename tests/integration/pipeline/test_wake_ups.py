"""A wake-up is a convenience: its caller goes on if it cannot be sent."""

import os
import socket
import subprocess
import sys

import pytest

from worker.state.journal import Journal
from worker.state.partition import untagged
from worker.state.redis import connect

WAKE = """
import logging
logging.basicConfig()
from producers.partitions import UNTAGGED
from worker.process.runtime import get_runtime
from worker.process.tasks import wake_deliver, wake_fan_out
from worker.state.partition import Keyspace
runtime = get_runtime()
vars(runtime)["keyspace"] = Keyspace(runtime.redis, lambda _: UNTAGGED)  # as known from before
[of] = runtime.partitions
wake_fan_out(of, 1001)
wake_fan_out(of, 1)
wake_deliver(of, "bulk", 3)
print("went on")
"""


OPEN = """
from producers.partitions import UNTAGGED
from worker.process.runtime import get_runtime
from worker.process.tasks import FAN_OUT, open_for
from worker.state.journal import Recorded
from worker.state.partition import Keyspace
[of] = get_runtime().partitions
pieces = []
def expand():
    pieces.append(1)
    if len(pieces) == 1:
        open_for(0, 200)
        print(get_runtime().broker.waiting("carillon.urgent"), "wake-ups while it takes them all next")
        of.journal.open([Recorded(f"1-{n}", "demo", n + 1, f"c{n}") for n in range(FAN_OUT + 1)], token=1)
        open_for(0, FAN_OUT)
        print(get_runtime().broker.waiting("carillon.urgent"), "where more are ready")
    return False
print(of.expanders.work(expand, 9), len(pieces))
open_for(0, 200)
"""


FREED = """
import threading
from producers.partitions import UNTAGGED
from worker.process.deliverers import ENOUGH
from worker.process.runtime import get_runtime
from worker.process.tasks import _wake_freed
from worker.state.partition import Keyspace
runtime = get_runtime()
[of] = runtime.partitions
begun, over, looks = threading.Semaphore(0), threading.Event(), []
def deliver():
    looks.append(1)
    begun.release()
    over.wait(30)
    return False
threads = [threading.Thread(target=of.deliverers.work, args=(deliver, 9)) for _ in range(ENOUGH)]
for thread in threads:
    thread.start()
    begun.acquire(timeout=30)
_wake_freed(runtime, of, "urgent", 2)
print(runtime.broker.waiting("carillon.urgent"), "wake-ups where enough threads deliver")
over.set()
for thread in threads:
    thread.join(30)
print(len(looks) - ENOUGH, "looked once more")
_wake_freed(runtime, of, "urgent", 2)
print(runtime.broker.waiting("carillon.urgent"), "where none does")
"""


CLOSED = """
from kombu.transport.redis import Channel
def put(*_args, **_options):
    raise AttributeError("'NoneType' object has no attribute 'client'")
Channel._put = put
"""


PUBLISH = """
from celery.exceptions import Reject
from worker.process.tasks import fan_out
event = {"v": 1, "type": "user.muted", "id": "e1", "app": "demo", "at": "2026-11-21T20:00:00Z", "user": "leia", "target": "han"}
try:
    print(fan_out(events=[event]))
except Reject as reject:
    print("back to its queue" if reject.requeue else "lost")
"""


def run(redis_url: str, script: str = WAKE) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "CARILLON_REDIS_URL": redis_url,
        "CARILLON_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def nobody_listens(_redis_url: str) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{probe.getsockname()[1]}/0"


def out_of_memory(redis_url: str) -> str:
    with connect(redis_url) as redis:
        redis.config_set("maxmemory", 1)
    return redis_url


@pytest.mark.parametrize("fault", [nobody_listens, out_of_memory])
def test_a_caller_of_a_wake_up_goes_on_while_redis_is_away(redis_url, fault):
    try:
        done = run(fault(redis_url))
    finally:
        with connect(redis_url) as redis:
            redis.config_set("maxmemory", 0)
    assert done.stdout == "went on\n", done.stderr
    assert done.stderr.count("wake-ups lost") == 1, "once a minute"


def test_a_caller_of_a_wake_up_goes_on_while_the_connection_is_being_closed(redis_url):
    """Kombu looks for the client of a transport that is gone by then."""
    done = run(redis_url, CLOSED + WAKE)
    assert done.stdout == "went on\n", done.stderr


def test_a_chat_server_s_task_goes_back_to_its_queue_while_redis_takes_nothing(redis_url):
    """Its events are nowhere else: done with, they would be lost."""
    try:
        assert run(out_of_memory(redis_url), PUBLISH).stdout == "back to its queue\n"
    finally:
        with connect(redis_url) as redis:
            redis.config_set("maxmemory", 0)
    assert run(redis_url, PUBLISH).stdout == "{'published': 1}\n"
    with connect(redis_url) as redis:
        assert redis.xlen("carillon:events") == 1


def test_a_bad_event_of_a_task_loses_no_good_one(redis_url):
    """The intake dead-letters it, as it does for any producer; the others are on the stream."""
    script = PUBLISH.replace(
        "events=[event]", 'events=[event, {"type": "push.send", "alert": "secret"}, "no object", event]'
    )
    done = run(redis_url, script)
    assert done.stdout == "{'published': 4}\n"
    assert "secret" not in done.stderr
    with connect(redis_url) as redis:
        assert redis.xlen("carillon:events") == 4


def test_messages_have_one_wake_up_on_its_way_and_each_batch_has_its_own(redis_url):
    done = run(redis_url)
    assert done.stderr == ""
    with connect(redis_url) as redis:
        assert redis.llen("carillon:carillon.urgent") == 1
        assert redis.llen("carillon:carillon.bulk") == 3
        Journal(untagged(redis), lease=8).take_messages("urgent", 10)
        assert run(redis_url).stderr == ""
        assert redis.llen("carillon:carillon.urgent") == 2, "somebody looked: what came since needs another"


def test_many_urgent_batches_have_one_wake_up_and_whoever_gets_it_brings_others(redis_url):
    done = run(redis_url, WAKE.replace('"bulk", 3', '"urgent", 50').replace("wake_fan_out(of, 1", "print(of, 1"))
    assert done.returncode == 0, done.stderr
    with connect(redis_url) as redis:
        assert redis.llen("carillon:carillon.urgent") == 1


def test_who_expands_in_the_leader_s_process_takes_many_messages_next_without_a_wake_up(redis_url):
    done = run(redis_url, OPEN)
    assert done.stdout.splitlines() == [
        "0 wake-ups while it takes them all next",
        "1 where more are ready",
        "False 2",
    ], done.stderr


def test_wake_ups_of_one_app_never_stand_in_thousands_before_another_s(redis_url):
    """Each is good for all that is ready, so more than a few are of no use."""
    done = run(
        redis_url,
        WAKE.replace('wake_deliver(of, "bulk", 3)', 'wake_deliver(of, "urgent", 5000)\nwake_fan_out(of, 500000)')
        .replace("wake_fan_out(of, 1001)", "")
        .replace("wake_fan_out(of, 1)", ""),
    )
    assert done.returncode == 0, done.stderr
    with connect(redis_url) as redis:
        waiting = redis.llen("carillon:carillon.urgent")
        kinds = [b"carillon.fan_out" in one for one in redis.lrange("carillon:carillon.urgent", 0, -1)]
    assert waiting <= 64
    assert sum(kinds) == 1, "batches that wait leave room for messages to be expanded"


def test_for_what_waited_for_another_batch_nobody_is_woken_where_enough_threads_deliver(redis_url):
    done = run(redis_url, FREED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "0 wake-ups where enough threads deliver",
        "1 looked once more",
        "1 where none does",
    ]
