"""Sends the requests of a process: one event loop thread, shared by all task threads, and one transport for each route.

Everything but `send`, `stats` and `close` happens on that thread, so nothing in here needs a lock but the making of it. The
thread is made on first use and anew after a fork: neither a thread nor an event loop survives one.
"""

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for
from contextlib import suppress
from typing import Any, Final, Literal, TypeVar

from worker.core.model import NoAnswer, Response
from worker.core.responses import all_accepted
from worker.http2.client.batch import Request
from worker.sender.pool import Pool
from worker.sender.proxy import Proxy
from worker.sender.route import Route
from worker.sender.stats import SenderStats
from worker.sender.transport import Transport, TransportClosed

#: Makes the transport of a route. Called on the sender's thread.
Factory = Callable[[Any], Transport]

#: Seconds that requests in flight may take on a route that its last owner has left.
LEAVE_SECONDS: Final = 30.0
#: Seconds after a deadline at which a caller stops waiting.
GRACE: Final = 5.0
#: Seconds between two checks of whether the loop runs.
LOOK: Final = 0.5
#: Seconds between two heartbeats of the loop, and seconds without one after which it counts as stuck.
BEAT: Final = 0.5
STUCK: Final = 5.0
#: Seconds between two checks for unused connections.
SWEEP: Final = 10.0

log: Final = logging.getLogger(__name__)
T = TypeVar("T")


class Sender:
    """Sends batches over any route from any thread."""

    def __init__(self, factory: Factory | None = None, *, proxy: str | None = None, idle: float = 1_800.0) -> None:
        """`factory` makes other transports than a `Pool`.

        `proxy` is the URL of an HTTP proxy that opens tunnels; raises `ValueError` where it is none. After `idle` seconds
        without a request the connections of a route are closed.
        """
        tunnel = None if proxy is None else Proxy.parse(proxy)
        self._factory = factory or (lambda route: Pool(route.access(), proxy=tunnel))
        self._idle = idle
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False
        _senders.add(self)

    def send(
        self,
        route: Route,
        requests: Sequence[Request],
        *,
        authorization: str | None,
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
        owner: Hashable = None,
    ) -> list[Response]:
        """One response for each request, in their order; blocks for at most `deadline` seconds and a grace.

        `authorization`, `following` and `seen` as of `Transport`. `owner` uses one route at a time: when it comes with another,
        the one that it has left is closed, unless another owner uses it. Raises what `Route.access` does, and
        `TransportClosed` after `close`.
        """
        running = self._start()
        seen = [None] * len(requests) if seen is None else seen
        claim = _Claim()
        work = running.send(route, requests, authorization, deadline, following, seen, owner, claim)
        try:
            return running.wait(work, deadline + GRACE)
        except _LoopStuckError:
            self._replace(running)
            cause = "stuck"
        except TimeoutError:
            log.error("sender gave no answer within its deadline", extra={"route": repr(route)})
            cause = "stuck"
        except CancelledError:
            cause = "closed"
        # The loop has not begun this batch, and never will: this thread has the claim.
        sent: Literal["not_sent", "unknown"] = "not_sent" if claim.take() else "unknown"
        return [NoAnswer(sent, cause) if response is None else response for response in seen]

    def stats(self) -> SenderStats:
        running = self._running
        return SenderStats(0, 0, 0, 0, 0, 0) if running is None else running.stats()

    def close(self, drain: float = 5.0) -> None:
        """Takes nothing new, waits up to `drain` seconds for requests in flight, and ends the thread."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            running.stop(drain)

    def _start(self) -> "_Running":
        running = self._running
        if running is not None and running.is_alive():
            return running
        with self._lock:
            if self._closed:
                raise TransportClosed("the sender is closed")
            if self._running is not None and not self._running.is_alive():
                log.error("event loop of the sender has ended: another one is made")
                self._running = None
            if self._running is None:
                self._running = _Running(self._factory, self._idle)
            return self._running

    def _replace(self, running: "_Running") -> None:
        """The next batch gets a new loop. If the old one ever continues, it closes its connections and ends."""
        with self._lock:
            if self._running is not running:
                return
            self._running = None
        log.error("event loop of the sender is stuck: another one is made", extra={"stuck_seconds": STUCK})
        running.abandon()

    def _forget(self) -> None:
        """In the child of a fork: forgets the loop and the connections, which are the parent's."""
        if self._running is not None:
            _parents.append(self._running)
        self._running, self._lock = None, threading.Lock()


_senders: "weakref.WeakSet[Sender]" = weakref.WeakSet()
#: Kept so that garbage collection does not close the parent's sockets.
_parents: list["_Running"] = []


def _forget_all() -> None:
    for sender in list(_senders):
        sender._forget()  # noqa: SLF001 - the class's own fork handler


os.register_at_fork(after_in_child=_forget_all)


class _LoopStuckError(TimeoutError):
    """The loop had no heartbeat."""


