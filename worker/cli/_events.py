"""Events that a command publishes, as a chat server would, and whether workers have applied them."""

import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from config import credentials
from worker.cli._faults import fail, refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.process.runtime import Runtime

#: Seconds between two looks.
_PAUSE: Final = 0.05


@contextmanager
def outcomes() -> "Iterator[None]":
    """Ends the command for what the contract refuses, or Redis or a worker does not take."""
    from producers import EventError, PublishError

    try:
        yield
    except EventError as fault:
        refuse(fault)
    except PublishError as fault:
        fail(fault)


def publish(runtime: "Runtime", app: str, kind: str, parts: Sequence[dict[str, Any]]) -> list[str]:
    """Publishes one event of the kind for each of `parts`, in their order; returns their ids. All are checked first."""
    from producers import Publisher

    at = datetime.now(UTC)
    made = [{"v": 1, "type": kind, "id": uuid4().hex, "app": app, "at": at, **part} for part in parts]
    with outcomes(), Publisher(runtime.urls.redis, credentials=credentials.known(runtime.urls.redis)) as publisher:
        if len(made) == 1:  # what is refused of it then names no index
            publisher.publish(made[0])
        else:
            publisher.publish_many(made)
    return [event["id"] for event in made]


def applied(check: Callable[[], bool], wait: float) -> bool:
    """Whether `check` holds within so many seconds."""
    ends = time.monotonic() + wait
    while not check():
        if time.monotonic() >= ends:
            return False
        time.sleep(_PAUSE)
    return True


def in_force(applied: bool) -> str:
    """The end of a sentence about published events."""
    return "" if applied else "; published, and not applied yet: it is once workers run (carillon health)"
