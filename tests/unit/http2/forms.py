"""Two forms beside that of APNs: one without fields of a request's own, and one with a path and a topic of its own."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.http2.client.fields import Field, Keep, field_value, path_value
from worker.http2.client.form import Form

SEND: Final = b"/v1/projects/p/messages:send"


class Message(NamedTuple):
    payload: bytes
    id: str
    path: str = ""
    topic: str = ""


class SameForm(Form):
    """All requests of a project look alike."""

    def key(self, request: Message) -> None:
        return None

    def shared(self, request: Message, authorization: str | None) -> Sequence[Field]:
        return [
            (b":path", SEND, Keep.VALUE),
            (b"authorization", field_value(f"Bearer {authorization}", "access token"), Keep.SECRET),
            (b"content-type", b"application/json", Keep.VALUE),
        ]

    def own(self, request: Message) -> Sequence[Field]:
        return ()


class OwnForm(Form):
    """Each request has a path of its own."""

    def key(self, request: Message) -> None:
        return None

    def shared(self, request: Message, authorization: str | None) -> Sequence[Field]:
        return [
            (b"authorization", field_value(f"vapid {authorization}", "access token"), Keep.SECRET),
            (b"urgency", b"high", Keep.VALUE),
        ]

    def own(self, request: Message) -> Sequence[Field]:
        return [
            (b":path", path_value(request.path, "endpoint"), Keep.NOTHING),
            (b"topic", field_value(request.topic, "topic"), Keep.NAME),
        ]
