"""Header fields as the four services read them."""

import re
from base64 import urlsafe_b64decode

import pytest

from tests.unit.web.browser import GOOGLE
from tests.unit.web.test_render import of_message
from worker.providers.web.render import Push
from worker.providers.web.request import fields, topic_of, urgency_of

NOW = 1_800_000_000.9


def of(expires_at, host="fcm.googleapis.com"):
    return fields(Push(GOOGLE, "", of_message(), None, 3_993, expires_at, "high", "topic"), host, NOW)


def test_every_request_says_how_long_it_lives_how_urgent_it_is_and_what_it_replaces():
    assert of(int(NOW) + 3_600) == {
        "ttl": "3600",
        "urgency": "high",
        "topic": "topic",
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
    }


@pytest.mark.parametrize(
    ("expires_at", "life"),
    [
        pytest.param(0, "0", id="now or never"),
        pytest.param(int(NOW) - 5, "0", id="late"),
        pytest.param(int(NOW) + 90 * 86_400, "2419200", id="longer than a service takes"),
    ],
)
def test_a_life_is_within_what_services_take(expires_at, life):
    assert of(expires_at)["ttl"] == life


@pytest.mark.parametrize(("expires_at", "policy"), [(int(NOW) + 60, "cache"), (0, "no-cache")])
def test_microsoft_is_to_keep_what_lives(expires_at, policy):
    assert of(expires_at, "wns2-par02p.notify.windows.com")["x-wns-cache-policy"] == policy


def test_a_topic_is_one_that_apple_can_decode_and_hides_the_collapse_id():
    for collapse_id in ("a", "é" * 64, "burst:general"):
        topic = topic_of(collapse_id)
        assert re.fullmatch(r"[A-Za-z0-9_-]{32}", topic)
        assert len(urlsafe_b64decode(topic)) == 24
        assert topic == topic_of(collapse_id)
    assert topic_of("a") != topic_of("b")


@pytest.mark.parametrize(("priority", "urgency"), [(10, "high"), (5, "normal"), (1, "low")])
def test_priorities_are_urgencies(priority, urgency):
    assert urgency_of(priority) == urgency
