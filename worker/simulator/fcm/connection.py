"""One connection of an FCM: the token endpoint, the access token of a sending, the rules of a message, Google's answers."""

from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final, NamedTuple

from worker.http2.server.connection import ServerConnection
from worker.http2.server.header_blocks import Hole
from worker.http2.server.request import Request
from worker.simulator import heads
from worker.simulator.connection import Connection, Reply
from worker.simulator.fcm import envelopes, oauth, rules
from worker.simulator.fcm.envelopes import Envelope
from worker.simulator.fcm.limits import Limits
from worker.simulator.fcm.oauth import Exchange, TokenEndpoint
from worker.simulator.fcm.rules import Refusal, Verdict
from worker.simulator.fcm.schema import Message, Target, read, read_target
from worker.simulator.fcm.settings import FcmSettings
from worker.simulator.player import Plan
from worker.simulator.script import OK, Answer
from worker.simulator.service import Service

#: The only field that differs between the messages of one sender.
HOLES: Final = {b"content-length": Hole(b"", rb"([0-9]{%d})")}
#: What Google adds to each answer, beside type and date.
FIELDS: Final = (
    (b"vary", b"Origin"),
    (b"vary", b"X-Origin"),
    (b"vary", b"Referer"),
    (b"server", b"scaffolding on HTTPServer2"),
    (b"cache-control", b"private"),
    (b"x-xss-protection", b"0"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"x-content-type-options", b"nosniff"),
    (b"alt-svc", b'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000'),
)
_FIRST_ID: Final = 1_612_788_010_922_733
_SPREAD: Final = 0x9E37_79B9_7F4A_7C15
_MASK: Final = (1 << 64) - 1


class Note(NamedTuple):
    """What is known of an accepted shape."""

    project: str
    good_until: float


