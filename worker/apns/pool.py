"""Sends batches over a few long-lived connections to one host with one credential. Decides nothing about answers.

The life of a call: it waits at the door while too much is waiting; it is queued; `_pump` gives its notifications to whichever
connection has most room; each ends with an answer, as `unknown` (written, then nothing), or comes back because the server
cannot have processed it, and then another connection tries. At its deadline whatever is left is given up.

Connections are opened one at a time: at once when there is none, and when all have been full for a while. One that fails, or
ends without having answered anything, makes the next wait, longer each time.
"""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

from worker.apns.call import Call, Work
from worker.apns.connection import ConnectError, Connection, client_context, connect
from worker.apns.http2.handlers import EXPIRED
from worker.apns.opener import Opener
from worker.apns.timing import Timing
from worker.apns.transport import Endpoint, TransportClosed
from worker.core.model import NoAnswer, Notification, Response

#: Notifications written before looking again whether the socket is full.
_CHUNK: Final = 512
#: Attempts of one notification beyond the first, all of which the server must have refused.
_MAX_RESENDS: Final = 3
#: Failed attempts in a row after which what waits is given back instead of waiting on.
_PATIENCE: Final = 3
#: Reasons in a GOAWAY that another connection may not meet; any other concerns the credential, and comes back as it is.
_PASSING: Final = frozenset(("Shutdown", "IdleTimeout", "InternalServerError", "ServiceUnavailable"))


