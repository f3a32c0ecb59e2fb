"""What each answer of a push service means: the bodies and fields are as the services send them."""

import json

import pytest

from worker.core.model import ACCEPTED, HELD_UP, SEALED, Answer, NoAnswer
from worker.core.outcome import DELIVERED, Delivered, Drop, OpenBreaker, Retry, Unregister
from worker.core.several import DEVICES, SECONDS
from worker.providers.web.answers import read_answer
from worker.providers.web.outcome import (
    FORBIDDEN_ADDRESS,
    FORBIDDEN_HOST,
    ORIGIN_THROTTLED,
    THROTTLED,
    decide,
)
from worker.providers.web.render import SILENT, UNTRANSLATED
from worker.providers.web.throttles import Throttles

REGISTERED, SENT = 1_000, 2_000
HTML = "<HTML><HEAD><TITLE>{}</TITLE></HEAD><BODY></BODY></HTML>"
MISMATCH = (
    "the VAPID credentials in the authorization header do not correspond to the credentials used to create the"
    " subscriptions."
)
EXPIRED = "A valid push subscription endpoint should be specified in the URL as such: https://fcm.googleapis.com/wp/dHIchXnbDBU"
AUDIENCE = "aud claim in the token MUST include the origin of the push resource URL"


def outcome(response, *, attempt=1, unsent=0, registered_at=REGISTERED):
    return decide(response, registered_at=registered_at, sent_at=SENT, attempt=attempt, unsent=unsent)


def gone(reason):
    return Unregister(reason, not_after=SENT)


def guarded(reason):
    return Unregister(reason, not_after=SENT, guarded=True)


def stop(reason):
    return OpenBreaker(reason, scope="origin")


def alarm(reason):
    return Drop(reason, alarm=True)


def later(reason, scope="origin", seconds=0.75):
    return Retry(seconds, reason, scope)


def patience(reason, seconds=THROTTLED):
    return Retry(seconds, reason, "device")


def mozilla(status, errno=None, message=""):
    number = {} if errno is None else {"errno": errno}
    return {"code": status, **number, "error": "x", "message": message, "more_info": "https://x.example"}


def apple(reason):
    return {"reason": reason}


def wns(status, error="", **others):
    said = {"x-wns-status": status, "x-wns-notificationstatus": status, "x-wns-error-description": error, **others}
    return {name.replace("_", "-"): value for name, value in said.items() if value}


def row(name, status, expected, body=b"", fields=None):
    if isinstance(body, dict):
        body = json.dumps(body)
    content = body if isinstance(body, bytes) else body.encode()
    return pytest.param(status, content, fields or {}, expected, id=name)


