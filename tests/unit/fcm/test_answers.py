"""Every answer of FCM that is known, as it comes over the wire, and what becomes of the notification: one table.

The bodies are those that Google documents and those that the live service was seen to send.
"""

import json
from typing import Any

import pytest

from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer
from worker.core.outcome import DELIVERED, Drop, OpenBreaker, Outcome, Retry, Unregister
from worker.providers.fcm.answers import read_answer
from worker.providers.fcm.outcome import MAX_TRIES, decide_outcome
from worker.providers.fcm.reasons import GUARDED, NOT_KNOWN_AS_APPLE, SEVERAL_DEVICES

NOW = 1_800_000_000.0
REGISTERED, SENT = 1_000, 2_000
FCM, RPC = "type.googleapis.com/google.firebase.fcm.v1.", "type.googleapis.com/google.rpc."


def fcm(code: str) -> dict[str, Any]:
    return {"@type": f"{FCM}FcmError", "errorCode": code}


def apple(reason: str, status: int = 403) -> dict[str, Any]:
    return {"@type": f"{FCM}ApnsError", "statusCode": status, "reason": reason}


def bad(*fields: str) -> dict[str, Any]:
    violations = [{"field": field, "description": "it is wrong"} for field in fields]
    return {"@type": f"{RPC}BadRequest", "fieldViolations": violations}


