"""The process's way out to APNs: one event loop thread, shared by all task threads, one transport for each host and credential.

Everything but `send`, `stats` and `close` happens on that thread, so nothing in here needs a lock but the making of it. The
thread is made on first use and anew after a fork: neither a thread nor an event loop survives one.
"""

import asyncio
import logging
import os
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple, TypeVar

from worker.core.model import Environment, NoAnswer, Notification, Provider, Response
from worker.providers.apns.certificate import Certificate
from worker.providers.apns.proxy import Proxy
from worker.providers.apns.route import Route
from worker.providers.apns.settings import ApnsSettings
from worker.providers.apns.transport import Endpoint, Transport, TransportClosed

#: Makes the transport to an endpoint. Called on the sender's thread.
Factory = Callable[[Endpoint, ssl.SSLContext], Transport]

#: Seconds that the requests in flight to a host or credential that a provider has left may take.
LEAVE_SECONDS: Final = 30.0
#: Seconds beyond a deadline after which a caller is let go.
GRACE: Final = 5.0
#: Seconds between two looks at whether the loop lives.
LOOK: Final = 0.5
#: Seconds between two signs of life of the loop, and seconds without one after which it counts as stuck.
BEAT: Final = 0.5
STUCK: Final = 5.0
#: Seconds between two looks for connections that nobody uses.
SWEEP: Final = 10.0
#: Days before a certificate expires from which on the log says so once a day.
EXPIRY_DAYS: Final = 30
_DAY: Final = 86_400.0

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
        idle: float = 1_800.0,
    ) -> None:
        """`factory` stands in for `transport`; `connections` holds per host and credential.

        `proxy` is the URL of an HTTP proxy that opens tunnels; raises `ValueError` where it is none. After `idle` seconds
        without a notification the connections of a host and credential are closed.
        """
        self._factory = factory or _factory(transport, connections, proxy)
        self._idle = idle
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
        claim = _Claim()
        work = running.send(provider, notifications, authorization, deadline, following, seen, claim)
        try:
            return running.wait(work, deadline + GRACE)
        except _LoopStuckError:
            self._replace(running)
            cause = "stuck"
        except TimeoutError:
            log.error(
                "sender gave no answer within its deadline", extra={"app": provider.app, "provider": provider.name}
            )
            cause = "stuck"
        except CancelledError:
            cause = "closed"
        # What the loop has not begun it will never begin: this thread has the claim.
        sent: Literal["not_sent", "unknown"] = "not_sent" if claim.take() else "unknown"
        return [NoAnswer(sent, cause) if response is None else response for response in seen]

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
        """The next batch gets a new loop. The old one, should it ever go on, closes its connections and ends."""
        with self._lock:
            if self._running is not running:
                return
            self._running = None
        log.error("event loop of the sender is stuck: another one is made", extra={"stuck_seconds": STUCK})
        running.abandon()

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


class _LoopStuckError(TimeoutError):
    """The loop showed no sign of life."""


class _Claim:
    """Who has a batch: the loop that begins to send it, or a caller who gives up on a loop that does not."""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def take(self) -> bool:
        """True for the first who asks."""
        return self._taken.acquire(blocking=False)


class _Way:
    """An open way to APNs."""

    __slots__ = ("certificate", "in_flight", "transport", "used_at")

    def __init__(self, transport: Transport, certificate: Certificate | None, used_at: float) -> None:
        self.transport = transport
        self.certificate = certificate
        #: Batches that are being sent, and the loop's time at which one last was.
        self.in_flight = 0
        self.used_at = used_at


class _Use(NamedTuple):
    """How a provider uses a way, as it was last seen."""

    route: Route
    topic: str
    environment: Environment


