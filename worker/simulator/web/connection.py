"""One connection of the push services: which of them is meant, its rules, its answers, and the browser behind it."""

import uuid
from typing import Any, Final

from worker.http2.server.header_blocks import Hole
from worker.http2.server.request import Request
from worker.simulator import heads
from worker.simulator.connection import Connection, Reply
from worker.simulator.decryption import Unreadable, decrypt
from worker.simulator.player import Plan
from worker.simulator.script import Answer
from worker.simulator.service import Service
from worker.simulator.web import personalities, rules
from worker.simulator.web.rules import Verdict
from worker.simulator.web.services import PushService, service_at
from worker.simulator.web.settings import WebSettings
from worker.simulator.web.subscriptions import Subscription, browser_of, find

#: What differs between the messages of one sender.
HOLES: Final = {
    b":path": Hole(b"/", rb"([!-~]{%d})"),
    b"content-length": Hole(b"", rb"([0-9]{%d})"),
    b"topic": Hole(b"", rb"([!-~]{%d})"),
    b"ttl": Hole(b"", rb"([0-9]{%d})"),
}
#: Reasons for which a service says that it took the message.
_SILENT: Final = frozenset({"SilentlyDead"})


class Unread:
    """Counts the bodies that a browser would throw away, by why."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, why: str) -> None:
        self.counts[why] = self.counts.get(why, 0) + 1


class WebConnection(Connection):
    """Serves one sender."""

    holes = HOLES
    max_body = 1 << 14

    def __init__(self, service: Service, unread: Unread, register: dict[int, Connection]) -> None:
        super().__init__(service, register)
        assert isinstance(service.settings, WebSettings)
        self._seed, self._decrypt_every = service.settings.seed, service.settings.decrypt_every
        self._stranger = Subscription(0, None, False) if service.settings.strangers else None
        self._unread_bodies = unread

    def judge(self, request: Request, now: float) -> tuple[Verdict, Answer | None]:
        fields = request.shape.headers(request.values)
        headers = {name.decode("ascii", "replace"): value.decode("utf-8", "replace") for name, value in fields}
        authority, path = headers.get(":authority", "").removesuffix(":443"), headers[":path"]
        origin = f"https://{authority}"
        found = service_at(authority, path)
        if found is None:
            return Verdict(origin + path), Answer("BadEndpoint")
        service, rest = found
        ttl = headers.get("ttl", "")
        verdict = Verdict(
            origin + path,
            service,
            authority,
            find(self._seed, service, rest) or self._stranger,
            int(ttl) if ttl.isdigit() else None,
            headers.get("urgency"),
            headers.get("topic"),
        )
        if headers[":method"] != "POST":
            return verdict, Answer("MethodNotAllowed")
        if verdict.subscription is None:
            return verdict, Answer("BadEndpoint")
        reason = rules.fault(verdict, headers, request.body, origin, now)
        return verdict, None if reason is None else Answer(reason)

    def plan(self, verdict: Verdict, now: float) -> Plan:
        name = None if verdict.service is None else verdict.service.name
        return self.service.player.plan(verdict.token, verdict.host, name, self.number, now)

    def identify(self, verdict: Verdict) -> str:
        return str(uuid.uuid4())

    def reply(self, verdict: Verdict, answer: Answer, identity: str, now: float) -> Reply:
        said = _said(verdict, answer, identity)
        added = heads.added(answer, now)
        names = {name for name, _ in added}
        fields = (*added, *[field for field in said.fields if field[0] not in names])
        return Reply(said.status, fields, said.body if answer.body is None else answer.body.encode())

    def row(self, request: Request, verdict: Verdict, identity: str, about: tuple[Any, ...]) -> tuple[Any, ...]:
        record, (status, reason, *_) = self.service.record, about
        shown = status // 100 == 2 and reason is None
        plaintext = self._read(request.body, verdict, record.total, shown=shown)
        first = (record.total, verdict.token, identity, *about)
        if record.mode != "full":
            return first
        name = None if verdict.service is None else verdict.service.name
        text = None if plaintext is None else plaintext.decode("utf-8", "replace")
        return (*first, name, verdict.ttl, verdict.urgency, verdict.topic, len(request.body), text)

    def _read(self, body: bytes, verdict: Verdict, number: int, *, shown: bool) -> bytes | None:
        """The plaintext as the browser gets it, or would if the request were not refused, where it is this one's turn."""
        if not body or not self._decrypt_every or number % self._decrypt_every or verdict.subscription is None:
            return None
        try:
            return decrypt(body, browser_of(self._seed, verdict.subscription.number))
        except Unreadable as error:
            if shown:
                self._unread_bodies.add(str(error))
            return None


def _said(verdict: Verdict, answer: Answer, identity: str) -> personalities.Said:
    service, reason = verdict.service, answer.reason
    if answer.status is not None and (reason is None or service is None):
        return personalities.Said(answer.status)
    if service is None:
        return personalities.Said(answer.code)
    if reason is None or reason in _SILENT:
        return personalities.accepted(service, verdict.host, identity, _granted(service, verdict.ttl or 0))
    said = personalities.refused(service, reason)
    return said if answer.status is None else said._replace(status=answer.status)


def _granted(service: PushService, ttl: int) -> int:
    return min(ttl, rules.LONGEST_LIFE.get(service.name, ttl))
