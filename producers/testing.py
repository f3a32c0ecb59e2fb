"""Publishers that record instead of writing to Redis, for a chat server's own tests.

They check like the real ones: an event that would be refused raises `EventError` in a test.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, TypeVar

from producers import events, wire
from producers.aio import AsyncPublisher
from producers.errors import PublishError
from producers.events import AnyEvent
from producers.publisher import Publisher

_Kind = TypeVar("_Kind", bound=events.Event)


class Recorded:
    """What was published, in its order, where users are, and what they have read."""

    def __init__(self) -> None:
        #: Every event, as workers would read it.
        self.events: list[AnyEvent] = []
        #: The same as the JSON documents that stand on the stream.
        self.documents: list[bytes] = []
        #: (app, user) -> seconds for which the user was last said to be online.
        self.online: dict[tuple[str, str], int] = {}
        #: (app, user) of those who were last said to be active.
        self.active: set[tuple[str, str]] = set()
        #: (app, user) -> the channel, or (channel, thread), that they were last said to have open.
        self.viewing: dict[tuple[str, str], str | tuple[str, str]] = {}
        #: (app, channel, thread or None) -> user -> up to when they have read it.
        self.read: dict[tuple[str, str, str | None], dict[str, datetime]] = {}
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
        self.active.clear()
        self.viewing.clear()
        self.read.clear()
        self._faults.clear()

    def add(self, documents: Sequence[bytes]) -> list[str]:
        """Records documents that were checked; returns their entry ids."""
        with self._lock:
            first = len(self.documents) + 1
            self.documents += documents
            self.events += map(events.accepted, documents)
            return [f"{number}-0" for number in range(first, first + len(documents))]

    def set_online(
        self, app: str, user: str, seconds: int, *, active: bool, viewing: str | tuple[str, str] | None
    ) -> None:
        self.online[app, user] = seconds
        if active:
            self.active.add((app, user))
        if viewing is not None:
            self.viewing[app, user] = viewing

    def set_offline(self, app: str, user: str) -> None:
        self.online.pop((app, user), None)
        self.active.discard((app, user))
        self.viewing.pop((app, user), None)

    def set_read(self, app: str, user: str, channel: str, until: datetime, thread: str | None) -> None:
        marks = self.read.setdefault((app, channel, thread), {})
        marks[user] = max(until, marks.get(user, until))

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

    def online(
        self,
        app: str,
        user: str,
        seconds: int,
        active: bool = False,
        viewing: str | tuple[str, str] | None = None,
    ) -> None:
        wire.online(app, user, seconds, active, viewing)
        self.recorded.check(closed=self._closed)
        self.recorded.set_online(app, user, seconds, active=active, viewing=viewing)

    def offline(self, app: str, user: str) -> None:
        wire.offline(app, user)
        self.recorded.check(closed=self._closed)
        self.recorded.set_offline(app, user)

    def mark_read(self, app: str, user: str, channel: str, until: datetime, thread: str | None = None) -> None:
        wire.mark_read(app, user, channel, until, thread)
        self.recorded.check(closed=self._closed)
        self.recorded.set_read(app, user, channel, until, thread)

    def read(
        self,
        app: str,
        user: str,
        channel: str,
        until: datetime,
        thread: str | None = None,
        *,
        device: Mapping[str, Any] | None = None,
        unread: int | None = None,
    ) -> str | None:
        """Publishes the event each time, as if something were shown."""
        self.mark_read(app, user, channel, until, thread)
        more = {"thread": thread, "device": device, "unread": unread}
        return self.publish(wire.channel_read(app, user, channel, until, more))

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

    async def online(
        self,
        app: str,
        user: str,
        seconds: int,
        active: bool = False,
        viewing: str | tuple[str, str] | None = None,
    ) -> None:
        wire.online(app, user, seconds, active, viewing)
        self.recorded.check(closed=self._closed)
        self.recorded.set_online(app, user, seconds, active=active, viewing=viewing)

    async def offline(self, app: str, user: str) -> None:
        wire.offline(app, user)
        self.recorded.check(closed=self._closed)
        self.recorded.set_offline(app, user)

    async def mark_read(self, app: str, user: str, channel: str, until: datetime, thread: str | None = None) -> None:
        wire.mark_read(app, user, channel, until, thread)
        self.recorded.check(closed=self._closed)
        self.recorded.set_read(app, user, channel, until, thread)

    async def read(
        self,
        app: str,
        user: str,
        channel: str,
        until: datetime,
        thread: str | None = None,
        *,
        device: Mapping[str, Any] | None = None,
        unread: int | None = None,
    ) -> str | None:
        """Publishes the event each time, as if something were shown."""
        await self.mark_read(app, user, channel, until, thread)
        more = {"thread": thread, "device": device, "unread": unread}
        return await self.publish(wire.channel_read(app, user, channel, until, more))

    async def _call(self, event: dict[str, Any], reply: str | None, wait: float | None) -> str:
        return await self.publish(event)

    async def _append(self, written: Sequence[bytes]) -> list[str]:
        self.recorded.check(closed=self._closed)
        return self.recorded.add(written)
