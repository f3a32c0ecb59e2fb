"""What Flower hears of tasks: all of it, in few messages."""

from types import SimpleNamespace
from typing import Any

from celery import Celery
from kombu.asynchronous.timer import Timer

from worker.process.consumer import TaskEvents


class Producer:
    """Remembers the events of each message."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []

    def publish(self, events: list[dict[str, Any]], **_: object) -> None:
        self.sent.append([event["type"] for event in events])


def started() -> tuple[TaskEvents, SimpleNamespace, Producer]:
    """The step on a consumer whose dispatcher would send each event at once."""
    app, producer = Celery(broker="memory://", set_as_current=False), Producer()
    events = app.events.Dispatcher(app.connection(), hostname="h", buffer_group=["task"])
    events.on_send_buffered, events.producer = events.flush, producer
    consumer = SimpleNamespace(event_dispatcher=events, timer=Timer())
    step = TaskEvents(consumer)
    step.start(consumer)
    return step, consumer, producer


def test_events_of_tasks_are_sent_together() -> None:
    _, consumer, producer = started()
    consumer.event_dispatcher.send("task-received")
    consumer.event_dispatcher.send("task-succeeded")
    assert producer.sent == []
    consumer.timer.queue[0].entry()
    assert producer.sent == [["task-received", "task-succeeded"]]


def test_the_last_events_are_sent_when_the_consumer_stops() -> None:
    step, consumer, producer = started()
    consumer.event_dispatcher.send("task-succeeded")
    step.stop(consumer)
    assert producer.sent == [["task-succeeded"]]
    assert consumer.timer.queue[0].entry.canceled
