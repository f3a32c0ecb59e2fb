"""APNs over httpx: the second transport, for networks that need its proxies, and a judge of the first.

Each lane is one client with one connection, because httpx keeps a single HTTP/2 connection a pool. httpx can hang for
ever where a server lowers its stream limit below what is in flight, and no timeout of its own fires then; so every send
has a deadline of ours, and a lane on which one passed is given up. Decides nothing about answers.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, cast

import anyio
import h2.errors
import h2.events
import httpcore
import httpx

from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer, Response
from worker.http2.client.fields import BadFieldError, Field
from worker.http2.client.form import Form
from worker.providers.apns.answers import is_parting, read_answer, read_reason
from worker.providers.apns.form import FORM
from worker.sender.route import Endpoint
from worker.sender.transport import TransportClosed

#: httpcore takes no more streams on a connection, whatever the server allows.
STREAMS: Final = 100
CONNECT_SECONDS: Final = 10.0
#: Seconds a closing client may take; a hung one would take for ever.
_CLOSE_SECONDS: Final = 1.0
# These write every URL, and with it the device token, at INFO, and headers with the provider token at DEBUG.
for _talkative in ("httpx", "httpcore", "hpack"):
    logging.getLogger(_talkative).setLevel(logging.WARNING)
_SENT_FROM: Final = "http2.send_request_headers.started"


class HttpxTransport:
    """A `Transport` of `lanes` connections, each opened when it is first needed and kept for good."""

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext,
        form: Form = FORM,
        *,
        lanes: int = 2,
        proxy: str | None = None,
    ) -> None:
        host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self._base = f"https://{host}:{endpoint.port}"
        self._context, self._form = context, form
        self._proxy = proxy
        self._lanes = [self._new_lane() for _ in range(lanes)]
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._in_flight = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

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
        self._in_flight += 1
        self._quiet.clear()
        try:
            ends = asyncio.get_running_loop().time() + deadline
            responses: list[Response | None] = [None] * len(requests) if seen is None else seen
            chains = _chains(len(requests), following or {})
            await asyncio.gather(*(self._chain(responses, chain, requests, authorization, ends) for chain in chains))
            return cast("list[Response]", responses)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._quiet.set()

    async def close(self, drain: float = 5.0) -> None:
        """Takes nothing new, waits up to `drain` seconds for what is in flight, then closes every connection."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(drain):
                await self._quiet.wait()
        for lane in self._lanes:
            self._give_up(lane, at_once=True)
        while self._closing:
            await asyncio.wait(set(self._closing))

    async def _chain(
        self,
        responses: list[Response | None],
        chain: Sequence[int],
        requests: Sequence[Any],
        authorization: str | None,
        ends: float,
    ) -> None:
        """Sends one after another; behind one that is not accepted, none."""
        response: Response = ACCEPTED
        for place in chain:
            response = await self._one(requests[place], authorization, ends) if response is ACCEPTED else HELD_UP
            responses[place] = response

    async def _one(self, request: Any, authorization: str | None, ends: float) -> Response:
        try:
            fields = [*self._form.shared(request, authorization), *self._form.own(request)]
        except BadFieldError as error:
            return NoAnswer("unwritable", error.cause)
        lane = min(self._lanes, key=lambda each: each.taken)
        lane.taken += 1
        progress = _Progress()
        try:
            async with asyncio.timeout_at(ends):
                async with lane.streams:
                    progress.lane_entered = True
                    return await self._post(lane, fields, request.payload, progress)
        except TimeoutError:
            # Whoever only waited for its turn says nothing about the connection.
            if progress.lane_entered:
                self._replace(lane)
            return NoAnswer(progress.sent, "deadline")
        except httpx.HTTPError as fault:
            if isinstance(fault, httpx.LocalProtocolError):
                # The server broke the protocol. httpcore keeps such a connection, and every later request fails or hangs on it.
                self._replace(lane)
            return _no_answer(fault, progress)
        except (ssl.SSLError, OSError, anyio.EndOfStream):
            # httpcore takes the last one for an end while it reads, and lets it through while it writes.
            return NoAnswer(progress.sent, "network")
        except (ValueError, LookupError, RuntimeError):
            # What httpcore lets through where a server answers nonsense, such as a status that is no number.
            self._replace(lane)
            return NoAnswer(progress.sent, "protocol")
        except asyncio.CancelledError:
            self._replace(lane)
            raise
        finally:
            lane.taken -= 1
            if lane.retired and not lane.taken:
                self._close_client(lane)

    async def _post(self, lane: "_Lane", fields: Sequence[Field], payload: bytes, progress: "_Progress") -> Answer:
        answer = await lane.post(self._base, fields, payload, progress)
        if is_parting(answer):
            self._replace(lane)
        return answer

    def _new_lane(self) -> "_Lane":
        return _Lane(self._context, self._proxy)

    def _replace(self, lane: "_Lane") -> None:
        """Cancelled sends leak their slots in httpcore, so the lane takes nothing new and closes with its last send."""
        if lane in self._lanes:
            self._lanes[self._lanes.index(lane)] = self._new_lane()
        lane.retired = True

    def _give_up(self, lane: "_Lane", *, at_once: bool) -> None:
        lane.retired = True
        if at_once or not lane.taken:
            self._close_client(lane)

    def _close_client(self, lane: "_Lane") -> None:
        if not lane.closing:
            lane.closing = True
            task = asyncio.get_running_loop().create_task(lane.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _chains(count: int, following: Mapping[int, int]) -> list[list[int]]:
    """Places of notifications that are sent one after another; most are alone."""
    behind, chains = set(following.values()), []
    for place in range(count):
        if place not in behind:
            chain = [place]
            while (after := following.get(chain[-1])) is not None:
                chain.append(after)
            chains.append(chain)
    return chains


class _Progress:
    """How far a request came: httpx calls this for each of its steps."""

    __slots__ = ("lane_entered", "stream")

    def __init__(self) -> None:
        self.lane_entered = False
        #: The stream that carries it; 0 before any does. httpcore tries again on another connection by itself.
        self.stream = 0

    @property
    def sent(self) -> Literal["not_sent", "unknown"]:
        return "unknown" if self.stream else "not_sent"

    async def __call__(self, event: str, info: dict[str, Any]) -> None:
        if event == _SENT_FROM:
            self.stream = info["stream_id"]
        elif event.endswith("start_tls.complete"):
            await _require_http2(info["return_value"])


async def _require_http2(stream: httpcore.AsyncNetworkStream) -> None:
    """Without this httpx speaks HTTP/2 even to a server that agreed to HTTP/1.1 in the handshake."""
    if stream.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
        await stream.aclose()
        raise httpcore.ConnectError("the server does not speak HTTP/2")


class _Lane:
    """One httpx client, one connection."""

    __slots__ = ("_client", "closing", "retired", "streams", "taken")

    def __init__(self, context: ssl.SSLContext, proxy: str | None) -> None:
        self._client = httpx.AsyncClient(
            verify=context,
            http1=False,
            http2=True,
            proxy=proxy,
            trust_env=False,
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            # httpx would close a connection after five quiet seconds; Apple wants it kept. It uses one at a time; more only
            # beside one that is going away.
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=None, keepalive_expiry=None),
            headers={"user-agent": "carillon", "content-type": "application/json"},
        )
        self.streams = asyncio.Semaphore(STREAMS)
        #: Requests that chose this lane and are not through.
        self.taken = 0
        self.retired = False
        self.closing = False

    async def post(self, base: str, fields: Sequence[Field], payload: bytes, progress: _Progress) -> Answer:
        headers = [(name, value) for name, value, _ in fields if name != b":path"]
        [path] = [value.decode() for name, value, _ in fields if name == b":path"]
        answer = await self._client.post(base + path, content=payload, headers=headers, extensions={"trace": progress})
        if answer.status_code == 200:
            return ACCEPTED
        return read_answer(answer.status_code, answer.headers, answer.content)

    async def close(self) -> None:
        with suppress(TimeoutError, httpx.HTTPError, OSError, RuntimeError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.aclose()


_NOT_CONNECTED: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def _no_answer(fault: httpx.HTTPError, progress: _Progress) -> NoAnswer:
    """What a fault of httpx says about whether the server can have processed the request."""
    if isinstance(fault, _NOT_CONNECTED):
        return NoAnswer("not_sent", "connect")
    sent = progress.sent
    event = fault.__cause__.args[0] if fault.__cause__ is not None and fault.__cause__.args else None
    if isinstance(event, h2.events.ConnectionTerminated):
        # Most streams above the last one are sent again by httpcore itself.
        if progress.stream > (event.last_stream_id or 0):
            sent = "not_sent"
        return NoAnswer(sent, read_reason(event.additional_data or b"") or "goaway")
    if isinstance(event, h2.events.StreamReset):
        refused = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        return NoAnswer("not_sent" if refused else sent, "refused_stream" if refused else "reset")
    return NoAnswer(sent, "disconnected" if isinstance(fault, httpx.NetworkError) else "protocol")