@pytest.mark.parametrize(
    ("status", "body", "fields", "expected"),
    [
        *(row(f"{status}", status, DELIVERED) for status in (200, 201, 202, 204)),
        *(row(f"redirect {status}", status, alarm(f"status_{status}")) for status in (301, 302, 307, 308)),
        row("bad request", 400, alarm("status_400")),
        row("unauthorized", 401, stop("status_401")),
        row("forbidden", 403, stop("status_403")),
        row("not found", 404, gone("status_404")),
        row("method", 405, alarm("status_405")),
        row("not acceptable", 406, patience("status_406")),
        row("timeout", 408, later("status_408")),
        row("gone", 410, gone("status_410")),
        row("no length", 411, alarm("status_411")),
        row("too large", 413, alarm("status_413")),
        row("any other", 418, alarm("status_418")),
        row("too early", 425, later("status_425")),
        row("too many", 429, patience("status_429")),
        row("too many, and when", 429, patience("status_429", 7.0), fields={"retry-after": "7"}),
        *(row(f"fault {status}", status, later(f"status_{status}")) for status in (500, 502, 503, 504)),
        row("a fault, and until when", 503, later("status_503", seconds=120.0), fields={"retry-after": "120"}),
        row("mozilla: encoding", 400, alarm("BadEncoding"), mozilla(400, 110)),
        row("mozilla: no TTL", 400, alarm("BadTtl"), mozilla(400, 111)),
        row("mozilla: topic", 400, alarm("BadWebPushTopic"), mozilla(400, 113)),
        row("mozilla: negative TTL", 400, alarm("BadTtl"), mozilla(400, 114)),
        row("mozilla: negative TTL, by its page", 400, alarm("BadTtl"), mozilla(400, 112)),
        row("mozilla: router", 400, alarm("BadRouter"), mozilla(400, 108)),
        row("mozilla: message id", 400, alarm("status_400"), mozilla(400)),
        row("mozilla: other key", 401, guarded("VapidPkHashMismatch"), mozilla(401, 109, "VAPID public key mismatch")),
        row("mozilla: audience", 401, stop("BadAudience"), mozilla(401, 109, "Invalid VAPID audience")),
        row("mozilla: exp", 401, stop("BadExpiration"), mozilla(401, 109, "The VAPID token expiration is too long")),
        row("mozilla: no token", 401, stop("MissingVapidKey"), mozilla(401, 109, "Missing VAPID public key")),
        row("mozilla: signature", 401, stop("BadAuthorization"), mozilla(401, 109, "Request did not validate")),
        row("mozilla: corrupt URL", 404, gone("InvalidEndpoint"), mozilla(404, 102)),
        row("mozilla: no such user", 410, gone("Expired"), mozilla(410, 103)),
        row("mozilla: deleted meanwhile", 410, gone("Unsubscribed"), mozilla(410, 105)),
        row("mozilla: no such subscription", 410, gone("Unsubscribed"), mozilla(410, 106)),
        row("mozilla: too large", 413, alarm("PayloadTooLarge"), mozilla(413, 104)),
        row("mozilla: fault", 500, later("status_500"), mozilla(500, 999)),
        *(row(f"mozilla: bridge {n}", 502, later("BridgeFailed", "device"), mozilla(502, n)) for n in range(900, 904)),
        row("mozilla: bridge", 502, later("BridgeFailed", "device"), mozilla(502)),
        row("mozilla: storage", 503, later("StorageBusy", seconds=120.0), mozilla(503, 201), {"retry-after": "120"}),
        row("mozilla: busy", 503, later("status_503", seconds=120.0), mozilla(503), {"retry-after": "120"}),
        row("google: no key", 400, stop("UnauthorizedRegistration"), HTML.format("UnauthorizedRegistration")),
        row("google: TTL", 400, alarm("BadTtl"), HTML.format("InvalidTtlParameter")),
        row("google: other key", 403, guarded("VapidPkHashMismatch"), MISMATCH),
        row("google: audience", 403, stop("BadAudience"), AUDIENCE),
        row("google: invalid", 403, Retry(900.0, "InvalidEndpoint"), "invalid push subscription endpoint"),
        row("google: 270 days", 404, gone("Expired"), EXPIRED),
        row("google: not registered", 410, gone("NotRegistered"), HTML.format("NotRegistered")),
        row("google: unsubscribed", 410, gone("status_410"), "push subscription has unsubscribed or expired."),
        row("google: too many", 429, patience("status_429"), HTML.format("Too many requests")),
        row("google: bad gateway", 502, later("status_502"), HTML.format("502")),
        row("microsoft: received", 201, DELIVERED, fields=wns("received")),
        row("microsoft: taken, and dropped", 200, Drop("Dropped"), fields=wns("dropped")),
        row("microsoft: TTL", 400, alarm("status_400"), fields=wns("", "Ttl value conflicts with X-WNS-Cache-Policy.")),
        row(
            "microsoft: we are throttled", 406, Retry(900.0, "AppThrottled", "origin", cooldown=True),
            fields=wns("appthrottled", retry_after="900"),
        ),
        row("microsoft: a channel is", 406, patience("ChannelThrottled"), fields=wns("channelthrottled")),
        row("microsoft: a newer server", 429, patience("ChannelThrottled"), fields=wns("channelthrottled")),
        row("microsoft: expired", 410, gone("status_410"), fields=wns("dropped", "Channel expired")),
        row("microsoft: we are blocked", 410, stop("DomainBlocked"), fields=wns("dropped", "Domain Blocked")),
        row("microsoft: fault", 500, later("status_500", seconds=30.0), fields=wns("", retry_after="30")),
        *(
            row(f"apple: {reason}", 400, alarm(reason), apple(reason))
            for reason in ("BadTtl", "BadUrgency", "BadWebPushTopic", "BadWebPushRequest")
        ),
        row("apple: idle", 400, later("IdleTimeout", seconds=0.0), apple("IdleTimeout")),
        row("apple: other key", 400, guarded("VapidPkHashMismatch"), apple("VapidPkHashMismatch")),
        row("apple: other key, as one has it", 403, guarded("VapidPkHashMismatch"), apple("VapidPkHashMismatch")),
        *(
            row(f"apple: {status} {reason}", status, stop(reason), apple(reason))
            for reason in ("BadJwtToken", "BadAuthorizationHeader", "BadVapidPublicKey")
            for status in (400, 401, 403)
        ),
        row("apple: path", 404, alarm("BadPath"), apple("BadPath")),
        row("apple: method", 405, alarm("MethodNotAllowed"), apple("MethodNotAllowed")),
        row("apple: unsubscribed", 410, gone("Unregistered"), apple("Unregistered")),
        row("apple: too large", 413, alarm("PayloadTooLarge"), apple("PayloadTooLarge")),
        row("apple: too many", 429, patience("TooManyRequests"), apple("TooManyRequests")),
        row("apple: fault", 500, later("InternalServerError"), apple("InternalServerError")),
        row("apple: unavailable", 503, later("ServiceUnavailable"), apple("ServiceUnavailable")),
        row("apple: shutdown", 503, later("Shutdown", seconds=0.0), apple("Shutdown")),
        row("a body that is nothing", 403, stop("status_403"), b"[" * 100_000),
        row("a body that is no text", 403, stop("status_403"), b"\xff\xfe"),
        row("a reason that is none", 403, stop("status_403"), {"reason": 'a b"'}),
    ],
)  # fmt: skip
def test_each_answer_has_its_outcome(status, body, fields, expected):
    assert outcome(read_answer(status, fields, body)) == expected


