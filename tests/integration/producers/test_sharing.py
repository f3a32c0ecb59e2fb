"""One publisher for all: threads, forked children, tasks of a loop, one loop after another, and someone else's Celery."""

import asyncio
import gc
import json
import subprocess
import sys
import threading

import pytest
import redis

from producers import AsyncPublisher, Publisher
from producers.aio import CONNECTIONS
from tests.integration.producers.stored import ids, stored
from tests.unit.producers.examples import MESSAGE, changed, numbered
from tests.valkey import Valkey

FORK = """
import asyncio, json, os, sys
from producers import AsyncPublisher, Publisher

url, event = sys.argv[1], json.loads(sys.argv[2])
threads, aio = Publisher(url), AsyncPublisher(url)

def publish(name):
    for number in range(50):
        threads.publish({**event, "id": f"{name}-{number}"})
    async def some():
        for number in range(50):
            await aio.publish({**event, "id": f"{name}-async-{number}"})
    asyncio.run(some())

publish("before")
child = os.fork()
publish("child" if child == 0 else "parent")
if child == 0:
    threads.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
publish("after")
"""

CELERY = """
import json, sys
from producers import Publisher

publisher = Publisher(sys.argv[1])
event = json.loads(sys.argv[2])
publisher.publish(event)
assert "celery" not in sys.modules, "publishing loads no Celery"

from celery import Celery, current_app

app = Celery("theirs", broker="memory://")
app.conf.task_always_eager = True

@app.task
def say(number):
    return publisher.publish({**event, "id": f"task-{number}"})

assert say.delay(1).get()
assert current_app.main == "theirs"
assert set(name for name in app.tasks if not name.startswith("celery.")) == {"theirs.say"}
"""


def run(program: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", program, *arguments], check=True, timeout=60)


def test_threads_share_a_publisher(redis_url: str) -> None:
    accepted: list[str] = []
    with Publisher(redis_url) as publisher:

        def publish(thread: int) -> None:
            accepted.extend(publisher.publish(changed(MESSAGE, id=f"{thread}-{number}")) for number in range(100))
            accepted.extend(publisher.publish_many(numbered(100)))

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(set(accepted)) == 1_600
    found = ids(redis_url)
    assert len(found) == 1_600
    for number in range(8):
        assert [id for id in found if id.startswith(f"{number}-")] == [f"{number}-{n}" for n in range(100)]


def test_a_forked_child_makes_connections_of_its_own(redis_url: str) -> None:
    run(FORK, redis_url, json.dumps(MESSAGE))
    expected = {f"{name}-{n}" for name in ("before", "child", "parent", "after") for n in range(50)}
    expected |= {f"{name}-async-{n}" for name in ("before", "child", "parent", "after") for n in range(50)}
    found = ids(redis_url)
    assert set(found) == expected
    assert len(found) == len(expected)


def test_an_application_keeps_its_own_celery(redis_url: str) -> None:
    run(CELERY, redis_url, json.dumps(MESSAGE))
    assert ids(redis_url) == ["evt-1", "task-1"]


def test_many_tasks_share_a_few_connections(valkey: Valkey) -> None:
    async def publish() -> int:
        async with AsyncPublisher(valkey.url) as publisher:
            await asyncio.gather(*[publisher.publish(event) for event in numbered(300)])
            with redis.Redis.from_url(valkey.url) as client:
                return len(client.client_list()) - 1

    assert asyncio.run(publish()) <= CONNECTIONS
    assert sorted(ids(valkey.url)) == sorted(event["id"] for event in numbered(300))


# A loop that ends takes its open connections with it, and Python remarks on them.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_async_publisher_outlives_its_loop(redis_url: str) -> None:
    publisher = AsyncPublisher(redis_url)
    for number in range(3):
        asyncio.run(publisher.publish(changed(MESSAGE, id=f"evt-{number}")))
    del publisher
    gc.collect()
    assert ids(redis_url) == ["evt-0", "evt-1", "evt-2"]


def test_a_cancelled_call_leaves_no_answer_for_the_next(redis_url: str) -> None:
    async def publish() -> list[str]:
        async with AsyncPublisher(redis_url) as publisher:
            await publisher.publish(MESSAGE)
            entries = []
            for number in range(20):
                call = asyncio.create_task(publisher.publish(changed(MESSAGE, id=f"cancelled-{number}")))
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                entries.append(await publisher.publish(changed(MESSAGE, id=f"kept-{number}")))
            return entries

    entries = asyncio.run(publish())
    by_entry = {entry: event.id for entry, event in stored(redis_url)}
    assert [by_entry[entry] for entry in entries] == [f"kept-{number}" for number in range(20)]
