"""Sends over HTTP/1.1, to a push service that speaks nothing newer: one request a connection, several connections at once."""

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from ssl import SSLCertVerificationError
from typing import Final

import httpcore

from worker.core.model import ACCEPTED, HELD_UP, NoAnswer, Response
from worker.providers.web.answers import fields as wanted
from worker.providers.web.answers import read_answer
from worker.providers.web.form import Encrypted
from worker.providers.web.outcome import FORBIDDEN_ADDRESS
from worker.providers.web.route import Simulator, tls_context
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

#: Requests of one batch in flight at once.
AT_ONCE: Final = 16
#: The longest answer that is read, in octets.
LARGEST_ANSWER: Final = 64 * 1024
#: Seconds beyond a deadline after which a thread itself must be stuck, and a caller is let go.
GRACE: Final = 5.0
#: Connections kept open, and the seconds for which an idle one is.
_KEPT, _IDLE = 16, 30.0


class Http1:
    """Sends to the hosts behind one simulator, or to the real ones, through `proxy` where there is one. Thread-safe."""

    def __init__(self, simulator: Simulator | None, resolve: Resolve = resolve, *, proxy: str | None = None) -> None:
        self._deadline, self._simulator, self._proxy = Deadline(), simulator, proxy
        network = GuardedBackend((), self._deadline, resolve)
        self._network = network if simulator is None else network.anywhere()
        self._pool = new_pool(tls_context(simulator), self._network, proxy=proxy, kept=_KEPT, idle=_IDLE)

    def send(
        self,
        host: str,
        requests: Sequence[Encrypted],
        *,
        authorization: str,
        deadline: float,
        following: Mapping[int, int],
        responses: list[Response | None],
    ) -> None:
        """Fills in a response for each request; blocks for `deadline` seconds and a grace at most."""
        ends = time.monotonic() + deadline
        workers = ThreadPoolExecutor(min(AT_ONCE, len(requests)), thread_name_prefix="carillon-web")

        def post(chain: Sequence[int]) -> None:
            before: Response = ACCEPTED
            for place in chain:
                left = ends - time.monotonic()
                if before is not ACCEPTED:
                    before = HELD_UP
                elif left <= 0:
                    before = NoAnswer("not_sent", "deadline")
                else:
                    before = self._post(host, requests[place], authorization, left)
                responses[place] = before

        try:
            pending = [workers.submit(post, chain) for chain in _chains(len(requests), following)]
            for future in wait(pending, deadline + GRACE).done:
                future.result()
        finally:
            workers.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        self._pool.close()

    def _post(self, host: str, request: Encrypted, authorization: str, left: float) -> Response:
        own = ("ttl", str(request.life)), ("topic", request.topic), ("authorization", authorization)
        given = [("host", host), *own, *request.shared, ("user-agent", "carillon")]
        at, port = (host, 443) if self._simulator is None else (self._simulator.host, self._simulator.port)
        url = httpcore.URL(scheme="https", host=at, port=port, target=request.path)
        try:
            with self._deadline.within(left):
                if self._proxy is not None:
                    self._network.check_known(at, port)
                with self._pool.stream("POST", url, content=request.payload, headers=given) as response:
                    fields = {
                        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
                    }
                    body = _read(response.iter_stream())
        except FAULTS as fault:
            return _no_answer(fault, "connect" if self._proxy is None else "proxy")
        return read_answer(response.status, {name: fields[name] for name in wanted if name in fields}, body)


def _chains(count: int, following: Mapping[int, int]) -> Iterable[list[int]]:
    """The places of requests that go one after the other."""
    later = set(following.values())
    for place in range(count):
        if place not in later:
            chain = [place]
            while (after := following.get(chain[-1])) is not None:
                chain.append(after)
            yield chain


def _read(pieces: Iterable[bytes]) -> bytes:
    """A body, or its beginning: what is longer is no answer of a push service, and its connection is closed."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > LARGEST_ANSWER:
            break
    return bytes(body)


def _no_answer(fault: Exception, first: str) -> NoAnswer:
    """By what is certain: only what failed before the request was written has certainly not arrived.

    `first`: what is connected to first, for causes.
    """
    if isinstance(fault, ForbiddenAddress):
        return NoAnswer("not_sent", FORBIDDEN_ADDRESS)
    if isinstance(fault, httpcore.ConnectTimeout):
        return NoAnswer("not_sent", f"{first}: timed out")
    if isinstance(fault, UnknownHost):
        return NoAnswer("not_sent", f"{first}: host not found")
    if isinstance(fault, httpcore.ProxyError):
        return NoAnswer("not_sent", "proxy: opens no tunnel")
    if isinstance(fault, httpcore.ConnectError):
        untrusted = isinstance(fault.__cause__ or fault.__context__, SSLCertVerificationError)
        return NoAnswer("not_sent", "connect: certificate not trusted" if untrusted else f"{first}: failed")
    return NoAnswer("unknown", "deadline" if isinstance(fault, httpcore.TimeoutException) else "connection lost")
