"""The form of a request to FCM, and the reader of answers: `Form` and `Service` of the HTTP/2 client."""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.core.model import Answer
from worker.http2.client.fields import Field, Keep, field_value, path_value
from worker.http2.client.form import Form
from worker.providers.fcm import answers


class FcmRequest(NamedTuple):
    """`repr` is long and holds message text: never log it."""

    path: str
    payload: bytes
    id: str


def path(project: str) -> str:
    return f"/v1/projects/{project}/messages:send"


#: Fields besides the access token. They ask for errors with `details`.
HEADERS: Final = {
    "content-type": "application/json; charset=UTF-8",
    "x-goog-api-format-version": "2",
    "user-agent": "carillon",
}


class FcmForm(Form):
    """All requests of a project have the same fields; only their bodies differ."""

    def key(self, request: FcmRequest) -> str:
        return request.path

    def shared(self, request: FcmRequest, authorization: str | None) -> list[Field]:
        fields: list[Field] = [(b":path", path_value(request.path, "project"), Keep.VALUE)]
        if authorization is not None:
            fields.append((b"authorization", field_value(f"Bearer {authorization}", "access token"), Keep.SECRET))
        return [*fields, *((name.encode(), value.encode(), Keep.VALUE) for name, value in HEADERS.items())]

    def own(self, request: FcmRequest) -> list[Field]:
        return []


class FcmService:
    accepted: Final = frozenset((200,))
    fields: Final = frozenset(("retry-after",))

    def read_answer(self, status: int, fields: Mapping[str, str], body: bytes | bytearray) -> Answer:
        return answers.read_answer(status, fields.get("retry-after"), body, time.time())

    def read_reason(self, debug: bytes | bytearray) -> str | None:
        """FCM says in a GOAWAY what concerns the connection alone, such as `session_timed_out`: another one is opened."""
        return None

    def is_passing(self, reason: str) -> bool:
        return True

    def is_parting(self, answer: Answer) -> bool:
        return False


FORM: Final = FcmForm()
SERVICE: Final = FcmService()
