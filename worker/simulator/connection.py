"""One connection of the simulator: bytes to the HTTP/2 core, requests to the judge and the script, answers back, in time."""

import asyncio
import heapq
import ssl
import time
from typing import Any, Final, NamedTuple, cast

from worker.http2 import frames
from worker.http2.server.connection import ServerConnection
from worker.http2.server.limits import Announced
from worker.http2.server.request import Request
from worker.simulator import answers, faults
from worker.simulator.client_certificate import ClientCertificate, read_certificate
from worker.simulator.inflict import inflict
from worker.simulator.judge import Judge, Refusal, refill
from worker.simulator.outlet import Outlet
from worker.simulator.player import Plan
from worker.simulator.provider_token import TokensOfConnection
from worker.simulator.rules import Push, TopicRules
from worker.simulator.script import OK, Answer
from worker.simulator.service import Service

#: Seconds by which an answer may be early, so that answers due close together leave in one write.
GRAIN: Final = 0.0005
#: Octets of a connection that are taken before it is another one's turn: some hundred requests.
TURN: Final = 32 * 1024
#: What a certificate meets at the other environment's host: seen from APNs as the answer to the first request.
BAD_ENVIRONMENT: Final = faults.GoAway(last_stream_id="zero", reason="BadCertificateEnvironment", then="close")


class Waiting(NamedTuple):
    """A request whose answer is not due yet; sorts by its due time."""

    due: float
    stream_id: int
    request: Request
    push: Push | Refusal
    answer: Answer
    arrived: float


