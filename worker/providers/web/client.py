"""What a process holds for its Web Push providers: connections to push services, and the proofs of sender.

Messages are encrypted here, in the thread of the delivery, just before they go: nobody else opens a subscription's keys.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from worker.core.model import SEALED, Answer, NoAnswer, Provider, Response
from worker.core.receiver_keys import unpack
from worker.providers.base import Client, Proof, Sent
from worker.providers.web.advice import advice
from worker.providers.web.encryption import encrypt, salts
from worker.providers.web.endpoint import host_of, is_known
from worker.providers.web.form import Encrypted
from worker.providers.web.http1 import Http1
from worker.providers.web.outcome import FORBIDDEN_HOST
from worker.providers.web.render import SHORT, Push
from worker.providers.web.request import life, shared_fields
from worker.providers.web.route import Simulator, WebRoute
from worker.providers.web.settings import WebSettings
from worker.providers.web.throttles import Throttles
from worker.providers.web.vapid import Tokens
from worker.sender.causes import ALERT, NO_HTTP2
from worker.sender.proxy import Proxy
from worker.sender.reach import fault_of
from worker.sender.sender import Sender
from worker.sender.stats import SenderStats

#: Messages that one thread encrypts before another may: some milliseconds.
PIECE: Final = 32
#: Seconds for which a push service counts as one without HTTP/2.
OLD: Final = 3_600.0
#: Seconds without a push after which the connections to a push service are closed.
IDLE: Final = 600.0
T = TypeVar("T")
_NO_HTTP2: Final = frozenset((NO_HTTP2, f"{ALERT}no_application_protocol"))
#: One host of each service that has a fixed one.
_PROVEN: Final = ("fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com")


class WebClient(Client):
    """`unseal` opens the keys of a subscription; `hosts` are those of push services, as of `endpoint.canonical`.

    `proxy`: the URL of an HTTP proxy.
    """

    def __init__(self, *, unseal: Callable[[str], str | None], hosts: Sequence[str], proxy: str | None = None) -> None:
        self._unseal, self._hosts, self._proxy = unseal, tuple(hosts), proxy
        self._tokens, self._throttles = Tokens(), Throttles()
        self._sender = Sender(proxy=proxy, idle=IDLE)
        self._lock = threading.Lock()
        #: Encryption holds the interpreter: threads that do it at once only take it from each other.
        self._encrypting = threading.Lock()
        self._http1: dict[Simulator | None, Http1] = {}
        #: By route: until when it is one without HTTP/2, in seconds of the monotonic clock.
        self._old: dict[WebRoute, float] = {}

    def send(
        self,
        provider: Provider,
        requests: Sequence[Push],
        *,
        now: Callable[[], float],
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        responses: list[Response | None] = [None] * len(requests) if seen is None else seen
        by_host: dict[str, dict[int, Push]] = {}
        for place, push in enumerate(requests):
            by_host.setdefault(host_of(push.endpoint), {})[place] = push
        for host, pushes in by_host.items():
            if is_known(host, self._hosts):
                self._send(_Part(provider.settings, host, now, deadline, following or {}, responses), pushes)
            else:
                _fill(responses, dict.fromkeys(pushes, NoAnswer("not_sent", FORBIDDEN_HOST)))
        return Sent([one or NoAnswer("unknown", "stuck") for one in responses])

    def prove(self, provider: Provider, *, deadline: float) -> Proof:
        """Only a push tells whether a service takes the key: it is signed with, and the services are connected to."""
        settings: WebSettings = provider.settings
        self._tokens.authorization(settings, _PROVEN[0], time.time())
        simulator = Simulator.of(settings)
        hosts = _PROVEN if simulator is None else (simulator.host,)
        faults = asyncio.run(self._faults([self._route(host, simulator) for host in hosts], deadline))
        unreachable = [f"{host} ({fault})" for host, fault in zip(hosts, faults, strict=True) if fault]
        if unreachable:
            to_do = advice(NoAnswer("not_sent", next(filter(None, faults))), provider)
            return Proof(False, f"not reachable: {', '.join(unreachable)}; {to_do}")
        return Proof(
            True, f"its key signs, and {', '.join(hosts)} can be reached; whether they take the key, only a push shows"
        )

    def stats(self) -> SenderStats:
        return self._sender.stats()

    def close(self) -> None:
        self._sender.close()
        with self._lock:
            for http1 in self._http1.values():
                http1.close()
            self._http1.clear()

    def _send(self, part: "_Part", pushes: Mapping[int, Push]) -> None:
        self._send_once(part, pushes)
        # What other browsers of the service take may be too long for one.
        shorter = {
            place: push._replace(limit=SHORT)
            for place, push in pushes.items()
            if _is_too_long(part.responses[place]) and len(push.payload) > SHORT
        }
        if shorter:
            _fill(part.responses, dict.fromkeys(shorter))
            self._send_once(part, shorter)
        for place, push in pushes.items():
            response = part.responses[place]
            part.responses[place] = self._throttles.judged(part.host, push.endpoint, response, time.monotonic())

    def _send_once(self, part: "_Part", pushes: Mapping[int, Push]) -> None:
        now = part.now()
        authorization = self._tokens.authorization(part.settings, part.host, now)
        ready: dict[int, Encrypted] = {}
        for some in _pieces(list(zip(pushes.items(), salts(len(pushes)), strict=True))):
            with self._encrypting:
                for (place, push), salt in some:
                    made = self._encrypted(push, part.host, now, salt)
                    if isinstance(made, NoAnswer):
                        part.responses[place] = made
                    else:
                        ready[place] = made
        route = self._route(part.host, Simulator.of(part.settings))
        if ready and time.monotonic() >= self._old.get(route, 0.0):
            self._over_http2(part, route, ready, authorization)
            if not any(_is_old(part.responses[place]) for place in ready):
                return
            self._old[route] = time.monotonic() + OLD
            ready = {place: made for place, made in ready.items() if _is_not_sent(part.responses[place])}
        if ready:
            self._over_http1(part, route, ready, authorization)

    def _over_http2(self, part: "_Part", route: WebRoute, ready: Mapping[int, Encrypted], authorization: str) -> None:
        # Usually the part is the whole, and then others see its responses as they come.
        whole = len(ready) == len(part.responses)
        seen: list[Response | None] = part.responses if whole else [None] * len(ready)
        self._sender.send(
            route,
            list(ready.values()),
            authorization=authorization,
            deadline=part.deadline,
            following=_among(ready, part.following),
            seen=seen,
        )
        if not whole:
            _fill(part.responses, dict(zip(ready, seen, strict=True)))

    def _over_http1(self, part: "_Part", route: WebRoute, ready: Mapping[int, Encrypted], authorization: str) -> None:
        responses: list[Response | None] = [None] * len(ready)
        self._of_http1(route.simulator).send(
            part.host,
            list(ready.values()),
            authorization=authorization,
            deadline=part.deadline,
            following=_among(ready, part.following),
            responses=responses,
        )
        _fill(part.responses, dict(zip(ready, responses, strict=True)))

    def _encrypted(self, push: Push, host: str, now: float, salt: bytes) -> Encrypted | NoAnswer:
        if (why := push.document.impossible) is not None:
            return NoAnswer("unwritable", why)
        opened = self._unseal(push.secret)
        if opened is None:
            return SEALED
        path = push.endpoint.removeprefix(f"https://{host}")
        seconds = life(push, now)
        shared = shared_fields(host, push.urgency, lives=seconds > 0)
        return Encrypted(path, encrypt(push.payload, unpack(opened), salt), seconds, push.topic, shared)

    def _of_http1(self, simulator: Simulator | None) -> Http1:
        with self._lock:
            return self._http1.setdefault(simulator, Http1(simulator, proxy=self._proxy))

    def _route(self, host: str, simulator: Simulator | None) -> WebRoute:
        return WebRoute(host, simulator, proxied=self._proxy is not None)

    async def _faults(self, routes: Iterable[WebRoute], deadline: float) -> list[str | None]:
        """Why there is no connection to each of them; None where there is."""
        proxy = None if self._proxy is None else Proxy.parse(self._proxy)
        return await asyncio.gather(*(fault_of(route, proxy=proxy, deadline=deadline) for route in routes))


class _Part(NamedTuple):
    """What the pushes of one `send` to one host have in common."""

    settings: WebSettings
    host: str
    now: Callable[[], float]
    deadline: float
    following: Mapping[int, int]
    #: Of the whole `send`: filled in place.
    responses: list[Response | None]


def _pieces(things: Sequence[T]) -> Iterator[Sequence[T]]:
    return (things[start : start + PIECE] for start in range(0, len(things), PIECE))


def _is_too_long(response: Response | None) -> bool:
    return isinstance(response, Answer) and response.status == 413


def _is_old(response: Response | None) -> bool:
    return isinstance(response, NoAnswer) and response.cause in _NO_HTTP2


def _is_not_sent(response: Response | None) -> bool:
    return isinstance(response, NoAnswer) and response.sent == "not_sent"


def _among(places: Iterable[int], following: Mapping[int, int]) -> dict[int, int]:
    """`following` in the places of a part of the requests."""
    index = {place: at for at, place in enumerate(places)}
    return {index[one]: index[after] for one, after in following.items() if one in index and after in index}


def _fill(responses: list[Response | None], some: Mapping[int, Response | None]) -> None:
    for place, response in some.items():
        responses[place] = response
