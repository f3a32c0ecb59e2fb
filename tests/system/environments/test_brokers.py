"""Celery's broker apart from the journal: a Redis of its own, and RabbitMQ. One that is away delays, and loses nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu.connection import Connection

from config.celeryconfig import LANES
from producers import events as ev
from tests.integration.pipeline.harness import token
from tests.processes import carillon, wait_until
from tests.rabbitmq import RabbitMQ
from tests.system.fleet import Fleet
from tests.system.pipeline.test_workers import new_message, now_stamp
from tests.valkey import Valkey


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    server = RabbitMQ()
    server.start()
    yield server
    server.close()


def delivers_while_it_is_away(fleet: Fleet, broker: Valkey | RabbitMQ) -> None:
    """Pushes go out over the broker, without it, and over it again once it is back."""
    fleet.start("worker", "--concurrency", "2")
    fleet.publisher.publish_many(
        [
            ev.MemberAdded(**now_stamp(), channel=ev.ChannelId(id="general"), users=["leia", "han"]),
            ev.DeviceRegistered(**now_stamp(), user="han", device=ev.Device(token=token("han"))),
            new_message("e1"),
        ]
    )
    wait_until(lambda: len(fleet.simulator.accepted) == 1 and fleet.idle())
    done = carillon("health", "--lane", "urgent", "--lane", "bulk", "--timeout", "60", env=fleet.environment)
    assert done.returncode == 0, done.stderr + done.stdout
    broker.kill()
    fleet.publisher.publish_many([new_message(f"e{n}") for n in range(2, 30)])
    wait_until(lambda: len(fleet.simulator.accepted) == 29 and fleet.idle())
    wait_until(lambda: "the tick works on what is ready" in fleet.output())
    wait_until(lambda: "condition begins" in fleet.output() and "broker_away" in fleet.output())
    broker.start()
    done = carillon("health", "--lane", "urgent", "--timeout", "120", env=fleet.environment)
    assert done.returncode == 0, done.stderr + done.stdout
    fleet.publisher.publish(new_message("e30"))
    wait_until(lambda: len(fleet.simulator.accepted) == 30 and fleet.idle())
    assert len({one.collapse_id for one in fleet.simulator.accepted}) == 30


@pytest.mark.slow
@pytest.mark.parametrize("queues", ["quorum", "classic"])
def test_rabbitmq(postgres_url: str, redis_url: str, rabbitmq: RabbitMQ, tmp_path: Path, queues: str) -> None:
    with Connection(rabbitmq.url) as connection:  # queues of the other kind are in the way
        for names in LANES.values():
            for name in names:
                connection.default_channel.queue_delete(name)
    url = f"{rabbitmq.url}/"
    with Fleet(postgres_url, redis_url, tmp_path, CARILLON_BROKER_URL=url, CARILLON_BROKER_QUEUES=queues) as fleet:
        delivers_while_it_is_away(fleet, rabbitmq)


@pytest.mark.slow
def test_a_redis_of_its_own(
    postgres_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    server = Valkey(tmp_path_factory.mktemp("broker"))
    server.start()
    try:
        with Fleet(postgres_url, redis_url, tmp_path, CARILLON_BROKER_URL=server.url) as fleet:
            delivers_while_it_is_away(fleet, server)
    finally:
        server.stop()