class Connection(asyncio.Protocol):
    """Serves one client. `number` counts the connections of the simulator from 1; while open it is in `register`."""

    def __init__(self, service: Service, number: int, register: "dict[int, Connection]") -> None:
        self.service = service
        self.number = number
        self._register = register
        #: Made when the connection is: with a client certificate they are others.
        self.core: ServerConnection
        self.judge: Judge
        self.outlet: Outlet
        #: Done once the connection is gone.
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.requests = 0
        self.opened = time.time()
        #: A heap of requests whose answer is due later.
        self.waiting: list[Waiting] = []
        #: Reads and says nothing more.
        self.deaf = False
        #: Closes when the last answer has left.
        self.draining = False
        #: The limit of streams has been raised, or set by a script.
        self.raised = False
        self._bad_tokens = 0
        #: Read, and not yet taken; while there is any, the next turn is set.
        self._unread = bytearray()
        #: The sender's certificate is for the other environment.
        self._misplaced = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._sandbox = service.settings.environment == "sandbox"

    # Life.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        settings = self.service.settings
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.outlet = Outlet(transport)
        self._register[self.number] = self
        shown = secured.getpeercert(binary_form=True) if secured is not None and settings.client_ca else None
        self._meet(None if shown is None else read_certificate(shown))
        agreed = secured is None or secured.selected_alpn_protocol() == "h2"
        if not agreed:
            self.service.say_no_alpn()
        if settings.require_alpn and not agreed:
            self.deaf = True
            transport.close()
            return
        self.core.start()
        for fault in self.service.player.on_connect(self.number, self.opened):
            inflict(self, fault, None)
        self.flush()

    def _meet(self, certificate: ClientCertificate | None) -> None:
        """Prepare for a sender with or without a certificate: one stream at first is for provider tokens alone."""
        service, settings, streams = self.service, self.service.settings, self.service.settings.first_streams
        if certificate is None:
            self.judge = Judge(service.topic_rules, TokensOfConnection(service.verifier, settings.environment))
        else:
            streams = settings.max_streams
            self.judge = Judge(
                TopicRules(service.topic_rules.topics, certificate.default_topic, certificate.topics), None
            )
            self._misplaced = certificate.environment not in (None, settings.environment)
        window, connection_window = settings.stream_window, settings.connection_window
        self.raised = certificate is not None
        self.core = ServerConnection(
            Announced(
                max_streams=streams,
                stream_window=window,
                connection_window=connection_window,
                header_table_size=settings.header_table_size,
            )
        )

    def pause_writing(self) -> None:
        """The client does not read: take no more from it either."""
        self.outlet.hold()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.outlet.release()

    def connection_lost(self, exc: Exception | None) -> None:
        self.deaf = True
        self.outlet.stop()
        if self._timer is not None:
            self._timer.cancel()
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
        """What one client sends must not keep the others waiting."""
        data = bytes(self._unread[:TURN])
        del self._unread[:TURN]
        if self._unread:
            asyncio.get_running_loop().call_soon(self._take_turn)
        self._take(data)

    def _take(self, data: bytes) -> None:
        if self.deaf:
            return
        requests = self.core.receive(data)
        if requests and self._misplaced:
            inflict(self, BAD_ENVIRONMENT, None)
        elif requests:
            now = time.time()
            self.requests += len(requests)
            rest = self._accept_plain(requests, now) if self._plain() else requests
            self._serve_all(rest, now)
            if self.judge.trusted and not self.raised:
                self._raise_streams()
        self.flush()

    def _serve_all(self, requests: list[Request], now: float) -> None:
        for request in requests:
            if self.deaf:  # a fault may have come with one of them
                return
            if request.stream_id > self.core.last_allowed:
                self._leave_out(request, now)
            else:
                self._serve(request, now)

    def _leave_out(self, request: Request, now: float) -> None:
        """A GOAWAY on the occasion of a request read together with this one does not include it."""
        self.core.open.discard(request.stream_id)
        push = self.judge.judge(request, now)
        self.enter(Waiting(now, request.stream_id, request, push, OK, now), answered=False, processed=False)

    def _plain(self) -> bool:
        """Whether nothing can befall a request of a known shape but to be accepted at once."""
        return self.service.player.plain and self.judge.at_ease and not self._sandbox and self.core.takes_answers

    def _accept_plain(self, requests: list[Request], now: float) -> list[Request]:
        """Accept in one pass what `judge` and `plan` would, one by one; the requests that need them."""
        rest: list[Request] = []
        taken: list[Request] = []
        frames_out: list[bytes] = []
        named, share = self.service.player.named, self.service.player.share
        shares = bool(self.service.player.script.shares)
        for request in requests:
            stream_id, shape, values, body = request
            note = shape.note
            if (
                note is None
                or now >= note.good_until
                or not 0 < len(body) <= note.largest
                or note.apns_id < 0
                or values[note.token] in named
            ):
                rest.append(request)
                continue
            if shares and (answer := share(values[note.token].decode())) is not OK:
                self._answer(request, refill(note, values), answer, now)
                continue
            frames_out.append(answers.ACCEPTED_FRAME % (stream_id.to_bytes(4, "big"), values[note.apns_id]))
            taken.append(request)
        if taken:
            self.core.answered([request.stream_id for request in taken], frames_out)
            self._bad_tokens = 0
            self.service.record.accept(taken, now, self.number)
        return rest

    def _raise_streams(self) -> None:
        self.raised = True
        settings = self.service.settings
        if settings.max_streams != settings.first_streams:
            self.core.change_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: settings.max_streams})

    def _serve(self, request: Request, now: float) -> None:
        verdict = self.judge.judge(request, now)
        if isinstance(verdict, Refusal):
            plan = Plan(Answer(verdict.reason))
        else:
            token, _, topic, push_type, _, _, _ = verdict
            plan = self.service.player.plan(token, topic, push_type, self.number, now)
        if plan.delay or plan.fault is not None:
            self._postpone(Waiting(now + plan.delay, request.stream_id, request, verdict, plan.answer, now), plan)
        else:
            self._answer(request, verdict, plan.answer, now)

    def _postpone(self, waiting: Waiting, plan: Plan) -> None:
        if plan.fault is None or not inflict(self, plan.fault, waiting):
            heapq.heappush(self.waiting, waiting)
            self._arm()

    def _arm(self) -> None:
        """Set the timer to the answer that is due first."""
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
                self._answer(waiting.request, waiting.push, waiting.answer, waiting.arrived)

    # Answers.

    def _answer(self, request: Request, push: Push | Refusal, answer: Answer, arrived: float) -> None:
        apns_id = push.apns_id or answers.new_id()
        if answer is OK and not self._sandbox and self.core.takes_answers:
            frame = answers.ACCEPTED_FRAME % (request.stream_id.to_bytes(4, "big"), apns_id.encode())
            self.core.answered((request.stream_id,), (frame,))
            self._bad_tokens = 0
        else:
            self._answer_in_full(request.stream_id, answer, apns_id)
        self._enter_values(request, push, answer, arrived, apns_id)

    def _answer_in_full(self, stream_id: int, answer: Answer, apns_id: str) -> None:
        for status in answer.interim:
            self.core.respond_headers(stream_id, answers.status_field(status), end_stream=False)
        block = answers.answer_block(answer, apns_id, unique_id=self._sandbox)
        body = answers.answer_body(answer, time.time())
        if answer.trailers:
            self.core.respond_with_trailers(stream_id, block, body, answers.literal(b"apns-trace", b"1"))
        else:
            self.core.respond(stream_id, block, body)
        if answer.reason == "BadDeviceToken":
            self._bad_tokens += 1
            if self._bad_tokens == self.service.settings.bad_tokens:
                self.core.go_away(self.core.last_stream_id, frames.ErrorCode.NO_ERROR)
                self.draining = True
        elif answer.code == 200:
            self._bad_tokens = 0

    def _enter_all(self) -> None:
        """Record what waits: it was served, and its answer will not come."""
        for waiting in self.waiting:
            self.enter(waiting, answered=False)
        self.waiting.clear()

    def fall_silent(self) -> None:
        """Keep the connection, and read and say nothing more."""
        self.flush()
        self.deaf = True
        self.outlet.pause()
        self._enter_all()
        self.service.tell()

    def drop_above(self, last: int) -> None:
        """Forget the waiting requests of streams above `last`: nothing was done for them."""
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
        """Give back what was withheld of the window."""
        self.core.reopen_window()
        self.flush()

    def enter(self, waiting: Waiting, *, answered: bool, processed: bool = True) -> None:
        """Record a request that was not answered."""
        apns_id = waiting.push.apns_id or answers.new_id()
        self._enter_values(waiting.request, waiting.push, waiting.answer, waiting.arrived, apns_id, answered, processed)

    def _enter_values(
        self,
        request: Request,
        push: Push | Refusal,
        answer: Answer,
        arrived: float,
        apns_id: str,
        answered: bool = True,
        processed: bool = True,
    ) -> None:
        record, status = self.service.record, answer.code
        record.count(status, answer.reason, answered, processed)
        if record.mode == "counters":
            return
        rest: tuple[Any, ...] = ()
        if record.mode == "full" and isinstance(push, Push):
            rest = (*push[2:], request.body.decode("utf-8", "replace"))
        about = (status, answer.reason, arrived * 1000, self.number, answered, processed)
        record.add((record.total, push.token, apns_id, *about, *rest))

    def flush(self) -> None:
        """Write what is queued; close where nothing remains to be done."""
        self.service.tell()
        if self.deaf:
            return
        if out := self.core.take():
            self.outlet.write(out)
        if self.core.error is not None or (self.draining and not self.core.open and not self.waiting):
            self.outlet.close()