def info(reason: str, **metadata: str) -> dict[str, Any]:
    return {"@type": f"{RPC}ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


NO_FIELDS = {"@type": f"{RPC}BadRequest"}
HELP = {"@type": f"{RPC}Help", "links": [{"description": "more", "url": "https://cloud.google.com"}]}


def body(code: int, status: str, message: str = "", *details: dict[str, Any]) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    return json.dumps({"error": error | ({"details": list(details)} if details else {})}, indent=2).encode()


def outcome(status: int, content: bytes, retry_after: str | None = None, **given: Any) -> Outcome:
    answer = read_answer(status, retry_after, content, NOW)
    return decide_outcome(
        answer, **({"registered_at": REGISTERED, "sent_at": SENT, "attempt": 1, "jitter": 1.0} | given)
    )


def drop(reason: str) -> Drop:
    return Drop(reason, alarm=True)


def guarded(reason: str) -> Drop:
    return Drop(reason, alarm=True, guarded=True)


def refresh(reason: str) -> Retry:
    return Retry(0.0, reason, "provider", refresh_token=True)


def later(reason: str, delay: float = 20.0) -> Retry:
    return Retry(delay, reason, "provider")


HTML = b"<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title>"
NO_RECIPIENT = "Recipient of the message is not set."
NOT_A_TOKEN = "The registration token is not a valid FCM registration token"
TOO_LARGE = "Message is too large. The maximum is 4K (4096 bytes)."
INVALID = "Request contains an invalid argument."
GONE = "Requested entity was not found."
OAUTH = "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other."
APPLE = "Auth error from APNS or Web Push Service"
QUOTA = "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute'"
OFF = "Firebase Cloud Messaging API has not been used in project 1 before or it is disabled."
BAD_TOKEN = "INVALID_ARGUMENT:message.token"

ROWS = [
    pytest.param(400, body(400, "INVALID_ARGUMENT", NOT_A_TOKEN, fcm("INVALID_ARGUMENT"), bad("message.token")),
                 Unregister(BAD_TOKEN, SENT, guarded=True), id="400: the token is malformed"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", NOT_A_TOKEN, bad("message.token"), fcm("INVALID_ARGUMENT")),
                 Unregister(BAD_TOKEN, SENT, guarded=True), id="400: the same, in another order"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", "", fcm("INVALID_ARGUMENT"), bad("message.fid")),
                 Unregister("INVALID_ARGUMENT:message.fid", SENT, guarded=True), id="400: the installation id is malformed"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", TOO_LARGE, fcm("INVALID_ARGUMENT"), NO_FIELDS),
                 drop("INVALID_ARGUMENT:too_large"), id="400: too large, which names no field"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", NO_RECIPIENT, bad("message"), fcm("INVALID_ARGUMENT")),
                 drop("INVALID_ARGUMENT:message"), id="400: no recipient"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", "", fcm("INVALID_ARGUMENT"), bad("message.webpush.headers.TTL")),
                 drop("INVALID_ARGUMENT:message.webpush.headers.TTL"), id="400: another field"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", "", fcm("INVALID_ARGUMENT"), bad("message.token", "message.android.ttl")),
                 drop("INVALID_ARGUMENT:message.android.ttl"), id="400: the token and another field"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", "", bad("message.data[0].value")),
                 drop("BAD_REQUEST:message.data.value"), id="400: a wrong type in the JSON"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", "", bad("message.token")),
                 drop("BAD_REQUEST:message.token"), id="400: the token is no string, without FCM's own word"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", INVALID), drop("INVALID_ARGUMENT"), id="400: bare"),
    pytest.param(400, body(400, "FAILED_PRECONDITION", ""), OpenBreaker("FAILED_PRECONDITION"), id="400: a precondition"),
    pytest.param(401, body(401, "UNAUTHENTICATED", OAUTH, info("ACCESS_TOKEN_EXPIRED")),
                 refresh("ACCESS_TOKEN_EXPIRED"), id="401: the access token has expired"),
    pytest.param(401, body(401, "UNAUTHENTICATED", OAUTH), refresh("UNAUTHENTICATED"), id="401: no access token"),
    pytest.param(401, b"", refresh("status_401"), id="401: empty"),
    pytest.param(401, body(401, "UNAUTHENTICATED", APPLE, fcm("THIRD_PARTY_AUTH_ERROR"), apple("BadEnvironmentKeyInToken")),
                 OpenBreaker("THIRD_PARTY_AUTH_ERROR:BadEnvironmentKeyInToken", "origin"), id="401: the APNs key is wrong"),
    pytest.param(401, body(401, "UNAUTHENTICATED", OAUTH, apple("InvalidProviderToken"), fcm("THIRD_PARTY_AUTH_ERROR")),
                 OpenBreaker("THIRD_PARTY_AUTH_ERROR:InvalidProviderToken", "origin"), id="401: the same, in OAuth's words"),
    pytest.param(401, body(401, "UNAUTHENTICATED", OAUTH, fcm("APNS_AUTH_ERROR")),
                 OpenBreaker("THIRD_PARTY_AUTH_ERROR", "origin"), id="401: the same, by its older name"),
    pytest.param(403, body(403, "PERMISSION_DENIED", "SenderId mismatch", fcm("SENDER_ID_MISMATCH")),
                 Unregister("SENDER_ID_MISMATCH", SENT, guarded=True), id="403: a token of another project"),
    pytest.param(403, body(403, "PERMISSION_DENIED", OFF, info("SERVICE_DISABLED"), HELP),
                 OpenBreaker("SERVICE_DISABLED"), id="403: the API is off"),
    pytest.param(403, body(403, "PERMISSION_DENIED", "Permission denied", info("IAM_PERMISSION_DENIED")),
                 OpenBreaker("IAM_PERMISSION_DENIED"), id="403: the account has no role"),
    pytest.param(403, body(403, "PERMISSION_DENIED", ""), OpenBreaker("PERMISSION_DENIED"), id="403: bare"),
    pytest.param(403, HTML, OpenBreaker("status_403"), id="403: HTML"),
    pytest.param(404, body(404, "NOT_FOUND", GONE, fcm("UNREGISTERED")), Unregister("UNREGISTERED", SENT), id="404"),
    pytest.param(404, body(404, "NOT_FOUND", GONE), guarded("NOT_FOUND"), id="404: without FCM's own word"),
    pytest.param(404, b'{"error": {"errors": [{"reason": "notFound"}]}}', guarded("UNSPECIFIED_ERROR"), id="404: old"),
    pytest.param(404, HTML, OpenBreaker("status_404"), id="404: HTML, of a wrong path"),
    pytest.param(404, b"", OpenBreaker("status_404"), id="404: empty"),
    pytest.param(404, body(404, "NOT_FOUND", GONE, fcm("UNREGISTERED"))[:90], OpenBreaker("status_404"), id="404: cut"),
    pytest.param(405, b"", drop("status_405"), id="405"),
    pytest.param(408, b"", later("status_408"), id="408"),
    pytest.param(409, body(409, "ABORTED"), later("ABORTED"), id="409"),
    pytest.param(411, HTML, drop("status_411"), id="411"),
    pytest.param(413, HTML, drop("status_413"), id="413"),
    pytest.param(429, body(429, "RESOURCE_EXHAUSTED", QUOTA, info("RATE_LIMIT_EXCEEDED", quota_unit="1/min/{project}"), HELP),
                 Retry(60.0, "RATE_LIMIT_EXCEEDED", "provider", cooldown=True), id="429: the project's quota"),
    pytest.param(429, body(429, "RESOURCE_EXHAUSTED", QUOTA, fcm("QUOTA_EXCEEDED"), info("RATE_LIMIT_EXCEEDED")),
                 Retry(60.0, "RATE_LIMIT_EXCEEDED", "provider", cooldown=True), id="429: the same, with FCM's word"),
    pytest.param(429, body(429, "RESOURCE_EXHAUSTED", "", fcm("QUOTA_EXCEEDED")),
                 Retry(60.0, "QUOTA_EXCEEDED", "device"), id="429: a device's rate"),
    pytest.param(429, HTML, Retry(60.0, "status_429", "device"), id="429: any other"),
    pytest.param(499, body(499, "CANCELLED"), later("CANCELLED"), id="499"),
    pytest.param(500, body(500, "INTERNAL", "", fcm("INTERNAL")), later("INTERNAL"), id="500: internal"),
    pytest.param(500, body(500, "UNKNOWN"), later("UNKNOWN"), id="500: unknown"),
    pytest.param(500, body(500, "INTERNAL", "", fcm("UNSPECIFIED_ERROR")), later("UNSPECIFIED_ERROR"), id="500: unspecified"),
    pytest.param(501, body(501, "UNIMPLEMENTED"), OpenBreaker("UNIMPLEMENTED"), id="501"),
    pytest.param(502, HTML, later("status_502"), id="502: HTML"),
    pytest.param(503, body(503, "UNAVAILABLE", "", fcm("UNAVAILABLE")), later("UNAVAILABLE"), id="503"),
    pytest.param(504, body(504, "DEADLINE_EXCEEDED"), later("DEADLINE_EXCEEDED"), id="504"),
    pytest.param(302, b"", OpenBreaker("status_302"), id="302: a redirect is not followed"),
    pytest.param(400, body(400, "INVALID_ARGUMENT", "", fcm("UNSPECIFIED_ERROR")), drop("UNSPECIFIED_ERROR"), id="400: no more"),
    pytest.param(418, b"", drop("status_418"), id="4xx that nobody knows"),
    pytest.param(599, b"", later("status_599"), id="5xx that nobody knows"),
    pytest.param(400, body(400, "NOT_FOUND", GONE, fcm("UNREGISTERED")), drop("UNREGISTERED"), id="a code under another status"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "content", "expected"), ROWS)
def test_every_known_answer_has_its_outcome(status: int, content: bytes, expected: Outcome) -> None:
    assert outcome(status, content) == expected


def test_an_acceptance_is_the_one_that_delivery_knows() -> None:
    assert (
        read_answer(200, None, b'{"name": "projects/p/messages/0:1612788010922733%7606eb247606eb24"}', NOW) is ACCEPTED
    )
    assert read_answer(200, None, b"<html>", NOW) is ACCEPTED, "what was taken is not sent again for an odd body"
    assert decide_outcome(ACCEPTED, registered_at=REGISTERED, sent_at=SENT, attempt=1) is DELIVERED


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(HTML, id="HTML"),
        pytest.param(b"\xff\xfe\x00", id="no text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"error": "UNREGISTERED"}', id="an error that is a text"),
        pytest.param(b'{"error": {"details": {"@type": "FcmError", "errorCode": "UNREGISTERED"}}}', id="no list of details"),
        pytest.param(b'{"error": {"details": [null, 7, {"@type": 7}, {"errorCode": "UNREGISTERED"}]}}', id="odd details"),
        pytest.param(body(404, "NOT_FOUND", "", fcm("unregistered")), id="a code in small letters"),
        pytest.param(body(404, "NOT_FOUND", "", fcm("NEVER_HEARD_OF")), id="a code that nobody knows"),
        pytest.param(b'{"error": {"status": ' + b"[" * 5_000, id="deep nonsense"),
        pytest.param(body(400, "X", "", fcm("INVALID_ARGUMENT"), NO_FIELDS | {"fieldViolations": 7}), id="no list"),
        pytest.param(body(400, "X", "", fcm("INVALID_ARGUMENT"), bad("message.token\n")), id="an odd field"),
        pytest.param(body(400, "X", "", fcm("INVALID_ARGUMENT"), bad("message.token.x")), id="a field beneath the token"),
    ],
)  # fmt: skip
def test_what_is_not_known_retires_nothing_under_any_status(content: bytes) -> None:
    for status in range(201, 600):
        assert not isinstance(outcome(status, content), Unregister)


def test_a_newer_registration_outlives_an_answer_about_the_older_one() -> None:
    gone = body(404, "NOT_FOUND", GONE, fcm("UNREGISTERED"))
    assert outcome(404, gone, registered_at=SENT + 1) == Drop("reregistered", cause="UNREGISTERED")
    assert outcome(404, gone, registered_at=SENT) == Unregister("UNREGISTERED", SENT)


def test_what_a_wrong_project_causes_as_well_is_retired_later() -> None:
    assert frozenset(("SENDER_ID_MISMATCH", BAD_TOKEN, "INVALID_ARGUMENT:message.fid")) == GUARDED


@pytest.mark.parametrize(
    ("age", "opens"),
    [
        pytest.param(None, False, id="not known"),
        pytest.param(60.0, False, id="a minute"),
        pytest.param(59.0, True, id="less"),
    ],
)
def test_a_401_for_a_young_access_token_opens_the_breaker(age: float | None, *, opens: bool) -> None:
    found = outcome(401, body(401, "UNAUTHENTICATED", OAUTH), token_age=age)
    assert found == (OpenBreaker("UNAUTHENTICATED") if opens else refresh("UNAUTHENTICATED"))


def test_a_wrong_apns_key_asks_for_no_other_access_token_whatever_its_age() -> None:
    wrong = body(401, "UNAUTHENTICATED", OAUTH, fcm("THIRD_PARTY_AUTH_ERROR"))
    for age in (None, 1.0, 3_000.0):
        assert outcome(401, wrong, token_age=age) == OpenBreaker("THIRD_PARTY_AUTH_ERROR", "origin")


def test_a_wrong_apns_key_stops_nothing_for_a_device_that_nobody_called_an_apple_one() -> None:
    answer = Answer(401, f"{NOT_KNOWN_AS_APPLE}:InvalidProviderToken")
    found = decide_outcome(answer, registered_at=REGISTERED, sent_at=SENT, attempt=1, jitter=1.0)
    assert found == Retry(900.0, f"{NOT_KNOWN_AS_APPLE}:InvalidProviderToken", "notification")


def test_several_devices_over_their_rate_are_the_projects_overload() -> None:
    found = decide_outcome(Answer(429, SEVERAL_DEVICES), registered_at=REGISTERED, sent_at=SENT, attempt=1)
    assert found == Retry(60.0, SEVERAL_DEVICES, "provider", cooldown=True)


@pytest.mark.parametrize(
    ("status", "content", "said", "delay"),
    [
        pytest.param(429, body(429, "X", "", info("RATE_LIMIT_EXCEEDED")), "17", 17.0, id="429 of the project, seconds"),
        pytest.param(429, body(429, "X", "", info("RATE_LIMIT_EXCEEDED")), "Fri, 15 Jan 2027 08:02:00 GMT", 120.0, id="a date"),
        pytest.param(429, body(429, "X", "", fcm("QUOTA_EXCEEDED")), "90", 90.0, id="429 of a device"),
        pytest.param(429, body(429, "X", "", fcm("QUOTA_EXCEEDED")), "1", 10.0, id="sooner than ten seconds"),
        pytest.param(503, body(503, "UNAVAILABLE"), "300", 300.0, id="503"),
        pytest.param(503, body(503, "UNAVAILABLE"), "2", 20.0, id="503, sooner than the backoff"),
        pytest.param(503, body(503, "UNAVAILABLE"), "soon", 20.0, id="nonsense"),
    ],
)  # fmt: skip
def test_a_retry_after_is_kept(status: int, content: bytes, said: str, delay: float) -> None:
    found = outcome(status, content, said)
    assert isinstance(found, Retry) and found.delay == delay


def test_nothing_is_tried_again_sooner_than_ten_seconds_or_after_an_hour() -> None:
    busy = body(503, "UNAVAILABLE")
    for jitter in (0.0, 1.0):
        tries = [outcome(503, busy, attempt=attempt, jitter=jitter) for attempt in range(1, MAX_TRIES + 1)]
        delays = [one.delay for one in tries if isinstance(one, Retry)]
        assert len(delays) == MAX_TRIES - 1 and min(delays) >= 10.0 and sum(delays) <= 3_600.0
        assert tries[-1] == Drop("too_many_attempts", cause="UNAVAILABLE")


@pytest.mark.parametrize(
    ("none", "expected"),
    [
        pytest.param(NoAnswer("not_sent", "connect: refused"), Retry(0.5, "connect: refused", "origin", spends_attempt=False),
                     id="not sent"),
        pytest.param(HELD_UP, Retry(0.5, HELD_UP.cause, spends_attempt=False), id="behind another"),
        pytest.param(NoAnswer("unknown", "deadline"), Retry(20.0, "deadline", "origin"), id="it may have arrived"),
        pytest.param(NoAnswer("not_sent", "access token: deadline"),
                     Retry(20.0, "access token: deadline", "provider", spends_attempt=False), id="no access token"),
        pytest.param(NoAnswer("unwritable", "path not allowed"), Drop("path not allowed", alarm=True), id="never writable"),
    ],
)  # fmt: skip
def test_no_answer_has_its_outcome(none: NoAnswer, expected: Outcome) -> None:
    assert decide_outcome(none, registered_at=REGISTERED, sent_at=SENT, attempt=1, jitter=1.0) == expected
