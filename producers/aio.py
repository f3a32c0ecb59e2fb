"""Publishes from asyncio: `producers.publisher` again, with `await`."""

import asyncio
import os
from collections.abc import Iterable
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from redis import exceptions
from redis.asyncio.connection import Connection, parse_url

from producers import wire
from producers.documents import Publishable, document, documents
from producers.errors import PublishError
from producers.link import options, translated
from producers.patience import AwayError, Patience

#: Connections of one publisher; further calls wait for one within their timeout.
CONNECTIONS: Final = 8


class AsyncPublisher:
    """Writes events and presence to Redis or Valkey. Everything said of `Publisher` holds.

    May be used by many tasks, from one event loop after the other, and after a fork. Checking is done on the loop, at
    some microseconds an event.
    """

    def __init__(self, redis_url: str, *, timeout: float = 5.0, max_backlog: int = wire.MAX_BACKLOG) -> None:
        self._kind, self._arguments = options(redis_url, parse_url, Connection)
        self._timeout = timeout
        self._max_backlog = max_backlog
        self._look_at = 0.0
        self._closed = False
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._idle: list[Any] = []
        self._slots = asyncio.Semaphore(CONNECTIONS)

    async def publish(self, event: Publishable) -> str:
        """Put one event on the stream and return its entry id. Raises `EventError` or `PublishError`."""
        written = document(event)
        now = monotonic()
        if now < self._look_at:
            return wire.entries(await self._ask(wire.append(written)))[0]
        (entry,) = wire.entries(await self._ask(wire.append_within(self._max_backlog, [written])))
        self._look_at = now + 1.0
        return entry

    async def publish_many(self, events: Iterable[Publishable]) -> list[str]:
        """Put the events on the stream in their order and return their entry ids; see `Publisher.publish_many`."""
        written = documents(events)
        accepted: list[str] = []
        for chunk in wire.chunks(written):
            try:
                accepted += wire.entries(await self._ask(wire.append_within(self._max_backlog, chunk)))
            except PublishError as fault:
                raise wire.midway(fault, accepted, len(written)) from fault
        return accepted

    async def online(self, app: str, user: str, seconds: int) -> None:
        """Keep the user online for so many seconds: refresh it sooner. Raises `EventError` or `PublishError`."""
        await self._ask(wire.online(app, user, seconds))

    async def offline(self, app: str, user: str) -> None:
        """End the user's presence at once. Raises `EventError` or `PublishError`."""
        await self._ask(wire.offline(app, user))

    async def close(self) -> None:
        """Close the connections; a call under way in another task still ends well."""
        self._closed = True
        await self._drop_idle()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, command: bytes) -> Any:
        if self._closed:
            raise PublishError("this publisher is closed")
        self._settle()
        patience, last = Patience(self._timeout), None
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                while True:
                    try:
                        return await self._try(command)
                    except AwayError as away:
                        last = away
                        await self._drop_idle()
                        await asyncio.sleep(patience.pause(away))
        except TimeoutError:
            raise patience.over(last or AwayError("no answer")) from last

    async def _try(self, command: bytes) -> Any:
        link = self._idle.pop() if self._idle else self._kind(**self._arguments | {"socket_timeout": None})
        try:
            await link.connect()
            await link.send_packed_command([command], check_health=False)
            answer = await link.read_response()
        except (exceptions.RedisError, OSError) as fault:
            await link.disconnect(nowait=True)
            raise translated(fault) from fault
        except BaseException:
            await link.disconnect(nowait=True)
            raise
        if self._closed:
            await link.disconnect(nowait=True)
        else:
            self._idle.append(link)
        return answer

    def _settle(self) -> None:
        """Forget connections of another process or loop: their sockets belong there."""
        home = (os.getpid(), asyncio.get_running_loop())
        if self._home != home:
            self._home, self._idle, self._slots = home, [], asyncio.Semaphore(CONNECTIONS)

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)
