"""One connection of a simulator: bytes go to the HTTP core, requests to the kind and the script; answers leave in time."""

import asyncio
import heapq
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple, cast

from worker.http2 import frames
from worker.http2.server.connection import ServerConnection
from worker.http2.server.header_blocks import Holes
from worker.http2.server.limits import Announced
from worker.http2.server.request import Request
from worker.simulator import heads
from worker.simulator.http1 import Http1Connection
from worker.simulator.http1 import head as http1_head
from worker.simulator.inflict import inflict
from worker.simulator.outlet import Outlet
from worker.simulator.player import Plan
from worker.simulator.script import OK, Answer
from worker.simulator.service import Service

#: Seconds by which an answer may be early, so that answers due close together leave in one write.
GRAIN: Final = 0.0005
#: Octets of a connection that are read before it is the turn of another one: some hundred requests.
TURN: Final = 32 * 1024
#: Seconds in which PINGs are counted.
MINUTE: Final = 60.0


class Waiting(NamedTuple):
    """A request whose answer is not due yet; sorts by its due time."""

    due: float
    stream_id: int
    request: Request
    verdict: Any
    answer: Answer
    arrived: float


class Reply(NamedTuple):
    """An answer as it is sent."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class Connection(asyncio.Protocol, ABC):
    """Serves one client. While it is open, it is in `register` under its number, which counts the service's connections."""

    #: The fields of requests that differ from one to the next.
    holes: ClassVar[Holes] = {}
    #: Octets of a body that are kept.
    max_body = 8192

    def __init__(self, service: Service, register: "dict[int, Connection]") -> None:
        self.service = service
        self.number = service.connections_total
        self._register = register
        #: Set when the connection is made.
        self.core: ServerConnection | Http1Connection
        self._head: Callable[[int, heads.Fields], bytes] = heads.block
        self.outlet: Outlet
        #: Done once the connection is closed.
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.requests = 0
        self.opened = time.time()
        #: A heap of requests whose answer is due later.
        self.waiting: list[Waiting] = []
        #: Reads and writes nothing more.
        self.deaf = False
        #: Closes when the last answer has left.
        self.draining = False
        #: The limit of streams has been raised, or set by a script.
        self.raised = False
        #: Octets that are read and wait for their turn; while there are any, a next turn is scheduled.
        self._unread = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._idle: asyncio.TimerHandle | None = None
        #: When the PINGs came that `most_pings` bounds.
        self._pings: list[float] = []

    # The methods of a kind.

    def meet(self, shown: bytes | None) -> int:
        """Prepare for a sender with or without a certificate in DER. Returns how many streams it has at first."""
        return self.service.settings.max_streams

    @abstractmethod
    def judge(self, request: Request, now: float) -> tuple[Any, Answer | None]:
        """What the request is, and its answer if the rules refuse it."""

    @abstractmethod
    def plan(self, verdict: Any, now: float) -> Plan:
        """What the script does to a request that the rules let pass."""

    @abstractmethod
    def identify(self, verdict: Any) -> str:
        """The id of the answer to a request."""

    @abstractmethod
    def reply(self, verdict: Any, answer: Answer, identity: str, now: float) -> Reply:
        """The answer as it is sent."""

    @abstractmethod
    def row(self, request: Request, verdict: Any, identity: str, about: tuple[Any, ...]) -> tuple[Any, ...]:
        """The entry of a request; `about` has the fields from `status` to `processed`."""

    @property
    def at_ease(self) -> bool:
        """Whether `accept_known` may be called, while the script changes few requests."""
        return False

    def accept_known(self, requests: list[Request], now: float) -> list[Request]:
        """Accept in one pass the requests that `judge` and `plan` would accept. Returns the requests that need these."""
        return requests

    def answered(self, answer: Answer) -> None:
        """An answer was queued."""

    # Life.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        settings = self.service.settings
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.outlet = Outlet(transport)
        self._register[self.number] = self
        shown = secured.getpeercert(binary_form=True) if secured is not None and settings.client_ca else None
        streams = self.meet(shown)
        agreed = "h2" if secured is None else secured.selected_alpn_protocol()
        if agreed != "h2" and "http/1.1" in settings.protocols:
            self.core, self._head = Http1Connection(self.max_body), http1_head
        else:
            self.core = self._http2(streams)
            if agreed != "h2":
                self.service.say_no_alpn()
                if settings.require_alpn:
                    self.deaf = True
                    transport.close()
                    return
        self.core.start()
        for fault in self.service.player.on_connect(self.number, self.opened):
            inflict(self, fault, None)
        self._wait_idle()
        self.flush()

    def _http2(self, streams: int) -> ServerConnection:
        settings = self.service.settings
        announced = Announced(
            max_streams=streams,
            stream_window=settings.stream_window,
            connection_window=settings.connection_window,
            header_table_size=settings.header_table_size,
            max_body=self.max_body,
        )
        return ServerConnection(announced, self.holes)

    def pause_writing(self) -> None:
        """The client does not read, so read nothing from it either."""
        self.outlet.hold()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.outlet.release()

    def connection_lost(self, exc: Exception | None) -> None:
        self.deaf = True
        self.outlet.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._idle is not None:
            self._idle.cancel()
        self._enter_all()
        self._register.pop(self.number, None)
        self.service.tell()
        if not self.closed.done():
            self.closed.set_result(None)

    # Requests.

    def data_received(self, data: bytes) -> None:
        has_turn = bool(self._unread)
        self._unread += data
        if not has_turn:
            self._take_turn()

    def _take_turn(self) -> None:
        """Read a part, so that one client does not delay the others."""
        data = bytes(self._unread[:TURN])
        del self._unread[:TURN]
        if self._unread:
            asyncio.get_running_loop().call_soon(self._take_turn)
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self.deaf:
            return
        requests = self.core.receive(data)
        if requests:
            self.requests += len(requests)
            self.serve(requests, time.time())
        self._check_manners()
        self.flush()

    def serve(self, requests: list[Request], now: float) -> None:
        """Answer the requests, now or later."""
        plain = self.service.player.plain and self.at_ease and self.core.takes_answers
        for request in self.accept_known(requests, now) if plain else requests:
            if self.deaf:  # a fault may have come with one of them
                return
            if request.stream_id > self.core.last_allowed:
                self._leave_out(request, now)
            else:
                self._serve(request, now)

    def _leave_out(self, request: Request, now: float) -> None:
        """Record a request as unprocessed: a GOAWAY for a request that was read together with it excludes it."""
        self.core.open.discard(request.stream_id)
        verdict, _ = self.judge(request, now)
        self.enter(Waiting(now, request.stream_id, request, verdict, OK, now), answered=False, processed=False)

    def _serve(self, request: Request, now: float) -> None:
        verdict, refusal = self.judge(request, now)
        plan = self.plan(verdict, now) if refusal is None else Plan(refusal)
        if plan.delay or plan.fault is not None:
            self._postpone(Waiting(now + plan.delay, request.stream_id, request, verdict, plan.answer, now), plan)
        else:
            self.answer(request, verdict, plan.answer, now)

    def _check_manners(self) -> None:
        """End the connection of a client that sends too many PINGs or opens too many streams, if the settings limit these."""
        settings, core = self.service.settings, self.core
        if settings.most_refused is not None and core.refused > settings.most_refused and not self.draining:
            self._end("exceeded_max_concurrent_streams", frames.ErrorCode.PROTOCOL_ERROR)
        if settings.most_pings is not None and core.pings:
            now = time.monotonic()
            self._pings = [at for at in self._pings if at > now - MINUTE] + [now] * core.pings
            core.pings = 0
            if len(self._pings) > settings.most_pings and not self.draining:
                self._end("too_many_pings", frames.ErrorCode.ENHANCE_YOUR_CALM)

    def _end(self, debug: str, code: frames.ErrorCode) -> None:
        """Announce the end; earlier requests are still answered."""
        self.core.go_away(self.core.last_stream_id, code, debug.encode())
        self.draining = True

    def _wait_idle(self) -> None:
        if (idle := self.service.settings.idle) is not None:
            self._idle = asyncio.get_running_loop().call_later(idle, self._on_idle, self.requests)

    def _on_idle(self, requests: int) -> None:
        if requests != self.requests or self.core.open or self.waiting:
            self._wait_idle()
        elif not self.deaf:
            self._end("session_timed_out", frames.ErrorCode.NO_ERROR)
            self.flush()

    def _postpone(self, waiting: Waiting, plan: Plan) -> None:
        if plan.fault is None or not inflict(self, plan.fault, waiting):
            heapq.heappush(self.waiting, waiting)
            self._arm()

    def _arm(self) -> None:
        """Set the timer to the first due answer."""
        if not self.waiting or self.deaf:
            return
        due = self.waiting[0].due
        if self._timer is not None:
            if due >= self._timer_due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = asyncio.get_running_loop().call_later(max(due - time.time(), 0.0), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.answer_due(time.time() + GRAIN)
        self.flush()
        self._arm()

    def answer_due(self, until: float) -> None:
        """Answer what is due by then."""
        if self.deaf:
            return
        while self.waiting and self.waiting[0].due <= until:
            waiting = heapq.heappop(self.waiting)
            if waiting.stream_id not in self.core.open:
                self.enter(waiting, answered=False)
            else:
                self.answer(waiting.request, waiting.verdict, waiting.answer, waiting.arrived)

    # Answers.

    def answer(self, request: Request, verdict: Any, answer: Answer, arrived: float) -> None:
        """Answer a request, and record it."""
        identity = self.identify(verdict)
        reply = self.reply(verdict, answer, identity, time.time())
        self._respond(request.stream_id, answer, reply)
        self.answered(answer)
        self._enter(request, verdict, identity, (reply.status, answer.reason, arrived * 1000, self.number, True, True))

    def _respond(self, stream_id: int, answer: Answer, reply: Reply) -> None:
        for status in answer.interim:
            self.core.respond_headers(stream_id, self._head(status, ()), end_stream=False)
        block, body = self._head(reply.status, reply.fields), reply.body[: answer.cut]
        if answer.trailers:
            self.core.respond_with_trailers(stream_id, block, body, heads.field(b"x-trace", b"1"))
        elif answer.body_after and body:
            self._respond_slowly(stream_id, block, body, answer.body_after)
        else:
            self.core.respond(stream_id, block, body)

    def _respond_slowly(self, stream_id: int, block: bytes, body: bytes, seconds: float) -> None:
        self.core.respond_headers(stream_id, block, end_stream=False)
        asyncio.get_running_loop().call_later(seconds, self._end_slowly, stream_id, body)

    def _end_slowly(self, stream_id: int, body: bytes) -> None:
        if not self.deaf:
            self.core.respond_body(stream_id, body)
            self.flush()

    def _enter_all(self) -> None:
        """Record the waiting requests: they were processed, and their answers will not be sent."""
        for waiting in self.waiting:
            self.enter(waiting, answered=False)
        self.waiting.clear()

    def fall_silent(self) -> None:
        """Keep the connection open, and read and write nothing more."""
        self.flush()
        self.deaf = True
        self.outlet.pause()
        self._enter_all()
        self.service.tell()

    def drop_above(self, last: int) -> None:
        """Forget the waiting requests of streams above `last`, which were not processed."""
        dropped = [waiting for waiting in self.waiting if waiting.stream_id > last]
        self.waiting = [waiting for waiting in self.waiting if waiting.stream_id <= last]
        heapq.heapify(self.waiting)
        for waiting in dropped:
            self.core.open.discard(waiting.stream_id)
            self.enter(waiting, answered=False, processed=False)

    def close_unanswered(self, *, abort: bool = False) -> None:
        """Write what is queued, then close, whatever waits; or reset the connection at once."""
        if not abort:
            self.flush()
        self.deaf = True
        if abort:
            self.outlet.abort()
        else:
            self.outlet.close()

    def reopen_window(self) -> None:
        """Send the WINDOW_UPDATE that was withheld."""
        self.core.reopen_window()
        self.flush()

    def enter(self, waiting: Waiting, *, answered: bool, processed: bool = True) -> None:
        """Record a request that was not answered."""
        identity = self.identify(waiting.verdict)
        status = self.reply(waiting.verdict, waiting.answer, identity, waiting.arrived).status
        about = (status, waiting.answer.reason, waiting.arrived * 1000, self.number, answered, processed)
        self._enter(waiting.request, waiting.verdict, identity, about)

    def _enter(self, request: Request, verdict: Any, identity: str, about: tuple[Any, ...]) -> None:
        record, (status, reason, _, _, answered, processed) = self.service.record, about
        record.count(status, reason, answered, processed)
        if record.mode != "counters":
            record.add(self.row(request, verdict, identity, about))

    def flush(self) -> None:
        """Write what is queued, and close if nothing is left to do."""
        self.service.tell()
        if self.deaf:
            return
        if out := self.core.take():
            self.outlet.write(out)
        if self.core.error is not None or (self.draining and not self.core.open and not self.waiting):
            self.outlet.close()