class _Claim:
    """Who owns a batch: the loop that begins to send it, or the caller who gives up waiting for the loop."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def take(self) -> bool:
        """True for the first caller."""
        return self._taken.acquire(blocking=False)


class _Way:
    """The open transport of a route."""

    __slots__ = ("in_flight", "transport", "used_at")

    def __init__(self, transport: Transport, used_at: float) -> None:
        self.transport = transport
        #: Batches that are being sent, and the loop's time at which one last was.
        self.in_flight = 0
        self.used_at = used_at


class _Running:
    """The thread, its loop, and the transports that live on it."""

    def __init__(self, factory: Factory, idle: float) -> None:
        self._factory = factory
        self._idle = idle
        self._loop = _new_loop()
        #: Heartbeats so far.
        self._beats = 0
        #: When the next one is due, in seconds of the monotonic clock, and the seconds by which the last was late.
        self._beat_due = time.monotonic()
        self._late = 0.0
        self._swept_at = 0.0
        self._ways: dict[Route, _Way] = {}
        #: By owner: the route that it used last.
        self._uses: dict[Hashable, Route] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._in_flight = self._batches = self._answered = self._not_sent = self._unknown = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="carillon-sender", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs. One that is stuck does; one that ends closes its loop first."""
        return self._thread.is_alive() and not self._loop.is_closed()

    def abandon(self) -> None:
        """If the loop continues, it closes its connections and ends."""
        with suppress(RuntimeError):  # it is closed
            asyncio.run_coroutine_threadsafe(self._end(), self._loop)

    def wait(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """The result of work done on the loop's thread.

        Raises `TimeoutError`, `_LoopStuckError` if the loop had no heartbeat meanwhile, `CancelledError` if it ended.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise TransportClosed("the sender is closed") from None
        ends, beats, looks = time.monotonic() + seconds, self._beats, 0
        while not wait_for([future], LOOK).done:
            # Counts checks, not seconds: a frozen process makes no checks.
            beats, looks = (beats, looks + 1) if beats == self._beats else (self._beats, 0)
            stuck = looks * LOOK >= STUCK
            if stuck or time.monotonic() >= ends:
                future.cancel()
                raise _LoopStuckError if stuck else TimeoutError
        return future.result()

    async def send(
        self,
        route: Route,
        requests: Sequence[Request],
        authorization: str | None,
        deadline: float,
        following: Mapping[int, int] | None,
        seen: list[Response | None],
        owner: Hashable,
        claim: _Claim,
    ) -> list[Response]:
        if not claim.take():
            return []
        if self._closing:
            raise TransportClosed("the sender is closed")
        way = self._way(route, owner)
        way.in_flight += 1
        self._in_flight += len(requests)
        self._batches += 1
        try:
            responses = await way.transport.send(
                requests, authorization=authorization, deadline=deadline, seen=seen, following=following
            )
        finally:
            way.in_flight -= 1
            way.used_at = self._loop.time()
            self._in_flight -= len(requests)
        unanswered = [] if all_accepted(responses) else [each for each in responses if isinstance(each, NoAnswer)]
        unknown = sum(each.sent == "unknown" for each in unanswered)
        self._answered += len(responses) - len(unanswered)
        self._unknown += unknown
        self._not_sent += len(unanswered) - unknown
        return responses

    def stats(self) -> SenderStats:
        pools = [way.transport for way in list(self._ways.values()) if isinstance(way.transport, Pool)]
        return SenderStats(
            len(self._ways),
            self._in_flight,
            self._batches,
            self._answered,
            self._not_sent,
            self._unknown,
            sum(pool.connections for pool in pools),
            sum(pool.streams for pool in pools),
            max(self._late, time.monotonic() - self._beat_due, 0.0),
        )

    def stop(self, drain: float) -> None:
        try:
            self.wait(self._close_all(drain), drain + GRACE)
        except TimeoutError:
            log.warning("sender closed with connections that would not")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._beat)
        try:
            self._loop.run_forever()
        finally:
            # Callers that still wait get their responses now, not at the deadline.
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _beat(self) -> None:
        self._beats += 1
        beat_at = time.monotonic()
        self._late, self._beat_due = beat_at - self._beat_due, beat_at + BEAT
        self._loop.call_later(BEAT, self._beat)
        now = self._loop.time()
        if now - self._swept_at >= min(SWEEP, self._idle / 2):
            self._swept_at = now
            self._close_idle(now)

    def _close_idle(self, now: float) -> None:
        """Closes transports that nobody has used for long: the provider is quiet, or was removed."""
        for route in [r for r, way in self._ways.items() if not way.in_flight and now - way.used_at >= self._idle]:
            self._uses = {owner: used for owner, used in self._uses.items() if used != route}
            self._close(route)

    def _way(self, route: Route, owner: Hashable) -> _Way:
        way = self._ways.get(route)
        if way is None:
            way = self._ways[route] = _Way(self._factory(route), self._loop.time())
        before = self._uses.get(owner)
        if owner is not None and before != route:
            self._uses[owner] = route
            if before is not None:
                self._leave(before)
        return way

    def _leave(self, route: Route) -> None:
        """Closes a route that no owner uses any more; requests in flight finish there."""
        if route not in self._uses.values():
            self._close(route)

    def _close(self, route: Route) -> None:
        task = self._loop.create_task(self._ways.pop(route).transport.close(LEAVE_SECONDS))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _end(self) -> None:
        await self._close_all(drain=0.0)
        self._loop.stop()

    async def _close_all(self, drain: float) -> None:
        self._closing = True
        await asyncio.gather(*(way.transport.close(drain) for way in self._ways.values()), *self._leaving)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
