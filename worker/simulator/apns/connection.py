"""One connection of an APNs: its judge, what a known shape spares, and the limit of streams that a provider token raises."""

from typing import Any, Final

from worker.http2 import frames
from worker.http2.server.connection import ServerConnection
from worker.http2.server.request import Request
from worker.simulator import faults
from worker.simulator.apns import answers
from worker.simulator.apns.broadcast import Broadcast, Channels, Managed
from worker.simulator.apns.client_certificate import read_certificate
from worker.simulator.apns.judge import HOLES, Judge, Refusal, refill
from worker.simulator.apns.provider_token import TokensOfConnection, Verifier
from worker.simulator.apns.rules import Push, TopicRules
from worker.simulator.apns.settings import Settings
from worker.simulator.connection import Connection, Reply
from worker.simulator.inflict import inflict
from worker.simulator.player import Plan
from worker.simulator.script import OK, Answer
from worker.simulator.service import Service

#: What a certificate meets at the other environment's host: seen from APNs as the answer to the first request.
BAD_ENVIRONMENT: Final = faults.GoAway(last_stream_id="zero", reason="BadCertificateEnvironment", then="close")


class ApnsConnection(Connection):
    """Serves one sender."""

    holes = HOLES

    def __init__(
        self,
        service: Service,
        verifier: Verifier,
        topic_rules: TopicRules,
        channels: Channels,
        register: dict[int, Connection],
    ) -> None:
        super().__init__(service, register)
        assert isinstance(service.settings, Settings)
        self._settings = service.settings
        self._verifier, self._topic_rules, self._channels = verifier, topic_rules, channels
        self._sandbox = self._settings.environment == "sandbox"
        #: With a client certificate it is another one.
        self._judge: Judge
        self._bad_tokens = 0
        #: The sender's certificate is for the other environment.
        self._misplaced = False

    def meet(self, shown: bytes | None) -> int:
        """One stream at first is for provider tokens alone."""
        settings = self._settings
        self.raised = shown is not None
        if shown is None:
            tokens = TokensOfConnection(self._verifier, settings.environment)
            self._judge = Judge(self._topic_rules, tokens, self._channels)
            return settings.first_streams
        certificate = read_certificate(shown)
        topic_rules = TopicRules(self._topic_rules.topics, certificate.default_topic, certificate.topics)
        self._judge = Judge(topic_rules, None, self._channels)
        self._misplaced = certificate.environment not in (None, settings.environment)
        return settings.max_streams

    def serve(self, requests: list[Request], now: float) -> None:
        if self._misplaced:
            inflict(self, BAD_ENVIRONMENT, None)
            return
        super().serve(requests, now)
        if self._judge.trusted and not self.raised:
            self._raise_streams()

    def _raise_streams(self) -> None:
        self.raised = True
        if self._settings.max_streams != self._settings.first_streams:
            self.core.change_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: self._settings.max_streams})

    @property
    def at_ease(self) -> bool:
        return self._judge.at_ease and not self._sandbox

    def accept_known(self, requests: list[Request], now: float) -> list[Request]:
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
                self.answer(request, refill(note, values), answer, now)
                continue
            frames_out.append(answers.ACCEPTED_FRAME % (stream_id.to_bytes(4, "big"), values[note.apns_id]))
            taken.append(request)
        if taken:
            assert isinstance(self.core, ServerConnection)
            self.core.answered([request.stream_id for request in taken], frames_out)
            self._bad_tokens = 0
            self.service.record.accept(self._rows(taken, now))
        return rest

    def _rows(self, requests: list[Request], now: float) -> list[tuple[Any, ...]]:
        """The entries of accepted requests of known shapes, as the record's mode wants them."""
        record, about = self.service.record, (200, None, now * 1000, self.number)
        first = record.total + 1
        if record.mode == "counters":
            return [()] * len(requests)
        if record.mode == "compact":
            return [
                (number, values[shape.note.token].decode(), values[shape.note.apns_id].decode(), *about)
                for number, (_, shape, values, _) in enumerate(requests, first)
            ]
        rows: list[tuple[Any, ...]] = []
        for number, (_, shape, values, body) in enumerate(requests, first):
            token, apns_id, *rest = refill(shape.note, values)
            rows.append((number, token, apns_id, *about, True, True, *rest, body.decode("utf-8", "replace")))
        return rows

    def judge(self, request: Request, now: float) -> tuple[Push | Managed | Refusal, Answer | None]:
        verdict = self._judge.judge(request, now)
        return verdict, Answer(verdict.reason) if isinstance(verdict, Refusal) else None

    def plan(self, verdict: Push | Managed, now: float) -> Plan:
        if isinstance(verdict, Managed):
            return Plan(OK)
        return self.service.player.plan(verdict.token, verdict.topic, verdict.push_type, self.number, now)

    def identify(self, verdict: Push | Managed | Refusal) -> str:
        return verdict.apns_id or answers.new_id()

    def answer(self, request: Request, verdict: Push | Managed | Refusal, answer: Answer, arrived: float) -> None:
        of_channel = isinstance(verdict, (Broadcast, Managed))
        if answer is not OK or of_channel or self._sandbox or not self.core.takes_answers:
            super().answer(request, verdict, answer, arrived)
            return
        assert isinstance(self.core, ServerConnection)
        apns_id = self.identify(verdict)
        frame = answers.ACCEPTED_FRAME % (request.stream_id.to_bytes(4, "big"), apns_id.encode())
        self.core.answered((request.stream_id,), (frame,))
        self._bad_tokens = 0
        self._enter(request, verdict, apns_id, (200, None, arrived * 1000, self.number, True, True))

    def reply(self, verdict: Push | Managed | Refusal, answer: Answer, identity: str, now: float) -> Reply:
        if answer is OK and isinstance(verdict, (Broadcast, Managed)):
            return _of_channel(verdict, identity)
        fields = answers.answer_fields(answer, identity, now, unique_id=self._sandbox)
        return Reply(answer.code, fields, answers.answer_body(answer, now))

    def answered(self, answer: Answer) -> None:
        if answer.reason == "BadDeviceToken":
            self._bad_tokens += 1
            if self._bad_tokens == self._settings.bad_tokens:
                self.core.go_away(self.core.last_stream_id, frames.ErrorCode.NO_ERROR)
                self.draining = True
        elif answer.code == 200:
            self._bad_tokens = 0

    def _enter(self, request: Request, verdict: Any, identity: str, about: tuple[Any, ...]) -> None:
        # The record is of notifications.
        if not isinstance(verdict, Managed):
            super()._enter(request, verdict, identity, about)

    def row(self, request: Request, verdict: Push | Refusal, identity: str, about: tuple[Any, ...]) -> tuple[Any, ...]:
        record = self.service.record
        rest: tuple[Any, ...] = ()
        if record.mode == "full" and isinstance(verdict, Push):
            rest = (*verdict[2:], request.body.decode("utf-8", "replace"))
        return (record.total, verdict.token, identity, *about, *rest)


def _of_channel(verdict: Broadcast | Managed, identity: str) -> Reply:
    """The answer to a request about a channel that was carried out. A new channel's id is only in its header."""
    fields = [(b"apns-request-id", identity.encode())]
    if not isinstance(verdict, Managed):
        return Reply(200, tuple(fields))
    if verdict.status == 201:
        fields.append((b"apns-channel-id", verdict.token.encode()))
    return Reply(verdict.status, tuple(fields), verdict.body)
