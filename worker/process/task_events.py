"""What Flower gets to know of tasks: in few messages, and also of work that no Celery message asked for."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from celery import bootsteps
from celery.utils import uuid
from celery.worker.consumer.events import Events

from worker.process.celery_request import arguments_of, described
from worker.process.task_result import Work

#: Seconds between two messages to Flower.
EVENT_SECONDS: Final = 1.0
#: That of this process, while it consumes.
_dispatchers: Final[list[Any]] = []


@contextmanager
def shown(name: str, kwargs: Mapping[str, Any]) -> Iterator[Work]:
    """Shows what is counted inside as a task of that name, if it is anything."""
    work, began = Work(), time.time()
    yield work
    if not work or not _dispatchers:
        return
    [dispatcher], id, ended = _dispatchers, uuid(), time.time()
    result, (positional, named) = work.result(id), described((), kwargs)
    begins = {"uuid": id, "timestamp": began}
    dispatcher.send("task-received", **begins, name=name, args=positional, kwargs=named, root_id=id, retries=0)
    dispatcher.send("task-started", **begins)
    dispatcher.send(
        "task-succeeded",
        **(begins | {"timestamp": ended, "args": arguments_of(id)}),
        result=repr(result),
        runtime=ended - began,
    )


class TaskEvents(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Sends Flower what tasks did in one message every `EVENT_SECONDS`. A message for each event is a third of a task's cost.

    Flower hears nothing of a task that found nothing. During an outage most tasks are of this kind.
    """

    requires = (Events,)
    _flushes: Any = None

    def start(self, c: Any) -> None:
        dispatcher = c.event_dispatcher
        dispatcher.on_send_buffered = None
        self._lock, self._send = threading.Lock(), dispatcher.flush
        self._events = dispatcher._group_buffer["task"]  # noqa: SLF001 - it has no public name
        # The dispatcher also flushes by itself when its buffer is full.
        dispatcher.flush = self._flush
        self._flushes = c.timer.call_repeatedly(EVENT_SECONDS, self._flush)
        _dispatchers[:] = [dispatcher]

    def stop(self, _: Any) -> None:
        _dispatchers.clear()
        # A consumer that lost the broker while it began is stopped too.
        if self._flushes is not None:
            self._flushes.cancel()
            self._flushes = None
            self._flush()

    def _flush(self, *args: Any, **kwargs: Any) -> None:
        with self._lock:
            _leave_out_idle(self._events)
            self._send(*args, **kwargs)


def _leave_out_idle(events: list[dict[str, Any]]) -> None:
    """Removes the events of tasks that found nothing. If the first event of a task was sent, the others follow it."""
    seen = list(events)
    received = {event.get("uuid") for event in seen if event["type"] == "task-received"}
    idle = {event.get("uuid") for event in seen if event["type"] == "task-succeeded" and event.get("result") == "{}"}
    # Other threads append meanwhile.
    events[: len(seen)] = [event for event in seen if event.get("uuid") not in received & idle]
