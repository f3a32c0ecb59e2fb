"""What Flower hears of tasks: all that they did, in few messages."""

from types import SimpleNamespace
from typing import Any

from celery import Celery
from kombu.asynchronous.timer import Timer

from worker.process.task_events import TaskEvents, shown


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


def tell(consumer: SimpleNamespace, task: str, *events: str, result: str = "{}") -> None:
    for event in events:
        consumer.event_dispatcher.send(event, uuid=task, **({"result": result} if event == "task-succeeded" else {}))


def test_flower_hears_nothing_of_a_task_that_found_nothing() -> None:
    _, consumer, producer = started()
    tell(consumer, "idle", "task-received", "task-started")
    tell(consumer, "busy", "task-received", "task-started", "task-succeeded", result="{'chat/apns': {'accepted': 1}}")
    tell(consumer, "idle", "task-succeeded")
    consumer.timer.queue[0].entry()
    assert producer.sent == [["task-received", "task-started", "task-succeeded"]]


def test_a_task_that_flower_has_heard_of_gets_its_end() -> None:
    _, consumer, producer = started()
    tell(consumer, "idle", "task-received", "task-started")
    consumer.timer.queue[0].entry()
    tell(consumer, "idle", "task-succeeded")
    consumer.event_dispatcher.flush()
    assert producer.sent == [["task-received", "task-started"], ["task-succeeded"]]


def test_a_full_buffer_is_sent_without_tasks_that_found_nothing() -> None:
    _, consumer, producer = started()
    consumer.event_dispatcher.buffer_limit = 4
    tell(consumer, "idle", "task-received", "task-succeeded")
    tell(consumer, "busy", "task-received", "task-succeeded", result="{'put_off': 1}")
    assert producer.sent == [["task-received", "task-succeeded"]]


def test_flower_hears_of_work_that_no_message_asked_for() -> None:
    _, consumer, _ = started()
    heard: list[dict[str, Any]] = consumer.event_dispatcher._group_buffer["task"]
    with shown("carillon.fan_out", {"lane": "urgent"}) as work:
        work.add("demo", None, {"jobs": 2})
    assert [one["type"] for one in heard] == ["task-received", "task-started", "task-succeeded"]
    assert len({one["uuid"] for one in heard}) == 1
    assert (heard[0]["name"], heard[0]["kwargs"]) == ("carillon.fan_out", "{'lane': 'urgent'}")
    assert (heard[2]["args"], heard[2]["result"]) == ("(demo)", "{'demo': {'jobs': 2}}")


def test_flower_hears_nothing_of_work_that_found_nothing_or_of_a_worker_that_does_not_consume() -> None:
    step, consumer, producer = started()
    with shown("carillon.fan_out", {"lane": "urgent"}):
        pass
    step.stop(consumer)
    with shown("carillon.fan_out", {"lane": "urgent"}) as work:
        work.add("demo", None, {"jobs": 2})
    assert producer.sent == []


def test_a_consumer_that_never_began_can_be_stopped() -> None:
    TaskEvents(SimpleNamespace()).stop(SimpleNamespace())