class Pool:
    """A `Transport` over our own HTTP/2 engine.

    `ssl_context` carries a client certificate where there is one; without it the endpoint's CA is trusted, or the public ones.
    `max_waiting` bounds the notifications that wait for a connection; more calls wait at the door, in their order.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 4,
        max_waiting: int = 10_000,
        timing: Timing | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        context = ssl_context or client_context(endpoint.ca)
        context.set_alpn_protocols(["h2"])
        self._timing = timing or Timing()
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._connections: list[Connection] = []
        self._opener = Opener(
            lambda: connect(endpoint, context, self._timing, self._changed),
            self._timing,
            jitter,
            opened=self._opened,
            failed=self._failed,
        )
        self._calls: set[Call] = set()
        self._door: deque[Call] = deque()
        self._queue: deque[Work] = deque()
        #: Notifications in `_queue`.
        self._waiting = 0
        self._growing: asyncio.TimerHandle | None = None
        #: Why the last attempt to connect failed; None once one succeeded.
        self._trouble: str | None = None
        #: A provider token of which a whole connection heard nothing but that it has expired.
        self._doubted: str | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Notifications that were let in and wait for a connection."""
        return self._waiting

    @property
    def connections(self) -> int:
        """Connections that take notifications or still wait for answers."""
        return len(self._connections)

    async def send(
        self,
        notifications: Sequence[Notification],
        *,
        authorization: str | None,
        deadline: float,
        seen: list[Response | None] | None = None,
    ) -> list[Response]:
        """One response for each notification, in their order; see `Transport`."""
        if self._closed:
            raise TransportClosed
        if not notifications:
            return []
        loop = asyncio.get_running_loop()
        call = Call(notifications, authorization, ends=loop.time() + deadline, responses=seen)
        timer = loop.call_at(call.ends, self._give_up, call, "deadline")
        self._calls.add(call)
        self._door.append(call)
        try:
            self._pump()
            await call.done
        except asyncio.CancelledError:
            self._give_up(call, "cancelled")
            raise
        finally:
            timer.cancel()
            self._calls.discard(call)
        return cast("list[Response]", call.responses)

    async def close(self, drain: float = 5.0) -> None:
        """Takes nothing new, waits up to `drain` seconds for what is in flight, then closes every connection."""
        self._closed = True
        if self._calls:
            await asyncio.wait([call.done for call in self._calls], timeout=drain)
        for call in list(self._calls):
            self._give_up(call, "closed")
        if self._growing is not None:
            self._growing.cancel()
        await self._opener.stop()
        closing = list(self._connections)
        for connection in closing:
            connection.close("closed")
        for connection in closing:
            await connection.over.wait()

    def _pump(self) -> None:
        """Gives what waits to whichever connection has most room, and asks for another where none has."""
        while self._let_in():
            connection = max(self._connections, key=Connection.room, default=None)
            room = 0 if connection is None else connection.room()
            if connection is None or not room:
                self._grow()
                return
            work = self._queue[0]
            count = connection.write(work.call, work.indices[: min(room, _CHUNK)])
            self._waiting -= count
            if count == len(work.indices):
                self._queue.popleft()
            else:
                work.indices = work.indices[count:]
            self._collect(connection)

    def _let_in(self) -> bool:
        """Moves calls from the door into the queue, as far as the bound allows; a call over the bound goes in alone."""
        while self._door and (not self._queue or self._waiting + self._door[0].left <= self._max_waiting):
            call = self._door.popleft()
            self._queue.append(Work(call, range(call.left)))
            self._waiting += call.left
        return bool(self._queue)

    def _collect(self, connection: Connection) -> None:
        """Wakes the calls that are complete, and takes back what the server cannot have processed."""
        streams = connection.core.streams
        for call in streams.settled:
            cast("Call", call).finish()
        streams.settled.clear()
        if streams.refused:
            self._take_back(connection)

    def _take_back(self, connection: Connection) -> None:
        """Puts what the server cannot have processed at the head of the queue, unless trying again is of no use."""
        streams, reason = connection.core.streams, connection.core.reason
        refused, streams.refused = streams.refused, []
        lasting = reason is not None and reason not in _PASSING
        now = asyncio.get_running_loop().time()
        again: dict[Call, list[int]] = {}
        for batch, index, cause in refused:
            call = cast("Call", batch)
            tries = call.resent[index] = call.resent.get(index, 0) + 1
            if lasting or tries > _MAX_RESENDS or now >= call.ends:
                call.give(index, NoAnswer("not_sent", cause))
            else:
                again.setdefault(call, []).append(index)
        for call, indices in again.items():
            self._queue.appendleft(Work(call, indices))
            self._waiting += len(indices)

    def _give_up(self, call: Call, cause: str) -> None:
        """Ends a call: what is in flight is lost, what waits was never sent. Others get the room."""
        for connection in list(self._connections):
            connection.cancel(call, cause)
            self._collect(connection)
        self._give_back(NoAnswer("not_sent", self._trouble or cause), lambda each: each is call)
        self._pump()

    def _give_back(self, response: NoAnswer, chosen: Callable[[Call], bool]) -> None:
        """Ends what waits of the chosen calls."""
        for call in [call for call in self._door if chosen(call)]:
            self._door.remove(call)
            Work(call, range(call.left)).give_all(response)
        for work in [work for work in self._queue if chosen(work.call)]:
            self._queue.remove(work)
            self._waiting -= len(work.indices)
            work.give_all(response)

    def _changed(self, connection: Connection) -> None:
        """A connection has news: outcomes, room, or its end."""
        self._collect(connection)
        if connection.core.retiring == EXPIRED and not connection.judged:
            connection.judged = True
            self._doubt(connection)
        if connection.over.is_set() and connection in self._connections:
            self._connections.remove(connection)
            self._opener.ended(connection)
            if not connection.core.greeted:
                # An attempt that failed after all: in TLS 1.3 a certificate is refused after the client's handshake.
                self._failed(ConnectError(connection.core.closed or "connection lost"))
        self._pump()

    def _doubt(self, connection: Connection) -> None:
        """One stale connection is replaced; a second one in a row means that the provider token itself has expired.

        What waits with that token would only be told the same, one connection each.
        """
        token = connection.authorization
        if connection.core.answered > connection.core.expired:
            self._doubted = None
        elif self._doubted == token:
            self._give_back(NoAnswer("not_sent", EXPIRED), lambda call: call.authorization == token)
        self._doubted = token

    def _grow(self) -> None:
        """Something waits and nothing has room: a connection if there is none, or later if all stay full."""
        live = self._live()
        if not live:
            self._opener.open()
        elif self._growing is None and len(live) < self._max_connections and all(each.settled_in() for each in live):
            loop = asyncio.get_running_loop()
            self._growing = loop.call_later(self._timing.grow_after, self._grow_if_full)

    def _grow_if_full(self) -> None:
        self._growing = None
        live = self._live()
        if self._queue and len(live) < self._max_connections and not any(each.room() for each in live):
            self._opener.open()

    def _live(self) -> list[Connection]:
        return [each for each in self._connections if not each.core.retiring and not each.core.closed]

    def _opened(self, connection: Connection) -> None:
        self._trouble = None
        self._connections.append(connection)
        self._changed(connection)

    def _failed(self, error: ConnectError) -> None:
        self._trouble = error.cause
        if not self._live() and (error.lasting or self._opener.failures >= _PATIENCE):
            self._give_back(NoAnswer("not_sent", error.cause), lambda _: True)
        self._pump()
