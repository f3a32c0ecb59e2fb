"""Apple's rules for each push type are kept before a request is made."""

from typing import Any, get_args

import pytest

from worker.core.model import Heading, Notification, PushType
from worker.core.push_types import PUSH_TYPES, NotificationError, PushHeaders, check, headers_for

BUNDLE = "io.team.App"
PLAIN = Notification(token="ab" * 32, id="6ba7b810-9dad-51d1-80b4-00c04fd430c8", own=b"{}", heading=Heading(BUNDLE))


def changed(**fields: Any) -> Notification:
    heading = {name: fields.pop(name) for name in Heading._fields if name in fields}
    return PLAIN._replace(heading=PLAIN.heading._replace(**heading), **fields)


def test_every_push_type_of_the_model_has_its_rule() -> None:
    assert set(PUSH_TYPES) == set(get_args(PushType))


@pytest.mark.parametrize(
    ("push_type", "topic", "priority"),
    [
        ("alert", BUNDLE, 10),
        ("background", BUNDLE, 5),
        ("voip", BUNDLE + ".voip", 10),
        ("complication", BUNDLE + ".complication", 10),
        ("fileprovider", BUNDLE + ".pushkit.fileprovider", 10),
        ("mdm", BUNDLE, 10),
        ("liveactivity", BUNDLE + ".push-type.liveactivity", 10),
        ("pushtotalk", BUNDLE + ".voip-ptt", 10),
        ("location", BUNDLE + ".location-query", 10),
        ("widgets", BUNDLE + ".push-type.widgets", 10),
        ("controls", BUNDLE + ".push-type.controls", 10),
    ],
)
def test_a_push_type_decides_topic_and_priority(push_type: PushType, topic: str, priority: int) -> None:
    headers = headers_for(push_type, BUNDLE)
    assert headers == PushHeaders(topic, push_type, priority)
    assert headers_for(push_type, headers.topic) == headers, "a suffix is added once"
    check(PLAIN._replace(heading=Heading(topic, push_type, priority)))


@pytest.mark.parametrize(
    ("push_type", "priority"),
    [("background", 10), ("background", 1), ("liveactivity", 1), ("location", 1), ("alert", 7), ("alert", 0)],
)
def test_a_priority_that_the_type_does_not_take_is_refused(push_type: PushType, priority: int) -> None:
    with pytest.raises(NotificationError, match="priority"):
        headers_for(push_type, BUNDLE, priority=priority)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"token": ""}, "token", id="an empty token"),
        pytest.param({"token": "abc"}, "token", id="half a byte"),
        pytest.param({"token": "AB"}, "token", id="upper case"),
        pytest.param({"token": "zz"}, "token", id="not hex"),
        pytest.param({"id": "6BA7B810-9DAD-51D1-80B4-00C04FD430C8"}, "id", id="an upper-case UUID"),
        pytest.param({"id": "1"}, "id", id="not a UUID"),
        pytest.param({"own": b""}, "payload", id="an empty payload"),
        pytest.param({"own": b"x" * 4097}, "payload", id="a payload of one byte too many"),
        pytest.param({"topic": ""}, "topic", id="no topic"),
        pytest.param({"topic": "a\r\nb"}, "topic", id="a topic that breaks the header"),
        pytest.param({"push_type": "voip"}, "topic", id="a topic without the type's suffix"),
        pytest.param({"push_type": "Alert"}, "push_type", id="an unknown type"),
        pytest.param({"priority": 6}, "priority", id="an unknown priority"),
        pytest.param({"expiration": -1}, "expiration", id="a negative expiration"),
        pytest.param({"collapse_id": "x" * 65}, "collapse_id", id="a long collapse id"),
        pytest.param({"collapse_id": "é"}, "collapse_id", id="a collapse id outside ASCII"),
        pytest.param({"collapse_id": ""}, "collapse_id", id="an empty collapse id"),
    ],
)
def test_what_apns_would_refuse_is_named_by_its_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(NotificationError, match=rf"^{field}:"):
        check(changed(**change))


def test_a_voip_push_may_be_a_kilobyte_larger() -> None:
    voip = changed(topic=BUNDLE + ".voip", push_type="voip", own=b"x" * 5120)
    check(voip)
    with pytest.raises(NotificationError, match="payload"):
        check(voip._replace(own=b"x" * 5121))


@pytest.mark.parametrize("token", ["ab" * 32, "ab" * 48, "ab" * 80, "00"], ids=lambda t: f"{len(t)} digits")
def test_a_token_may_have_any_length(token: str) -> None:
    check(PLAIN._replace(token=token))
