"""Judges the requests of one connection: the rules, its provider tokens, and what a known shape spares.

The first accepted request of a shape is judged in full. What differs in the next ones is only what fills the holes, and
each of those rules looks at one value alone, and the shape's pattern knows only values that are well-formed; so only the
payload's size and the provider token's age are looked at again.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.http2.server.header_blocks import Hole
from worker.http2.server.request import Request
from worker.simulator.apns import rules
from worker.simulator.apns.broadcast import MANAGE, PUBLISH, Broadcast, Channels, Managed
from worker.simulator.apns.provider_token import MAX_AGE, ProviderToken, TokensOfConnection
from worker.simulator.apns.rules import Push, TopicRules

_OF_CHANNELS: Final = (PUBLISH.encode(), MANAGE.encode())
#: What differs between the notifications of one sender.
HOLES: Final = {
    b":path": Hole(b"/3/device/", rb"([0-9a-f]{%d})"),
    b"apns-id": Hole(b"", rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"),
    b"apns-expiration": Hole(b"", rb"([0-9]{%d})"),
    b"apns-collapse-id": Hole(b"", rb"(.{%d})"),
}


class Refusal(NamedTuple):
    """A request that the rules refuse. Token and id are what the request said, where it said something usable."""

    reason: str
    token: str
    apns_id: str | None


class Note(NamedTuple):
    """What is known of an accepted shape. The numbers are those of the holes, -1 for none."""

    push: Push
    good_until: float
    largest: int
    token: int
    apns_id: int
    expiration: int
    collapse_id: int


class Judge:
    """Judges requests in their order. `tokens` is None where a client certificate speaks for the sender."""

    def __init__(self, topic_rules: TopicRules, tokens: TokensOfConnection | None, channels: Channels) -> None:
        self._topic_rules, self._channels = topic_rules, channels
        self._tokens = tokens
        #: Of the token judged last: when it expires, and the only topics of its key.
        self._good_until = 0.0
        self._only_topics: frozenset[str] | None = None
        #: Whether a request with a valid provider token, or any with a certificate, has been seen.
        self.trusted = tokens is None

    @property
    def at_ease(self) -> bool:
        """Whether notes of accepted shapes hold: no provider token of this connection was objected to."""
        return self._tokens is None or not self._tokens.soured

    def judge(self, request: Request, now: float) -> Push | Managed | Refusal:
        """The push, or why not. `now` is in seconds since the epoch."""
        note = request.shape.note
        if note is not None and now < note.good_until and 0 < len(request.body) <= note.largest and self.at_ease:
            return refill(note, request.values)
        fields = request.shape.headers(request.values)
        if dict(fields).get(b":path", b"").startswith(_OF_CHANNELS):
            return self._judge_channels(fields, request.body, now)
        verdict = rules.judge(fields, len(request.body), self._topic_rules, lambda value: self._authorize(value, now))
        if isinstance(verdict, str):
            return _refusal(verdict, dict(fields))
        if self._only_topics is not None and verdict.topic not in self._only_topics:
            return Refusal("TopicDisallowed", verdict.token, verdict.apns_id)
        self.trusted = True
        if request.shape.known:
            request.shape.note = _note(request, verdict, self._good_until)
        return verdict

    def _judge_channels(
        self, fields: Sequence[tuple[bytes, bytes]], body: bytes, now: float
    ) -> Broadcast | Managed | Refusal:
        verdict = self._channels.judge(fields, body, lambda value: self._authorize(value, now), self._allows)
        if isinstance(verdict, str):
            headers = dict(fields)
            return Refusal(verdict, headers.get(b"apns-channel-id", b"").decode("utf-8", "replace"), None)
        self.trusted = True
        return verdict

    def _allows(self, bundle: str) -> bool:
        """Whether the sender may use this bundle id. Empty `topics`: every one."""
        topics, bounds = self._topic_rules.topics, (self._topic_rules.only_topics, self._only_topics)
        return (not topics or bundle in topics) and all(only is None or bundle in only for only in bounds)

    def _authorize(self, value: bytes | None, now: float) -> str | None:
        if self._tokens is None:
            self._good_until = float("inf")
            return None
        token = self._tokens.admit(value, now)
        if not isinstance(token, ProviderToken):
            return token
        self.trusted = True
        self._good_until = token.issued_at + MAX_AGE
        self._only_topics = self._tokens.topics(token)
        return None


def _note(request: Request, push: Push, good_until: float) -> Note:
    holes = [request.shape.fields[index][0] for index in request.shape.holes]
    at = {name: holes.index(name) if name in holes else -1 for name in HOLES}
    largest = rules.payload_limit(push.push_type)
    return Note(
        push, good_until, largest, at[b":path"], at[b"apns-id"], at[b"apns-expiration"], at[b"apns-collapse-id"]
    )


def refill(note: Note, values: tuple[bytes, ...]) -> Push:
    """The push of another request of an accepted shape."""
    token, apns_id, topic, push_type, priority, expiration, collapse_id = note.push
    if note.token >= 0:
        token = values[note.token].decode()
    if note.apns_id >= 0:
        apns_id = values[note.apns_id].decode()
    if note.expiration >= 0:
        expiration = int(values[note.expiration])
    if note.collapse_id >= 0:
        collapse_id = values[note.collapse_id].decode("utf-8", "replace")
    return Push(token, apns_id, topic, push_type, priority, expiration, collapse_id)


def _refusal(reason: str, headers: dict[bytes, bytes]) -> Refusal:
    path = headers.get(b":path", b"").decode("ascii", "replace")
    apns_id = headers.get(b"apns-id", b"").decode("ascii", "replace").lower()
    usable = len(apns_id) == 36 and reason != "BadMessageId"
    return Refusal(reason, path.removeprefix(rules.PATH).lower(), apns_id if usable else None)
