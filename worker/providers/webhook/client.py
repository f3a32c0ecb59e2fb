"""Sends batches to webhooks: one signed HTTPS POST for up to a hundred recipients, one response for each of them."""

import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

import httpcore

from worker.core.addresses import Network
from worker.core.model import ACCEPTED, HELD_UP, NoAnswer, Provider, Response
from worker.providers.base import Client, Proof, Sent, SettingsError
from worker.providers.webhook import answer, request
from worker.providers.webhook.request import Recipient
from worker.providers.webhook.settings import WebhookSettings, check_url
from worker.sender.guarded import (
    FAULTS,
    Deadline,
    ForbiddenAddress,
    GuardedBackend,
    Resolve,
    UnknownHost,
    new_pool,
    resolve,
)

#: The longest answer that is read, in bytes.
LARGEST_ANSWER: Final = 1024 * 1024
#: Requests of one batch in flight at once.
AT_ONCE: Final = 4
#: Seconds after a deadline at which a thread must be stuck (in the resolver), and the caller stops waiting.
GRACE: Final = 5.0
#: Seconds without use after which connections are closed: longer than a batch can last.
UNUSED: Final = 600.0
#: Connections kept open, and the seconds for which an idle one is.
_KEPT, _IDLE = 20, 30.0


class WebhookClient(Client):
    """`allowed` are networks that webhooks may be in although they are not public. `proxy`: the URL of an HTTP proxy."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        timeout: float = 10.0,
        proxy: str | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._timeout, self._deadline, self._proxy = timeout, Deadline(), proxy
        self._network = GuardedBackend(allowed, self._deadline, resolve)
        self._lock = threading.Lock()
        #: By the CA that they trust, the one that was used last at the end.
        self._pools: dict[str | None, _Pool] = {}

    def send(
        self,
        provider: Provider,
        requests: Sequence[Recipient],
        *,
        now: Callable[[], float],
        deadline: float = 0.0,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        """As of `Client`; blocks for at most its own timeout for each wave of requests, whatever `deadline` is."""
        responses: list[Response | None] = [None] * len(requests) if seen is None else seen
        pool = self._pool(provider.settings.ca)
        before = {after: place for place, after in (following or {}).items()}
        starts = range(0, len(requests), request.LARGEST_BATCH)
        at_once = min(1 if before else AT_ONCE, max(1, len(starts)))
        workers = ThreadPoolExecutor(at_once, thread_name_prefix="carillon-webhook")

        def post(start: int) -> None:
            places = []
            for place in range(start, min(start + request.LARGEST_BATCH, len(requests))):
                ahead = responses[before[place]] if place in before else None
                if ahead is None or ahead is ACCEPTED:
                    places.append(place)
                else:
                    responses[place] = HELD_UP
            answers = self._post(pool, provider, [requests[place] for place in places], now) if places else ()
            for place, response in zip(places, answers, strict=True):
                responses[place] = response

        try:
            pending = [workers.submit(post, start) for start in starts]
            for future in wait(pending, -(-len(starts) // at_once) * self._timeout + GRACE).done:
                future.result()
        finally:
            workers.shutdown(wait=False, cancel_futures=True)
        return Sent([one or NoAnswer("unknown", "stuck") for one in list(responses)])

    def prove(self, provider: Provider, *, deadline: float) -> Proof:
        """Checks only the address: a request would be a push to nobody, which the receiver would have to handle."""
        check_url(provider.settings.url)
        self.check_place(provider.settings.url)
        return Proof(True, "its host is where a webhook may be")

    def check_place(self, url: str) -> None:
        """Raises `SettingsError` unless the address of the URL's host is allowed now."""
        host, port = check_url(url)
        try:
            self._network.check(host, port)
        except UnknownHost:
            if self._proxy is None:
                raise SettingsError(
                    f"url: {host} does not resolve here; check its name and this machine's DNS"
                ) from None
        except ForbiddenAddress as fault:
            raise SettingsError(
                f"url: {host} is at {', '.join(sorted(fault.found))}, which is not public; if it is meant to be there, put its"
                " network into CARILLON_WEBHOOK_ALLOW, for the workers as well, such as CARILLON_WEBHOOK_ALLOW=10.20.0.0/16"
            ) from None

    def close(self) -> None:
        with self._lock:
            for pool in self._pools.values():
                pool.http.close()
            self._pools.clear()

    def _pool(self, ca: str | None) -> httpcore.ConnectionPool:
        with self._lock:
            pool = self._pools.pop(ca, None) or _Pool(self._new_pool(ca))
            pool.used_at = time.monotonic()
            self._pools[ca] = pool
            # Closes the connections of webhooks that were removed.
            while pool.used_at - (oldest := next(iter(self._pools.values()))).used_at > UNUSED:
                del self._pools[next(iter(self._pools))]
                oldest.http.close()
            return pool.http

    def _new_pool(self, ca: str | None) -> httpcore.ConnectionPool:
        return new_pool(_context(ca), self._network, proxy=self._proxy, kept=_KEPT, idle=_IDLE)

    def _post(
        self, pool: httpcore.ConnectionPool, provider: Provider, some: Sequence[Recipient], now: Callable[[], float]
    ) -> list[Response]:
        settings: WebhookSettings = provider.settings
        with self._deadline.within(self._timeout):
            if self._proxy is not None:
                # The proxy connects, so only the addresses that this machine knows can be checked.
                try:
                    self._network.check_known(*check_url(settings.url))
                except ForbiddenAddress as fault:
                    return [_no_answer(fault)] * len(some)
            return _answers(pool, provider, some, now)


