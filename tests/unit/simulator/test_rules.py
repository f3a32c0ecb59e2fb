"""The rules of APNs for one request, as tables."""

import pytest

from worker.simulator.apns.rules import Push, TopicRules, judge

TOPIC_RULES = TopicRules(frozenset({"org.example.chat"}))
TOKEN = "0123456789abcdef" * 4
PLAIN = {
    ":method": "POST",
    ":scheme": "https",
    ":path": f"/3/device/{TOKEN}",
    "authorization": "bearer x",
    "apns-topic": "org.example.chat",
    "apns-push-type": "alert",
}


def _judge(changes=None, size=100, topic_rules=TOPIC_RULES, extra=()):
    headers = PLAIN | {name.replace("_", "-"): value for name, value in (changes or {}).items()}
    fields = [(name.encode(), value.encode()) for name, value in headers.items() if value is not None]
    return judge([*fields, *extra], size, topic_rules, lambda value: None if value else "MissingProviderToken")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({":method": "GET"}, "MethodNotAllowed", id="only POST"),
        pytest.param({":path": "/4/device/ab"}, "BadPath", id="another path"),
        pytest.param({":path": "/3/devices"}, "BadPath", id="a path that only looks alike"),
        pytest.param({":path": "/3/device/"}, "MissingDeviceToken", id="no token"),
        pytest.param({":path": "/3/device"}, "MissingDeviceToken", id="no token and no slash"),
        pytest.param({":path": "/3/device/abc"}, "BadDeviceToken", id="an odd number of digits"),
        pytest.param({":path": "/3/device/zz"}, "BadDeviceToken", id="not hexadecimal"),
        pytest.param({"authorization": None}, "MissingProviderToken", id="no authorization"),
        pytest.param({"apns-id": "no-uuid"}, "BadMessageId", id="an id that is no UUID"),
        pytest.param({"apns-id": "0" * 32}, "BadMessageId", id="a UUID without dashes"),
        pytest.param({"apns-expiration": "soon"}, "BadExpirationDate", id="an expiration that is no number"),
        pytest.param({"apns-expiration": "-1"}, "BadExpirationDate", id="a negative expiration"),
        pytest.param({"apns-push-type": "loud"}, "InvalidPushType", id="an unknown push type"),
        pytest.param({"apns-priority": "7"}, "BadPriority", id="an unknown priority"),
        pytest.param({"apns-push-type": "background"}, "BadPriority", id="background without priority"),
        pytest.param({"apns-push-type": "background", "apns-priority": "10"}, "BadPriority", id="urgent background"),
        pytest.param(
            {
                "apns-push-type": "liveactivity",
                "apns-topic": "io.carillon.demo.push-type.liveactivity",
                "apns-priority": "1",
            },
            "BadPriority",
            id="a Live Activity that may wait for ever",
        ),
        pytest.param({"apns-collapse-id": "c" * 65}, "BadCollapseId", id="a collapse id of 65 bytes"),
        pytest.param({"apns-collapse-id": "ü" * 33}, "BadCollapseId", id="33 letters of 2 bytes each"),
        pytest.param({"apns-topic": None}, "MissingTopic", id="no topic"),
        pytest.param({"apns-topic": "a topic"}, "BadTopic", id="an ill-formed topic"),
        pytest.param({"apns-topic": "org.example.other"}, "TopicDisallowed", id="another app's topic"),
        pytest.param({"apns-topic": "org.example.chat.voip"}, "BadTopic", id="a suffix the push type has not"),
        pytest.param({"apns-push-type": "voip"}, "BadTopic", id="the push type's suffix is absent"),
    ],
)
def test_a_faulty_request_is_refused_with_its_reason(changes, reason):
    assert _judge(changes) == reason


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="an alert"),
        pytest.param({":path": f"/3/device/{'a1' * 80}"}, id="a token of 160 digits"),
        pytest.param({":path": "/3/device/AB"}, id="a short token in upper case"),
        pytest.param({"apns-push-type": None}, id="no push type"),
        pytest.param({"apns-expiration": "0"}, id="expiration 0"),
        pytest.param({"apns-priority": "1"}, id="priority 1"),
        pytest.param({"apns-push-type": "background", "apns-priority": "5"}, id="background at 5"),
        pytest.param({"apns-collapse-id": "ü" * 32}, id="a collapse id of 64 bytes"),
        pytest.param({"apns-push-type": "voip", "apns-topic": "org.example.chat.voip"}, id="voip"),
        pytest.param(
            {"apns-push-type": "liveactivity", "apns-topic": "org.example.chat.push-type.liveactivity"}, id="activity"
        ),
        pytest.param({"apns-push-type": "location", "apns-topic": "org.example.chat.location-query"}, id="location"),
        pytest.param({"apns-push-type": "mdm", "apns-topic": "com.apple.mgmt.External.1"}, id="mdm"),
        pytest.param({"apns-push-type": None, "apns-topic": "org.example.chat.voip"}, id="voip by its topic"),
    ],
)
def test_a_good_request_passes(changes):
    assert isinstance(_judge(changes), Push)


@pytest.mark.parametrize(
    ("push_type", "size", "reason"),
    [
        pytest.param("alert", 0, "PayloadEmpty", id="nothing"),
        pytest.param("alert", 4096, None, id="an alert of 4096"),
        pytest.param("alert", 4097, "PayloadTooLarge", id="an alert of 4097"),
        pytest.param("voip", 5120, None, id="a call of 5120"),
        pytest.param("voip", 5121, "PayloadTooLarge", id="a call of 5121"),
    ],
)
def test_a_payload_has_its_bounds(push_type, size, reason):
    topic = "org.example.chat" + (".voip" if push_type == "voip" else "")
    verdict = _judge({"apns-push-type": push_type, "apns-topic": topic}, size)
    assert (None if isinstance(verdict, Push) else verdict) == reason


def test_a_repeated_header_is_refused():
    assert _judge(extra=[(b"apns-topic", b"org.example.chat")]) == "DuplicateHeaders"


def test_authorization_is_judged_before_topic_payload_and_token():
    assert _judge({"authorization": None, ":path": "/3/device/zz", "apns-topic": None}, 0) == "MissingProviderToken"


def test_without_configured_topics_only_the_suffix_counts():
    assert isinstance(_judge({"apns-topic": "any.app"}, topic_rules=TopicRules()), Push)
    assert _judge({"apns-topic": "any.app.voip"}, topic_rules=TopicRules()) == "BadTopic"
    assert _judge({"apns-topic": "any.app", "apns-push-type": "voip"}, topic_rules=TopicRules()) == "BadTopic"


def test_a_certificate_may_stand_for_the_topic_and_bounds_it():
    topic_rules = TopicRules(default_topic="org.example.chat", only_topics=frozenset({"org.example.chat"}))
    assert isinstance(_judge({"apns-topic": None}, topic_rules=topic_rules), Push)
    assert _judge({"apns-topic": "org.example.other"}, topic_rules=topic_rules) == "TopicDisallowed"


def test_ids_that_pass_are_answered_in_lower_case():
    apns_id = "123E4567-E89B-12D3-A456-4266554400A0"
    changes = {":path": "/3/device/AB", "apns-id": apns_id, "apns-expiration": "12", "apns-collapse-id": "c"}
    assert _judge(changes) == Push("ab", apns_id.lower(), "org.example.chat", "alert", 10, 12, "c")
