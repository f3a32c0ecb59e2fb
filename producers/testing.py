"""Publishers that record instead of writing to Redis, for a chat server's own tests.

They check like the real ones: an event that would be refused raises `EventError` in a test.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any, TypeVar

from producers import events, wire
from producers.aio import AsyncPublisher
from producers.errors import PublishError
from producers.events import AnyEvent
from producers.publisher import Publisher

_Kind = TypeVar("_Kind", bound=events.Event)


class Recorded:
    """What was published, in its order, and who is online."""

    def __init__(self) -> None:
        #: Every event, as workers would read it.
        self.events: list[AnyEvent] = []
        #: The same as the JSON documents that stand on the stream.
        self.documents: list[bytes] = []
        #: (app, user) -> seconds for which the user was last said to be online.
        self.online: dict[tuple[str, str], int] = {}
        self._faults: list[Exception] = []
        self._lock = Lock()

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        """The events of one kind, such as `MessageNew`."""
        return [event for event in self.events if isinstance(event, kind)]

    def fail(self, fault: Exception, times: int = 1) -> None:
        """The next calls raise this, such as `PublishError` or `SupersededError`, and record nothing."""
        self._faults += [fault] * times

    def clear(self) -> None:
        """Forgets everything, faults to come as well."""
        self.events.clear()
        self.documents.clear()
        self.online.clear()
        self._faults.clear()

    def add(self, documents: Sequence[bytes]) -> list[str]:
        """Records documents that were checked; returns their entry ids."""
        with self._lock:
            first = len(self.documents) + 1
            self.documents += documents
            self.events += map(events.accepted, documents)
            return [f"{number}-0" for number in range(first, first + len(documents))]

    def check(self, *, closed: bool) -> None:
        """Raises what this call is to raise."""
        if closed:
            raise PublishError("this publisher is closed")
        with self._lock:
            if self._faults:
                raise self._faults.pop(0)


class RecordingPublisher(Publisher):
    """A `Publisher` that needs no Redis. Every device call that waits is answered `ok`, unless `recorded.fail` says otherwise."""

    def __init__(self, redis_url: str = "redis://recording", **options: Any) -> None:
        """Takes what `Publisher` takes."""
        super().__init__(redis_url, **options)
        self.recorded = Recorded()

    def online(self, app: str, user: str, seconds: int) -> None:
        wire.online(app, user, seconds)
        self.recorded.check(closed=self._closed)
        self.recorded.online[app, user] = seconds

    def offline(self, app: str, user: str) -> None:
        wire.offline(app, user)
        self.recorded.check(closed=self._closed)
        self.recorded.online.pop((app, user), None)

    def _call(self, event: dict[str, Any], reply: str | None, wait: float | None) -> str:
        return self.publish(event)

    def _append(self, written: Sequence[bytes]) -> list[str]:
        self.recorded.check(closed=self._closed)
        return self.recorded.add(written)


class AsyncRecordingPublisher(AsyncPublisher):
    """The same of `AsyncPublisher`."""

    def __init__(self, redis_url: str = "redis://recording", **options: Any) -> None:
        """Takes what `AsyncPublisher` takes."""
        super().__init__(redis_url, **options)
        self.recorded = Recorded()

    async def online(self, app: str, user: str, seconds: int) -> None:
        wire.online(app, user, seconds)
        self.recorded.check(closed=self._closed)
        self.recorded.online[app, user] = seconds

    async def offline(self, app: str, user: str) -> None:
        wire.offline(app, user)
        self.recorded.check(closed=self._closed)
        self.recorded.online.pop((app, user), None)

    async def _call(self, event: dict[str, Any], reply: str | None, wait: float | None) -> str:
        return await self.publish(event)

    async def _append(self, written: Sequence[bytes]) -> list[str]:
        self.recorded.check(closed=self._closed)
        return self.recorded.add(written)