def _context(ca: str | None) -> ssl.SSLContext:
    """TLS with Python's defaults, but a common name alone is not accepted. Raises `SettingsError`."""
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, TypeError):
        raise SettingsError("ca: not the PEM text of a certificate") from None
    context.hostname_checks_common_name = False
    return context


@dataclass
class _Pool:
    http: httpcore.ConnectionPool
    #: In seconds of the monotonic clock.
    used_at: float = 0.0


def _answers(
    pool: httpcore.ConnectionPool, provider: Provider, some: Sequence[Recipient], now: Callable[[], float]
) -> list[Response]:
    batch = request.batch_id(some)
    content = request.body(provider, batch, some)
    headers = request.headers(provider, batch, content, int(now()))
    try:
        status, body, retry_after = _asked(pool, provider.settings.url, content, headers)
    except FAULTS as fault:
        return [_no_answer(fault)] * len(some)
    if status == 413 and len(some) > 1:  # what is too much at once may be taken in halves
        half = len(some) // 2
        return _answers(pool, provider, some[:half], now) + _answers(pool, provider, some[half:], now)
    return answer.read(status, body, retry_after, some, now())


def _asked(
    pool: httpcore.ConnectionPool, url: str, content: bytes, headers: dict[str, str]
) -> tuple[int, bytes | None, str | None]:
    """Status, body (None: too large) and Retry-After. The body is not decompressed."""
    given = [
        *headers.items(),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "carillon"),
    ]
    with pool.stream("POST", url, content=content, headers=given) as response:
        retry_after = next(
            (value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after"), None
        )
        read = bytearray()
        for piece in response.iter_stream():
            read += piece
            if len(read) > LARGEST_ANSWER:
                return response.status, None, retry_after
        return response.status, bytes(read), retry_after


def _no_answer(fault: Exception) -> NoAnswer:
    """`not_sent` only if the fault came before the request was written, because only then it has certainly not arrived."""
    if isinstance(fault, ForbiddenAddress):
        return NoAnswer("not_sent", "forbidden_address")
    if isinstance(fault, httpcore.ConnectTimeout):
        return NoAnswer("not_sent", "connect_timeout")
    if isinstance(fault, httpcore.ConnectError):
        return NoAnswer("not_sent", _why(fault))
    if isinstance(fault, httpcore.ProxyError):
        return NoAnswer("not_sent", "proxy")
    if isinstance(fault, httpcore.TimeoutException):
        return NoAnswer("unknown", "timeout")
    return NoAnswer("unknown", "protocol" if isinstance(fault, httpcore.ProtocolError) else "connection_lost")


def _why(fault: httpcore.ConnectError) -> str:
    if isinstance(fault, UnknownHost):
        return "dns"
    cause = fault.__cause__ or fault.__context__
    return "certificate" if isinstance(cause, ssl.SSLCertVerificationError) else "connect_failed"
