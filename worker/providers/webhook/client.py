"""Sends batches to webhooks: one signed HTTPS POST for up to a hundred recipients, one response for each of them."""

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpcore
import httpx

from worker.core import webhook, webhook_answer
from worker.core.addresses import Network
from worker.core.model import ACCEPTED, HELD_UP, NoAnswer, Provider, Response
from worker.core.webhook import Recipient
from worker.providers.webhook.backend import Deadline, ForbiddenAddress, GuardedBackend, Resolve, UnknownHost, resolve
from worker.providers.webhook.transport import GuardedTransport

log = logging.getLogger(__name__)

#: The longest answer that is read, in bytes.
LARGEST_ANSWER: Final = 1024 * 1024
#: Requests of one batch in flight at once.
AT_ONCE: Final = 4
#: Seconds beyond a deadline after which a thread itself must be stuck (in the resolver), and a caller is let go.
GRACE: Final = 5.0
#: Seconds after which what no webhook needed is closed: longer than a batch can last.
UNUSED: Final = 600.0


class WebhookClient:
    """For any provider from any thread. `allowed` are networks that webhooks may be in although they are not public."""

    def __init__(self, allowed: Sequence[Network] = (), *, timeout: float = 10.0, resolve: Resolve = resolve) -> None:
        self._timeout, self._deadline = timeout, Deadline()
        self._network = GuardedBackend(allowed, self._deadline, resolve)
        self._lock = threading.Lock()
        #: By the CA that they trust, the one that was used last at the end.
        self._clients: dict[str | None, _Client] = {}

    def send(
        self,
        provider: Provider,
        recipients: Sequence[Recipient],
        *,
        now: Callable[[], float],
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> list[Response]:
        """One response for each recipient, in their order; blocks for at most the timeout for each wave of requests.

        `now` gives UNIX seconds. `following`: the place of a recipient -> that of the one which follows it in the same request
        or a later one, and is `HELD_UP` where it was not accepted by then. `seen`, a None for each recipient, is filled as
        responses come, for other threads to look at. Raises `ValueError` where the provider's secrets or CA cannot be used.
        """
        responses: list[Response | None] = [None] * len(recipients) if seen is None else seen
        client = self._client(provider.ca)
        before = {after: place for place, after in (following or {}).items()}
        starts = range(0, len(recipients), webhook.LARGEST_BATCH)
        at_once = min(1 if before else AT_ONCE, max(1, len(starts)))
        workers = ThreadPoolExecutor(at_once, thread_name_prefix="carillon-webhook")

        def post(start: int) -> None:
            places = []
            for place in range(start, min(start + webhook.LARGEST_BATCH, len(recipients))):
                ahead = responses[before[place]] if place in before else None
                if ahead is None or ahead is ACCEPTED:
                    places.append(place)
                else:
                    responses[place] = HELD_UP
            answers = self._post(client, provider, [recipients[place] for place in places], now) if places else ()
            for place, response in zip(places, answers, strict=True):
                responses[place] = response

        try:
            pending = [workers.submit(post, start) for start in starts]
            for future in wait(pending, -(-len(starts) // at_once) * self._timeout + GRACE).done:
                future.result()
        finally:
            workers.shutdown(wait=False, cancel_futures=True)
        return [one or NoAnswer("unknown", "stuck") for one in list(responses)]

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.http.close()
            self._clients.clear()

    def _client(self, ca: str | None) -> httpx.Client:
        with self._lock:
            client = self._clients.pop(ca, None) or _Client(self._made(ca))
            client.used_at = time.monotonic()
            self._clients[ca] = client
            # Webhooks come and go: connections of one that is gone are closed.
            while client.used_at - (oldest := next(iter(self._clients.values()))).used_at > UNUSED:
                del self._clients[next(iter(self._clients))]
                oldest.http.close()
            return client.http

    def _made(self, ca: str | None) -> httpx.Client:
        return httpx.Client(
            transport=GuardedTransport(_context(ca), self._network),
            # One client is for the webhooks of many companies: it keeps nothing of what a server says.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=False,
            follow_redirects=False,
            timeout=self._timeout,
        )

    def _post(
        self, client: httpx.Client, provider: Provider, some: Sequence[Recipient], now: Callable[[], float]
    ) -> list[Response]:
        with self._deadline.within(self._timeout):
            return _answers(client, provider, some, now)


def _context(ca: str | None) -> ssl.SSLContext:
    """TLS as Python recommends it, but no server is known by its common name alone. Raises `ValueError` for a CA that is none."""
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, TypeError):
        raise ValueError("ca: not the PEM text of a certificate") from None
    context.hostname_checks_common_name = False
    return context


@dataclass
class _Client:
    http: httpx.Client
    #: In seconds of the monotonic clock.
    used_at: float = 0.0


def _answers(
    client: httpx.Client, provider: Provider, some: Sequence[Recipient], now: Callable[[], float]
) -> list[Response]:
    batch = webhook.batch_id(some)
    content = webhook.body(provider, batch, some)
    headers = webhook.headers(provider, batch, content, int(now()))
    try:
        status, answer, retry_after = _asked(client, provider.url, content, headers)
    except _FAULTS as fault:
        return [_no_answer(fault)] * len(some)
    if status == 413 and len(some) > 1:  # what is too much at once may be taken in halves
        half = len(some) // 2
        return _answers(client, provider, some[:half], now) + _answers(client, provider, some[half:], now)
    return webhook_answer.read(status, answer, retry_after, some, now())


def _asked(
    client: httpx.Client, url: str, content: bytes, headers: dict[str, str]
) -> tuple[int, bytes | None, str | None]:
    """Status, body (None: too large) and Retry-After. The body is taken as it comes: nothing is unpacked."""
    headers = headers | {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "carillon"}
    with client.stream("POST", url, content=content, headers=headers) as response:
        read = bytearray()
        for piece in response.iter_raw():
            read += piece
            if len(read) > LARGEST_ANSWER:
                return response.status_code, None, response.headers.get("retry-after")
        return response.status_code, bytes(read), response.headers.get("retry-after")


_FAULTS: Final = (ForbiddenAddress, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError)


def _no_answer(fault: Exception) -> NoAnswer:
    """By what is certain: only what failed before the request was written has certainly not arrived."""
    if isinstance(fault, ForbiddenAddress):
        return NoAnswer("not_sent", "forbidden_address")
    if isinstance(fault, httpcore.ConnectTimeout):
        return NoAnswer("not_sent", "connect_timeout")
    if isinstance(fault, httpcore.ConnectError):
        return NoAnswer("not_sent", _why(fault))
    if isinstance(fault, httpcore.TimeoutException):
        return NoAnswer("unknown", "timeout")
    return NoAnswer("unknown", "protocol" if isinstance(fault, httpcore.ProtocolError) else "connection_lost")


def _why(fault: httpcore.ConnectError) -> str:
    if isinstance(fault, UnknownHost):
        return "dns"
    cause = fault.__cause__ or fault.__context__
    return "certificate" if isinstance(cause, ssl.SSLCertVerificationError) else "connect_failed"