class FcmConnection(Connection):
    """Serves one sender."""

    holes = HOLES
    max_body = 1 << 20

    def __init__(
        self, service: Service, endpoint: TokenEndpoint, limits: Limits, register: dict[int, Connection]
    ) -> None:
        super().__init__(service, register)
        assert isinstance(service.settings, FcmSettings)
        self._endpoint, self._limits, self._check_every = endpoint, limits, service.settings.check_every

    def judge(self, request: Request, now: float) -> tuple[Verdict | Exchange, Answer | None]:
        fields = dict(request.shape.headers(request.values))
        method, path = fields[b":method"], fields[b":path"].decode("ascii", "replace")
        if method == b"POST" and path == oauth.PATH:
            own = f"https://{fields.get(b':authority', b'').decode('ascii', 'replace')}{path}"
            exchange, reason = self._endpoint.judge(request.body, own, now)
            return exchange, None if reason is None else Answer(reason)
        found = rules.PATH.fullmatch(path)
        if method != b"POST" or found is None:
            return Verdict(""), Answer("WRONG_PATH")
        project = found[1]
        good_until, reason = self._admit(fields.get(b"authorization", b""), project, now)
        if reason is not None:
            return rules.judge(request.body, project)[0], Answer(reason)
        verdict, refusal, only_validated = rules.judge(request.body, project)
        if refusal is not None:
            return verdict, _refused(refusal)
        if request.shape.known:
            request.shape.note = Note(project, good_until)
        over = self._limits.over(project, verdict.token, now)
        if over is not None:
            return verdict, Answer(over)
        return verdict, rules.VALIDATED if only_validated and self._quiet(verdict) else None

    def _quiet(self, verdict: Verdict) -> bool:
        """Whether the script has nothing to say of a message that is only validated: errors are the same."""
        player = self.service.player
        return verdict.token not in player.answers

    def _admit(self, authorization: bytes, project: str, now: float) -> tuple[float, str | None]:
        """Until when the access token is good, or why it is not."""
        scheme, _, bearer = authorization.decode("ascii", "replace").partition(" ")
        token = self._endpoint.known(bearer) if scheme.lower() == "bearer" else None
        if token is None:
            return 0.0, "UNAUTHENTICATED"
        if now >= token.expires_at:
            return 0.0, "ACCESS_TOKEN_EXPIRED"
        if token.project not in (None, project):
            return 0.0, "IAM_PERMISSION_DENIED"
        return token.expires_at, None

    @property
    def at_ease(self) -> bool:
        return self._limits.none

    def accept_known(self, requests: list[Request], now: float) -> list[Request]:
        rest: list[Request] = []
        taken: list[int] = []
        rows: list[tuple[Any, ...]] = []
        bodies: list[bytes] = []
        refused: list[tuple[Request, Verdict, Answer]] = []
        record, player = self.service.record, self.service.player
        shares, counters = bool(player.script.shares), record.mode == "counters"
        number, about = record.total, (200, None, now * 1000, self.number, True, True)
        for request in requests:
            note = request.shape.note
            found = self._known(request.body, number) if note is not None and now < note.good_until else None
            if found is None or found.token is None or found.token in player.answers:
                rest.append(request)
            elif shares and (drawn := player.share(found.token)) is not OK:
                refused.append((request, _verdict(found, note.project), drawn))
            else:
                number += 1
                identity = _message_id(number)
                taken.append(request.stream_id)
                bodies.append(_success(note.project, identity))
                if counters:
                    rows.append(())
                else:
                    rows.append(self._row(number, _verdict(found, note.project), identity, about, request.body))
        if taken:
            assert isinstance(self.core, ServerConnection)
            self.core.respond_all(taken, heads.block(200, _fields(envelopes.JSON, int(now))), bodies)
            record.accept(rows)
        for request, verdict, drawn in refused:
            self.answer(request, verdict, drawn, now)
        return rest

    def _known(self, body: bytes, number: int) -> Message | Target | None:
        """What a document of an accepted shape asks for; None where it needs `judge`."""
        if number % self._check_every:
            return read_target(body)
        document = read(body)
        if isinstance(document, Envelope) or document.validate_only or document.message is None:
            return None
        return None if rules.fault(document.message, len(body)) is not None else document.message

    def plan(self, verdict: Verdict | Exchange, now: float) -> Plan:
        if isinstance(verdict, Exchange):
            return self._endpoint.player.plan(verdict.email, None, None, self.number, now)
        return self.service.player.plan(verdict.token, verdict.project, verdict.priority, self.number, now)

    def identify(self, verdict: Verdict | Exchange) -> str:
        return _message_id(self.service.record.total + 1)

    def reply(self, verdict: Verdict | Exchange, answer: Answer, identity: str, now: float) -> Reply:
        code, reason, kind = answer.code, answer.reason, envelopes.JSON
        if answer.body is not None:
            body = answer.body.encode()
            kind = envelopes.HTML if answer.body.startswith("<") else kind
        elif isinstance(answer, _Refused):
            body = envelopes.error_body(code, answer.envelope)
        elif code == 200 and isinstance(verdict, Exchange):
            body = self._endpoint.grant(verdict.project, now)
        elif code == 200:
            body = _success(verdict.project or "", identity)
        else:
            kind, body = envelopes.body_of(reason or "", code)
        return Reply(code, heads.added(answer, now) + _fields(kind, int(now)), body)

    def _enter(self, request: Request, verdict: Any, identity: str, about: tuple[Any, ...]) -> None:
        if isinstance(verdict, Exchange):
            self._endpoint.asked += 1
        else:
            super()._enter(request, verdict, identity, about)

    def row(self, request: Request, verdict: Any, identity: str, about: tuple[Any, ...]) -> tuple[Any, ...]:
        return self._row(self.service.record.total, verdict, identity, about, request.body)

    def _row(
        self, number: int, verdict: Verdict, identity: str, about: tuple[Any, ...], body: bytes
    ) -> tuple[Any, ...]:
        if self.service.record.mode != "full":
            return (number, verdict.token, identity, *about)
        return (number, verdict.token, identity, *about, *verdict[1:], body.decode("utf-8", "replace"))


class _Refused(Answer, frozen=True):
    """With the envelope that was made for a document."""

    envelope: Envelope = Envelope("", "")


def _refused(refusal: Refusal) -> Answer:
    if refusal.envelope is None:
        return Answer(refusal.reason)
    return _Refused(refusal.reason, envelope=refusal.envelope)


def _verdict(found: Message | Target, project: str) -> Verdict:
    return rules.verdict_of(found, project) if isinstance(found, Message) else Verdict(found.token, project)


@lru_cache(maxsize=16)
def _fields(kind: bytes, second: int) -> heads.Fields:
    """The fields of an answer of a content type in a second since the epoch."""
    return ((b"content-type", kind), (b"date", formatdate(second, usegmt=True).encode()), *FIELDS)


def _message_id(number: int) -> str:
    """The id of the n-th message, in the form of those for Android."""
    return f"0:{_FIRST_ID + number}%{number * _SPREAD & _MASK:016x}"


def _success(project: str, identity: str) -> bytes:
    return f'{{\n  "name": "projects/{project}/messages/{identity}"\n}}\n'.encode()
