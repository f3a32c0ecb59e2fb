"""What one answer cannot say: several devices over their rate, and a wrong APNs key behind a device that nobody knows."""

import pytest

from worker.core.model import ACCEPTED, Answer, NoAnswer, Response
from worker.providers.fcm.message import Body, Form, Message
from worker.providers.fcm.overload import Overload
from worker.providers.fcm.reasons import NOT_KNOWN_AS_APPLE, SEVERAL_DEVICES

QUOTA = Answer(429, "QUOTA_EXCEEDED", None, 30.0)
SEVERAL = QUOTA._replace(reason=SEVERAL_DEVICES)
APPLE = Answer(401, "THIRD_PARTY_AUTH_ERROR:InvalidProviderToken")
NOW = 1_000.0
FORM = Form(Body([], 0, 0, ()), Body([], 0, 0, ()))


def one(overload: Overload, token: str, response: Response = QUOTA, *, now: float = NOW, provider: int = 7) -> Response:
    message = Message(FORM, token, "id", None, 0, token.startswith("apple"))
    [found] = overload.placed(provider, [message], [response], now)
    return found


def test_three_devices_within_a_minute_are_the_project() -> None:
    overload = Overload()
    assert [one(overload, token) for token in ("a", "b", "a", "c", "a")] == [QUOTA, QUOTA, QUOTA, SEVERAL, SEVERAL]


def test_a_minute_later_a_device_is_a_device_again() -> None:
    overload = Overload()
    for token in ("a", "b", "c"):
        one(overload, token)
    assert one(overload, "d", now=NOW + 60) == QUOTA


def test_another_projects_devices_say_nothing_of_this_one() -> None:
    overload = Overload()
    for token in ("a", "b", "c"):
        one(overload, token, provider=8)
    assert one(overload, "d") == QUOTA


def test_only_a_known_apple_device_speaks_of_the_apns_key() -> None:
    overload = Overload()
    assert one(overload, "apple-1", APPLE) == APPLE
    assert one(overload, "unknown-1", APPLE) == Answer(401, f"{NOT_KNOWN_AS_APPLE}:InvalidProviderToken")


@pytest.mark.parametrize(
    "response", [ACCEPTED, NoAnswer("unknown", "deadline"), Answer(404, "UNREGISTERED"), Answer(401)]
)
def test_any_other_response_stays_as_it_is(response: Response) -> None:
    assert one(Overload(), "a", response) is response
