"""Messages of FCM and of Web Push with a number in three places, and which answer each number gets.

`fcm_and_web.mjs` says the same in its words. A request whose three numbers do not agree is answered 400. A refusal returns the
number: in a field or a reason of the notification's own, or in Retry-After.
"""

import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tests.integration.pipeline.harness import message
from tests.system.foreign_servers.mix import WAITS, letters
from tests.unit.web.browser import Browser, new_browser
from tests.unit.web.test_render import of_message
from worker.core import notification
from worker.core.batch import Sending
from worker.core.model import ACCEPTED, Answer
from worker.providers.fcm.message import Form, Message, form
from worker.providers.fcm.settings import FcmSettings
from worker.providers.web.render import Document, Push

BROWSERS: Final = tuple(new_browser() for _ in range(4))
HOSTS: Final = ("fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com")
#: How many different texts there are, each of another length.
TEXTS: Final = 50
LIFE: Final = 3_600
_TYPES: Final = "type.googleapis.com/google"


class Reply(NamedTuple):
    """What a server answers."""

    status: int
    document: dict[str, Any] | None = None
    fields: Mapping[str, str] = MappingProxyType({})


MIXED: Final = Reply(400)


def fcm_messages(settings: FcmSettings, numbers: Sequence[int]) -> list[Message]:
    forms = [_form(settings, text) for text in range(TEXTS)]
    ends = int(time.time()) + LIFE
    return [
        Message(forms[n % TEXTS], f"device{n:016d}:APA91b", f"6ba7b810-9dad-51d1-80b4-{n:012x}", n, ends, False)
        for n in numbers
    ]


def pushes(numbers: Sequence[int]) -> list[Push]:
    """Each place of `HOSTS` has its share; the keys are not sealed."""
    ends = int(time.time()) + LIFE
    return [
        Push(
            f"https://{HOSTS[n % len(HOSTS)]}/wpush/{n}",
            BROWSERS[n % len(BROWSERS)].packed,
            _document(n % TEXTS),
            n,
            2_600,
            ends,
            "high",
            f"{n:032}",
        )
        for n in numbers
    ]


def fcm_reply(number: int) -> Reply:
    """Of a hundred: 60 are accepted, 15 unregistered, 10 refused, 15 unavailable, neighbours differing."""
    kind = number * 19 % 100
    if kind < 60:
        return Reply(200, {"name": f"projects/p/messages/{number}"})
    if kind < 75:
        return Reply(404, _error("UNREGISTERED"), {"retry-after": str(number % WAITS)})
    if kind < 85:
        return Reply(400, _error("INVALID_ARGUMENT", f"message.n{number}"))
    return Reply(503, _error("UNAVAILABLE"), {"retry-after": str(number % WAITS)})


def web_reply(number: int) -> Reply:
    """Of a hundred: 60 are accepted, 15 gone, 10 not found, 15 unavailable, neighbours differing."""
    kind = number * 19 % 100
    if kind < 60:
        return Reply(201, None, {"location": f"/m/{number}"})
    if kind < 75:
        return Reply(410, {"reason": f"Gone{letters(number)}"})
    if kind < 85:
        return Reply(404, {"reason": f"Bad{letters(number)}"})
    return Reply(503, None, {"retry-after": str(number % WAITS)})


def fcm_expected(number: int) -> Answer:
    """The answer that the message shall have."""
    status, wait = fcm_reply(number).status, float(number % WAITS)
    refused = {
        404: Answer(404, "UNREGISTERED", None, wait),
        400: Answer(400, f"INVALID_ARGUMENT:message.n{number}"),
        503: Answer(503, "UNAVAILABLE", None, wait),
    }
    return refused.get(status, ACCEPTED)


def web_expected(number: int) -> Answer:
    status, document, _ = web_reply(number)
    if status == 201:
        return ACCEPTED
    return Answer(status, document["reason"]) if document else Answer(status, None, None, float(number % WAITS))


def numbers_of(headers: dict[str, str], body: bytes) -> list[int]:
    """The three numbers of a request as it came in."""
    path = headers[":path"]
    if path.startswith("/v1/projects/"):
        found = json.loads(body)["message"]
        data = found["android"]["data"]
        return [int(found["token"][6:22]), int(data["id"][-12:], 16), int(data["badge"])]
    number = int(path.removeprefix("/wpush/"))
    browser: Browser = BROWSERS[number % len(BROWSERS)]
    return [number, int(headers["topic"]), json.loads(browser.read(body))["app_badge"]]


def reply_to(path: str, numbers: Sequence[int]) -> Reply:
    if len(set(numbers)) > 1:
        return MIXED
    return fcm_reply(numbers[0]) if path.startswith("/v1/projects/") else web_reply(numbers[0])


@cache
def _form(settings: FcmSettings, text: int) -> Form:
    event = message(text="x" * (1 + 7 * text))
    rendered = notification.render(event)
    prefix, suffix = rendered.prefix.decode(), rendered.suffix.decode()
    return form(settings, Sending("1-0", event.id, prefix, suffix, 0, "collapse"), "android")


@cache
def _document(text: int) -> Document:
    made: Document = of_message(text="x" * (1 + 7 * text))
    return made


def _error(code: str, field: str | None = None) -> dict[str, Any]:
    details: list[dict[str, Any]] = [{"@type": f"{_TYPES}.firebase.fcm.v1.FcmError", "errorCode": code}]
    if field is not None:
        details.append({"@type": f"{_TYPES}.rpc.BadRequest", "fieldViolations": [{"field": field}]})
    return {"error": {"details": details}}