@pytest.mark.parametrize(
    ("none", "expected"),
    [
        pytest.param(
            NoAnswer("not_sent", "connect: refused"),
            Retry(0.375, "connect: refused", "origin", spends_attempt=False),
            id="no connection",
        ),
        pytest.param(NoAnswer("unknown", "deadline"), later("deadline"), id="no answer"),
        pytest.param(HELD_UP, Retry(0.375, HELD_UP.cause, spends_attempt=False), id="behind another"),
        pytest.param(
            NoAnswer("not_sent", "connect: certificate not trusted"),
            Retry(0.375, "connect: certificate not trusted", "origin", spends_attempt=False),
            id="a bad certificate",
        ),
        pytest.param(NoAnswer("not_sent", FORBIDDEN_ADDRESS), guarded(FORBIDDEN_ADDRESS), id="a private address"),
        pytest.param(NoAnswer("not_sent", FORBIDDEN_HOST), guarded(FORBIDDEN_HOST), id="no push service"),
        pytest.param(SEALED, alarm("secret_unreadable"), id="keys that nobody opens"),
        pytest.param(NoAnswer("unwritable", SILENT), Drop(SILENT), id="nothing to show"),
        pytest.param(NoAnswer("unwritable", UNTRANSLATED), Drop(UNTRANSLATED), id="no text"),
        pytest.param(NoAnswer("unwritable", "endpoint odd"), alarm("endpoint odd"), id="no request"),
    ],
)
def test_each_cause_of_no_answer_has_its_outcome(none, expected):
    assert outcome(none) == expected


@pytest.mark.parametrize(
    "response",
    [Answer(404), Answer(410), Answer(403, "VapidPkHashMismatch"), NoAnswer("not_sent", FORBIDDEN_HOST)],
)
def test_a_browser_that_has_registered_since_is_kept(response):
    kept = outcome(response, registered_at=SENT + 1)
    assert isinstance(kept, Drop) and kept.reason == "reregistered"


def test_no_status_stops_more_than_its_origin_and_only_404_and_410_retire_without_a_word():
    for status in range(200, 600):
        found = outcome(read_answer(status, {}, b""))
        assert not isinstance(found, OpenBreaker) or found.scope == "origin"
        assert not isinstance(found, Retry) or found.scope in ("device", "origin")
        assert isinstance(found, Unregister) == (status in (404, 410))
        assert isinstance(found, Delivered) == (status < 300)


def test_a_later_try_waits_longer():
    waits = [outcome(Answer(503), attempt=n).delay for n in range(1, 6)]
    assert waits == sorted(set(waits))
    waits = [outcome(NoAnswer("not_sent", "x"), unsent=n).delay for n in range(5)]
    assert waits == sorted(set(waits))


def test_an_acceptance_is_the_one_that_everybody_knows():
    assert read_answer(201, {"retry-after": "5"}, b"anything") is ACCEPTED


def test_several_browsers_that_have_to_wait_are_a_matter_of_their_host():
    throttles, slower = Throttles(), Answer(429, None, None, 30.0)
    answers = [throttles.judged("a.example", f"endpoint{n}", slower, n) for n in range(DEVICES)]
    assert answers[:-1] == [slower] * (DEVICES - 1)
    assert outcome(answers[-1]) == Retry(30.0, ORIGIN_THROTTLED, "origin", cooldown=True)
    assert throttles.judged("b.example", "endpoint0", slower, 0) is slower, "another host"
    assert throttles.judged("a.example", "endpoint9", slower, SECONDS * 3) is slower, "long after"


def test_one_browser_that_has_to_wait_again_and_again_is_one():
    throttles, slower = Throttles(), Answer(429)
    assert {throttles.judged("a.example", "endpoint", slower, n) for n in range(10)} == {slower}
    assert throttles.judged("a.example", "endpoint", ACCEPTED, 11) is ACCEPTED
