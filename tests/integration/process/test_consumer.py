"""Celery's consumer when its broker is lost."""

import logging
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Queue
from kombu.messaging import Consumer

from tests.valkey import Valkey
from worker.process.consumer import _Consumer, _take


@pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")
def test_a_consumer_outlives_its_broker_while_a_task_is_in_work(valkey: Valkey) -> None:
    connection, taken = Connection(valkey.url), list[Any]()
    queue = Queue("q")
    tasks = Consumer(connection.default_channel, [queue], on_message=taken.append)
    tasks.consume()
    # As Celery's remote control: what closing this one raises leaves the other as it is.
    Consumer(connection.channel(), [Queue("control")], on_message=taken.append).consume()
    connection.Producer().publish({}, routing_key="q", declare=[queue])
    connection.drain_events(timeout=5)
    assert len(taken) == 1
    with pytest.raises(TimeoutError):
        connection.drain_events(timeout=0.2)  # waits for the next one from now on
    valkey.kill()
    consumer: Any = _Consumer.__new__(_Consumer)
    conf = {
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_prefetch_count_reduction": False,
    }
    consumer.connection, consumer.task_consumer = connection, tasks
    consumer.app = SimpleNamespace(conf=SimpleNamespace(**conf))
    consumer.on_connection_error_after_connected(ConnectionError())
    assert consumer.connection is None
    # As Celery does when the task is done.
    taken[0].ack_log_error(logging.getLogger(), ())


def test_a_wake_up_is_worked_on_though_a_full_broker_cannot_note_who_has_it(valkey: Valkey) -> None:
    connection, taken = Connection(valkey.url), list[Any]()
    queue = Queue("q")
    Consumer(connection.default_channel, [queue], on_message=taken.append).consume()
    connection.Producer().publish({}, routing_key="q", declare=[queue])
    qos: Any = connection.default_channel.qos
    qos.append = partial(_take, qos, qos.append)
    valkey.client().config_set("maxmemory", "1mb")
    connection.drain_events(timeout=5)
    assert len(taken) == 1
    taken[0].ack()
    assert taken[0].acknowledged
    assert qos._delivered.keys() == qos._dirty
