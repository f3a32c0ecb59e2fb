"""Sends batches over the few long-lived connections of one route. Decides nothing about answers.

The life of a call: it waits at the door while too much is waiting; it is queued; `_pump` gives its requests to whichever
connection has most room; each ends with an answer, as `unknown` (written, then nothing), or comes back because the server
cannot have processed it, and then another connection tries. At its deadline whatever is left is given up. A call of few requests
does not wait behind large ones: a direct message would wait for all that a large channel has in line.

Connections are opened one at a time: at once when there is none, and when all have been full for a while. One that fails, or
ends without having answered anything, makes the next wait, longer each time.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, cast

from worker.core.model import NoAnswer, Response
from worker.sender.call import Call, Work
from worker.sender.causes import CERTIFICATE_ALERTS, ConnectError
from worker.sender.connection import Connection, connect
from worker.sender.dial import Dialer
from worker.sender.opener import Opener
from worker.sender.proxy import Proxy
from worker.sender.route import Access
from worker.sender.transport import TransportClosed

#: Requests that are written before the pool checks again whether the socket is full.
_CHUNK: Final = 512
#: Attempts of one request beyond the first, all of which the server must have refused.
_MAX_RESENDS: Final = 3
#: Failed attempts in a row after which waiting requests are given back.
_PATIENCE: Final = 3
#: Requests of which a pool remembers the connection that left them without an answer.
_MOST_AVOIDED: Final = 10_000


class Pool:
    """A `Transport` over our own HTTP/2 engine.

    `proxy` opens tunnels to the endpoint.
    `max_waiting` bounds the requests that wait for a connection; more calls wait at the door, in their order.
    """

    def __init__(
        self,
        access: Access,
        *,
        max_waiting: int = 10_000,
        proxy: Proxy | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        access.context.set_alpn_protocols(["h2"])
        self._service = access.service
        self._timing = access.timing
        dialer = Dialer(access.endpoint.host, access.endpoint.port, proxy=proxy, resolve=access.resolve)
        self._max_connections = access.connections
        self._max_waiting = max_waiting
        self._connections: list[Connection] = []
        self._opener = Opener(
            lambda: connect(dialer, access, self._changed),
            self._timing,
            jitter,
            opened=self._opened,
            failed=self._failed,
        )
        self._calls: set[Call] = set()
        self._door: deque[Call] = deque()
        self._queue: deque[Work] = deque()
        #: Requests that a live connection left without an answer, to be tried on another one.
        self._elsewhere: list[Work] = []
        #: Requests in `_queue` and `_elsewhere`.
        self._waiting = 0
        #: By request id: the connection that left it without an answer.
        self._avoided: dict[str, Connection] = {}
        self._growing: asyncio.TimerHandle | None = None
        #: Why the last attempt to connect failed; None once one succeeded.
        self._trouble: str | None = None
        #: An access token, and the reason for which a connection refused every request with it.
        self._refused_all: tuple[str | None, str] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Requests that were accepted and wait for a connection."""
        return self._waiting

    @property
    def connections(self) -> int:
        """Connections that take requests or still wait for answers."""
        return len(self._connections)

    @property
    def streams(self) -> int:
        """Streams that are open on these."""
        return sum(len(connection.core.streams) for connection in list(self._connections))

    async def send(
        self,
        requests: Sequence[Any],
        *,
        authorization: str | None,
        deadline: float,
        seen: list[Response | None] | None = None,
        following: Mapping[int, int] | None = None,
    ) -> list[Response]:
        """One response for each request, in their order; see `Transport`."""
        if self._closed:
            raise TransportClosed
        if not requests:
            return []
        loop = asyncio.get_running_loop()
        call = Call(requests, authorization, ends=loop.time() + deadline, responses=seen, following=following)
        timer = loop.call_at(call.ends, self._give_up, call, "deadline")
        self._calls.add(call)
        self._door.insert(_place(self._door, call), call)
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
        """Gives waiting requests to the connection with the most room, and asks for another connection if none has room."""
        while self._let_in():
            connection = self._roomiest(self._connections)
            if connection is None:
                self._grow()
                break
            if self._write(connection, self._queue[0]):
                self._queue.popleft()
            self._collect(connection)
        if self._elsewhere:
            self._pump_elsewhere()

    def _roomiest(self, connections: Sequence[Connection]) -> Connection | None:
        """The connection with the most room. One that was idle for long must answer a PING first."""
        while (connection := max(connections, key=Connection.room, default=None)) is not None and connection.room():
            if not connection.is_stale():
                return connection
            connection.check()
        return None

    def _write(self, connection: Connection, work: Work) -> bool:
        """Gives a connection as many of these requests as it takes; true if none is left."""
        count = connection.write(work.call, work.indices[: min(connection.room(), _CHUNK)])
        self._waiting -= count
        done = count == len(work.indices)
        if not done:
            work.indices = work.indices[count:]
        return done

    def _pump_elsewhere(self) -> None:
        """A new try uses another connection than the last one; it is opened if necessary."""
        for work in list(self._elsewhere):
            others = [each for each in self._connections if each is not work.avoid]
            while work in self._elsewhere and (connection := self._roomiest(others)) is not None:
                if self._write(connection, work):
                    self._elsewhere.remove(work)
                self._collect(connection)
        avoided = {id(work.avoid) for work in self._elsewhere}
        live = self._live()
        if self._elsewhere and all(id(each) in avoided for each in live):
            if len(live) >= self._max_connections:
                live[0].retire("left requests without an answer")
            self._opener.open()

    def _let_in(self) -> bool:
        """Moves waiting calls into the queue, as far as the bound allows; a call over the bound goes in alone."""
        while self._door and (not self._queue or self._waiting + self._door[0].left <= self._max_waiting):
            call = self._door.popleft()
            self._queue_up(call, call.first())
        return bool(self._queue)

    def _queue_up(self, call: Call, indices: Sequence[int]) -> None:
        """Queues requests of a call; some may not use the connection of their last try."""
        self._waiting += len(indices)
        at = _place([work.call for work in self._queue], call)
        if not self._avoided:
            self._queue.insert(at, Work(call, indices))
            return
        apart: dict[Connection | None, list[int]] = {}
        for index in indices:
            apart.setdefault(self._avoided.pop(call.requests[index].id, None), []).append(index)
        for avoid, some in apart.items():
            if avoid is None:
                self._queue.insert(at, Work(call, some))
            else:
                self._elsewhere.append(Work(call, some, avoid))

    def _avoid(self, connection: Connection, ids: Sequence[str]) -> None:
        """Remembers the requests that a live connection left without an answer."""
        if connection.core.retiring or connection.core.closed:
            return
        self._avoided.update(dict.fromkeys(ids, connection))
        while len(self._avoided) > _MOST_AVOIDED:
            del self._avoided[next(iter(self._avoided))]

    def _collect(self, connection: Connection) -> None:
        """Wakes the calls that are complete, and takes back requests that the server cannot have processed."""
        streams = connection.core.streams
        for call in streams.completed:
            cast("Call", call).finish()
        streams.completed.clear()
        if streams.lost:
            lost, streams.lost = streams.lost, []
            self._avoid(connection, lost)
        if streams.refused:
            self._take_back(connection)
        for call in self._calls:
            if call.freed:
                freed, call.freed = call.freed, []
                self._queue_up(call, freed)

    def _take_back(self, connection: Connection) -> None:
        """Puts requests that the server cannot have processed at the head of the queue, unless a new try would fail as well."""
        streams, reason = connection.core.streams, connection.core.reason
        refused, streams.refused = streams.refused, []
        lasting = reason is not None and not self._service.is_passing(reason)
        now = asyncio.get_running_loop().time()
        again: dict[Call, list[int]] = {}
        for batch, index, cause in refused:
            call = cast("Call", batch)
            tries = call.resent[index] = call.resent.get(index, 0) + 1
            if lasting or tries > _MAX_RESENDS or now >= call.ends:
                self._avoid(connection, [call.requests[index].id])
                call.give(index, NoAnswer("not_sent", cause))
            else:
                again.setdefault(call, []).append(index)
        for call, indices in again.items():
            self._queue.appendleft(Work(call, indices))
            self._waiting += len(indices)

    def _give_up(self, call: Call, cause: str) -> None:
        """Ends a call: requests in flight are lost, and waiting ones were never sent. Other calls get the room."""
        for connection in list(self._connections):
            connection.cancel(call, cause)
            self._collect(connection)
        self._give_back(NoAnswer("not_sent", self._trouble or cause), lambda each: each is call)
        self._pump()

    def _give_back(self, response: NoAnswer, chosen: Callable[[Call], bool]) -> None:
        """Ends the waiting requests of the chosen calls."""
        for call in [call for call in self._door if chosen(call)]:
            self._door.remove(call)
            Work(call, call.first()).give_all(response)
        for waiting in (self._queue, self._elsewhere):
            for work in [work for work in waiting if chosen(work.call)]:
                waiting.remove(work)
                self._waiting -= len(work.indices)
                work.give_all(response)

    def _changed(self, connection: Connection) -> None:
        """A connection has outcomes, or room, or has ended."""
        self._collect(connection)
        if connection.core.parting and not connection.judged:
            connection.judged = True
            self._give_up_after_two(connection)
        if connection.over.is_set() and connection in self._connections:
            self._connections.remove(connection)
            self._avoided = {each: of for each, of in self._avoided.items() if of is not connection}
            self._opener.ended(connection)
            if not connection.core.greeted:
                # The attempt failed in the end: in TLS 1.3 a certificate is refused after the client's handshake.
                cause = connection.core.closed or "connection lost"
                self._failed(ConnectError(cause, lasting=cause in CERTIFICATE_ALERTS))
        self._pump()

    def _give_up_after_two(self, connection: Connection) -> None:
        """Replaces a connection that refused every request. After a second one in a row the fault is not the connection's.

        Requests that wait with that token would get the same answer, one connection each.
        """
        token, reason = connection.authorization, connection.core.retiring or ""
        if connection.core.answered > connection.core.parting:
            self._refused_all = None
        elif self._refused_all == (token, reason):
            self._give_back(NoAnswer("not_sent", reason), lambda call: call.authorization == token)
        self._refused_all = (token, reason)

    def _grow(self) -> None:
        """Requests wait and no connection has room: opens one if there is none, or later if all stay full."""
        live = self._live()
        if any(each.checking for each in live):
            return
        if not live:
            self._opener.open()
        elif (
            self._growing is None
            and len(live) < self._max_connections
            and all(each.has_lasting_limits() for each in live)
        ):
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
        # No other connection can be opened, so the same one is used again.
        self._queue.extend(self._elsewhere)
        self._elsewhere.clear()
        if not self._live() and (error.lasting or self._opener.failures >= _PATIENCE):
            self._give_back(NoAnswer("not_sent", error.cause), lambda _: True)
        self._pump()


def _place(ahead: Collection[Call], call: Call) -> int:
    """Where a call belongs among these, which are in line."""
    return next((at for at, other in enumerate(ahead) if call.goes_before(other)), len(ahead))
