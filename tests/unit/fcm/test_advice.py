"""Each answer that a person may see has words with what to do, and no secret."""

import pytest

from tests.unit.fcm.key_files import EMAIL, PROJECT, account
from worker.core.model import Answer, NoAnswer, Provider, Response
from worker.providers.fcm.advice import advice
from worker.providers.fcm.reasons import NOT_KNOWN_AS_APPLE
from worker.providers.fcm.settings import FcmSettings

PROVIDER = Provider(7, "demo", "fcm", "production", FcmSettings(account(), "app"))


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (Answer(404, "UNREGISTERED"), "registers again when it is opened"),
        (Answer(400, "INVALID_ARGUMENT:message.token"), "register the device again"),
        (Answer(400, "INVALID_ARGUMENT:too_large"), "refuses the message (too_large)"),
        (Answer(400, "BAD_REQUEST:message.data.value"), "(message.data.value)"),
        (Answer(400), "refuses the message"),
        (Answer(403, "SENDER_ID_MISMATCH"), f"another project than {PROJECT}"),
        (Answer(403, "SERVICE_DISABLED"), f"enable it for project {PROJECT}"),
        (Answer(403, "IAM_PERMISSION_DENIED"), f"{EMAIL} may not send"),
        (Answer(403, "PERMISSION_DENIED"), "check its role"),
        (Answer(401, "UNAUTHENTICATED"), "the key of " + EMAIL),
        (Answer(401, "ACCESS_TOKEN_EXPIRED"), "clock (NTP)"),
        (Answer(401, "THIRD_PARTY_AUTH_ERROR:InvalidProviderToken"), "has (InvalidProviderToken): upload"),
        (Answer(401, NOT_KNOWN_AS_APPLE), "has: upload"),
        (Answer(404), f"knows no project {PROJECT}"),
        (Answer(429, "RATE_LIMIT_EXCEEDED"), "its quota"),
        (Answer(429, "QUOTA_EXCEEDED"), "this one device"),
        (Answer(503, "UNAVAILABLE"), "try again later"),
        (Answer(502), "try again later"),
        (Answer(418), "is it FCM?"),
        (NoAnswer("not_sent", "access token: deadline"), "https://oauth2.googleapis.com/token"),
        (NoAnswer("not_sent", "proxy: refused"), "CARILLON_FCM_PROXY"),
        (NoAnswer("not_sent", "connect: certificate not valid now"), "clock"),
        (NoAnswer("not_sent", "connect: certificate not trusted"), "--ca"),
        (NoAnswer("not_sent", "connect: refused"), "firewall"),
    ],
)
def test_it_says_what_to_do(response: Response, words: str) -> None:
    said = advice(response, PROVIDER)
    assert words in said
    assert "{" not in said and "PRIVATE" not in said