class _Running:
    """The thread, its loop, and the transports that live on it."""

    def __init__(self, factory: Factory, idle: float) -> None:
        self._factory = factory
        self._idle = idle
        self._loop = _new_loop()
        #: Signs of life so far.
        self._beats = 0
        self._swept_at = 0.0
        #: By provider: the UNIX time from which on the log may speak of its certificate's end again.
        self._warn_from: dict[int, float] = {}
        self._ways: dict[Route, _Way] = {}
        self._uses: dict[int, _Use] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._in_flight = self._batches = self._answered = self._not_sent = self._unknown = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="carillon-apns", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs. One that is stuck does; one that ends closes its loop first."""
        return self._thread.is_alive() and not self._loop.is_closed()

    def abandon(self) -> None:
        """Should the loop go on after all, it closes its connections and ends."""
        with suppress(RuntimeError):  # it is closed
            asyncio.run_coroutine_threadsafe(self._end(), self._loop)

    def wait(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """The result of work done on the loop's thread.

        Raises `TimeoutError`, `_LoopStuckError` where the loop shows no sign of life meanwhile, `CancelledError` where it ended.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed
            work.close()
            raise TransportClosed("the sender is closed") from None
        ends, beats, looks = time.monotonic() + seconds, self._beats, 0
        while not wait_for([future], LOOK).done:
            # Looks are counted, not seconds: a process that was frozen has not looked.
            beats, looks = (beats, looks + 1) if beats == self._beats else (self._beats, 0)
            stuck = looks * LOOK >= STUCK
            if stuck or time.monotonic() >= ends:
                future.cancel()
                raise _LoopStuckError if stuck else TimeoutError
        return future.result()

    async def send(
        self,
        provider: Provider,
        notifications: Sequence[Notification],
        authorization: str | None,
        deadline: float,
        following: Mapping[int, int] | None,
        seen: list[Response | None],
        claim: _Claim,
    ) -> list[Response]:
        if not claim.take():
            return []
        if self._closing:
            raise TransportClosed("the sender is closed")
        way = self._way(provider)
        way.in_flight += 1
        self._in_flight += len(notifications)
        self._batches += 1
        try:
            responses = await way.transport.send(
                notifications, authorization=authorization, deadline=deadline, seen=seen, following=following
            )
        finally:
            way.in_flight -= 1
            way.used_at = self._loop.time()
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
        self._loop.call_soon(self._beat)
        try:
            self._loop.run_forever()
        finally:
            # Whoever still waits for an answer shall not wait out the deadline.
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def _beat(self) -> None:
        self._beats += 1
        self._loop.call_later(BEAT, self._beat)
        now = self._loop.time()
        if now - self._swept_at >= min(SWEEP, self._idle / 2):
            self._swept_at = now
            self._close_idle(now)

    def _close_idle(self, now: float) -> None:
        """What nobody has used for long is closed: its provider is quiet, or was removed."""
        for route in [r for r, way in self._ways.items() if not way.in_flight and now - way.used_at >= self._idle]:
            self._uses = {provider: use for provider, use in self._uses.items() if use.route != route}
            self._close(route)

    def _way(self, provider: Provider) -> _Way:
        settings: ApnsSettings = provider.settings
        use = _Use(Route.of(provider), settings.topic, provider.environment)
        before = self._uses.get(provider.id)
        if before == use:
            way = self._ways[use.route]
        else:
            way = self._ways.get(use.route) or self._open(use)
            if way.certificate is not None:
                way.certificate.check(use.topic, use.environment)
            self._uses[provider.id] = use
            if before is not None:
                self._leave(before.route)
        if way.certificate is not None:
            self._look_at_expiry(way.certificate, provider)
        return way

    def _look_at_expiry(self, certificate: Certificate, provider: Provider) -> None:
        """Raises `CertificateExpired`; logs a warning beforehand, once a day and provider."""
        now = datetime.now(UTC)
        certificate.check_expiry(now)
        days = certificate.days_left(now)
        if days < EXPIRY_DAYS and now.timestamp() >= self._warn_from.get(provider.id, 0.0):
            self._warn_from[provider.id] = now.timestamp() + _DAY
            log.warning(
                "push certificate expires soon: make another one at developer.apple.com and store it with carillon push apn",
                extra={"app": provider.app, "provider": provider.name, "expires": f"{certificate.expires_at:%Y-%m-%d}"}
                | {"days": int(days)},
            )

    def _open(self, use: _Use) -> _Way:
        access = use.route.access()
        if access.certificate is not None:
            access.certificate.check(use.topic, use.environment)
        transport = self._factory(access.endpoint, access.context)
        way = self._ways[use.route] = _Way(transport, access.certificate, self._loop.time())
        return way

    def _leave(self, route: Route) -> None:
        """Nothing new goes where no provider goes any more; what is in flight finishes there."""
        if any(use.route == route for use in self._uses.values()):
            return
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


def _factory(transport: Literal["http2", "httpx"], connections: int, proxy: str | None) -> Factory:
    """The one place that names the transports; each is imported only where it is used."""
    if transport == "httpx":
        from worker.providers.apns.httpx_transport import HttpxTransport  # noqa: PLC0415 - half of the import time of a worker

        return lambda endpoint, context: HttpxTransport(endpoint, context, lanes=connections, proxy=proxy)
    from worker.providers.apns.pool import Pool  # noqa: PLC0415

    tunnel = None if proxy is None else Proxy.parse(proxy)
    return lambda endpoint, context: Pool(endpoint, ssl_context=context, max_connections=connections, proxy=tunnel)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
