"""The process's way out to APNs: one event loop thread, shared by all task threads, one transport for each host and credential.

Everything but `send`, `stats` and `close` happens on that thread, so nothing in here needs a lock but the making of it. The
thread is made on first use and anew after a fork: neither a thread nor an event loop survives one.
"""

import asyncio
import logging
import os
import ssl
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, Final, Literal, NamedTuple, TypeVar

from worker.apns.certificate import Certificate
from worker.apns.route import Route
from worker.apns.transport import Endpoint, Transport, TransportClosed
from worker.core.model import Environment, NoAnswer, Notification, Provider, Response

#: Makes the transport to an endpoint. Called on the sender's thread.
Factory = Callable[[Endpoint, ssl.SSLContext], Transport]

#: Seconds that the requests in flight to a host or credential that a provider has left may take.
LEAVE_SECONDS: Final = 30.0
#: Seconds beyond a deadline after which the loop itself must be stuck, and a caller is let go.
GRACE: Final = 5.0

log: Final = logging.getLogger(__name__)
T = TypeVar("T")


class SenderStats(NamedTuple):
    """Counts since the sender's thread started."""

    #: Open now.
    transports: int
    #: Notifications handed in and not answered yet.
    in_flight: int
    batches: int
    answered: int
    not_sent: int
    unknown: int


class Sender:
    """Sends batches for any provider from any thread."""

    def __init__(
        self,
        factory: Factory | None = None,
        *,
        transport: Literal["http2", "httpx"] = "http2",
        connections: int = 4,
        proxy: str | None = None,
    ) -> None:
        """`factory` stands in for `transport`; `proxy` is for httpx alone; `connections` holds per host and credential."""
        self._factory = factory or _factory(transport, connections, proxy)
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False
        _senders.add(self)

    def send(
        self,
        provider: Provider,
        notifications: Sequence[Notification],
        *,
        authorization: str | None,
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> list[Response]:
        """One response for each notification, in their order; blocks for at most `deadline` seconds and a grace.

        `authorization` is the provider token, None with a certificate. `following` and `seen` as of `Transport`. Raises
        `CertificateError` where the provider's certificate or CA cannot be used for what it is to send, `TransportClosed`
        after `close`.
        """
        running = self._start()
        seen = [None] * len(notifications) if seen is None else seen
        work = running.send(provider, notifications, authorization, deadline, following, seen)
        try:
            return running.wait(work, deadline + GRACE)
        except TimeoutError:
            log.error("event loop of the sender is stuck: restart this worker")
            return [one or NoAnswer("unknown", "stuck") for one in seen]
        except CancelledError:
            return [one or NoAnswer("unknown", "closed") for one in seen]

    def stats(self) -> SenderStats:
        running = self._running
        return SenderStats(0, 0, 0, 0, 0, 0) if running is None else running.stats()

    def close(self, drain: float = 5.0) -> None:
        """Takes nothing new, lets what is in flight finish for up to `drain` seconds, and ends the thread."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            running.stop(drain)

    def _start(self) -> "_Running":
        running = self._running
        if running is not None:
            return running
        with self._lock:
            if self._closed:
                raise TransportClosed("the sender is closed")
            if self._running is None:
                self._running = _Running(self._factory)
            return self._running

    def _forget(self) -> None:
        """In the child of a fork: the parent's loop is not ours to run, and its connections are not ours to close."""
        if self._running is not None:
            _parents.append(self._running)
        self._running, self._lock = None, threading.Lock()


_senders: "weakref.WeakSet[Sender]" = weakref.WeakSet()
#: Kept so that no collector closes sockets that are the parent's.
_parents: list["_Running"] = []


def _forget_all() -> None:
    for sender in list(_senders):
        sender._forget()  # noqa: SLF001 - the class's own fork handler


os.register_at_fork(after_in_child=_forget_all)


class _Way(NamedTuple):
    """An open way to APNs."""

    transport: Transport
    certificate: Certificate | None


class _Use(NamedTuple):
    """How a provider uses a way, as it was last seen."""

    route: Route
    topic: str
    environment: Environment


class _Running:
    """The thread, its loop, and the transports that live on it."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._loop = _new_loop()
        self._ways: dict[Route, _Way] = {}
        self._uses: dict[int, _Use] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._in_flight = self._batches = self._answered = self._not_sent = self._unknown = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="carillon-apns", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """The result of work done on the loop's thread, or `TimeoutError`; `CancelledError` where the loop ended first."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise TransportClosed("the sender is closed") from None
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    async def send(
        self,
        provider: Provider,
        notifications: Sequence[Notification],
        authorization: str | None,
        deadline: float,
        following: Mapping[int, int] | None,
        seen: list[Response | None],
    ) -> list[Response]:
        if self._closing:
            raise TransportClosed("the sender is closed")
        transport = self._transport(provider)
        self._in_flight += len(notifications)
        self._batches += 1
        try:
            responses = await transport.send(
                notifications, authorization=authorization, deadline=deadline, seen=seen, following=following
            )
        finally:
            self._in_flight -= len(notifications)
        for response in responses:
            if not isinstance(response, NoAnswer):
                self._answered += 1
            elif response.sent == "unknown":
                self._unknown += 1
            else:
                self._not_sent += 1
        return responses

    def stats(self) -> SenderStats:
        return SenderStats(
            len(self._ways), self._in_flight, self._batches, self._answered, self._not_sent, self._unknown
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
        self._loop.run_forever()
        # Whoever still waits for an answer shall not wait out the deadline.
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _transport(self, provider: Provider) -> Transport:
        use = _Use(Route.of(provider), provider.topic, provider.environment)
        before = self._uses.get(provider.id)
        if before == use:
            return self._ways[use.route].transport
        way = self._ways.get(use.route) or self._open(use.route)
        if way.certificate is not None:
            way.certificate.check(provider.topic, provider.environment)
        self._uses[provider.id] = use
        if before is not None:
            self._leave(before.route)
        return way.transport

    def _open(self, route: Route) -> _Way:
        access = route.access()
        way = self._ways[route] = _Way(self._factory(access.endpoint, access.context), access.certificate)
        return way

    def _leave(self, route: Route) -> None:
        """Nothing new goes where no provider goes any more; what is in flight finishes there."""
        if any(use.route == route for use in self._uses.values()):
            return
        task = self._loop.create_task(self._ways.pop(route).transport.close(LEAVE_SECONDS))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _close_all(self, drain: float) -> None:
        self._closing = True
        await asyncio.gather(*(way.transport.close(drain) for way in self._ways.values()), *self._leaving)


def _factory(transport: Literal["http2", "httpx"], connections: int, proxy: str | None) -> Factory:
    """The one place that names the transports; each is imported only where it is used."""
    if transport == "httpx":
        from worker.apns.httpx_transport import HttpxTransport  # noqa: PLC0415 - half of the import time of a worker

        return lambda endpoint, context: HttpxTransport(endpoint, context, lanes=connections, proxy=proxy)
    from worker.apns.pool import Pool  # noqa: PLC0415

    return lambda endpoint, context: Pool(endpoint, ssl_context=context, max_connections=connections)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
