"""A template in FCM's own JSON: what is checked, what is filled in, where the badge goes, and what gives way."""

import json
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import message
from tests.unit.fcm.key_files import account
from tests.unit.fcm.schema import check as check_schema
from worker.core.batch import Sending
from worker.core.sample_messages import samples
from worker.core.template_form import TemplateError
from worker.core.templates import NothingToSayError, Template, check, context_of
from worker.providers.fcm import own
from worker.providers.fcm.message import ANDROID_LIMIT, APNS_LIMIT, Message
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fcm.template import FCM_TEMPLATE

APP, SYSTEM = FcmSettings(account(), "app"), FcmSettings(account(), "system", "messages")
ID = "21b43edd-c72d-5519-ae12-2863276f6fa7"
DATA = {"title": "{{ sender.id }}", "body": "{{ message.text }}"}


def parsed(document: dict[str, Any]) -> Template:
    return Template.parse(json.dumps(document), FCM_TEMPLATE)


def sent(
    document: dict[str, Any],
    settings: FcmSettings = APP,
    badge: int | None = 5,
    event: ev.MessageNew | None = None,
    **given: Any,
) -> Any:
    """The message as FCM reads it, of a template and a message."""
    template = parsed(document)
    check(template, samples("demo", "regular"))
    rendered = template.render(context_of(event or message(text="100% \x01 {{ badge }}"))).rendered
    sending = Sending(
        "1-0", "e1", rendered.prefix.decode(), rendered.suffix.decode(), 1_800_003_600, "collapse-1", **given
    )
    body = Message(own.form(settings, sending), "tok:1", ID, badge, sending.expires_at, False).content(60)
    found = json.loads(body)
    check_schema("SendMessageRequest", found)
    assert found["message"].pop("token") == "tok:1"
    return found["message"]


def test_what_a_template_lacks_is_filled_in_and_nothing_that_it_says_is_changed() -> None:
    filled = {"id": ID, "collapse_id": "collapse-1", "badge": "5"}
    said = {"title": "leia", "body": "100% \x01 {{ badge }}"}
    assert sent({"data": DATA}) == {"android": {"priority": "HIGH", "ttl": "60s"}, "data": said | filled}
    android = {"priority": "NORMAL", "ttl": "0s", "data": DATA | {"id": "mine", "collapse_id": "mine", "badge": None}}
    assert sent({"android": android}) == {
        "android": {"priority": "NORMAL", "ttl": "0s", "data": said | {"id": "mine", "collapse_id": "mine"}}
    }


def test_what_android_shows_replaces_itself_in_the_channel_of_the_provider() -> None:
    shown = sent({"notification": {"title": "{{ sender.id }}"}}, SYSTEM)
    assert shown["android"]["notification"] == {"tag": "collapse-1", "channel_id": "messages", "notification_count": 5}
    assert shown["android"]["data"] == {"id": ID, "collapse_id": "collapse-1", "badge": "5"}
    assert shown["apns"] == {
        "headers": {
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": "1800003600",
            "apns-collapse-id": "collapse-1",
        }
    }
    own_words = {"title": "x", "tag": "t", "channel_id": "c"}
    assert sent({"android": {"notification": own_words}}, SYSTEM)["android"]["notification"] == {
        **own_words,
        "notification_count": 5,
    }


def test_what_is_silent_is_in_the_silent_channel_whatever_the_provider_s_own_is() -> None:
    found = sent({"android": {"notification": {"title": "x"}}}, SYSTEM, importance="silent")["android"]
    assert found["notification"]["channel_id"] == found["data"]["importance"] == "silent"


@pytest.mark.parametrize(
    ("word", "badge", "shown"),
    [
        pytest.param({}, 7, 7, id="no word about it: counted"),
        pytest.param({"badge": "{{ badge }}"}, 7, 7, id="counted"),
        pytest.param({"badge": 3}, 7, 3, id="a number for everybody"),
        pytest.param({"badge": None}, 7, None, id="left alone"),
        pytest.param({}, None, None, id="counted, but the message leaves it alone"),
    ],
)
def test_the_badge_goes_wherever_it_has_a_place(word: dict[str, Any], badge: int | None, shown: int | None) -> None:
    places = {"data": DATA | word, "apns": {"payload": {"aps": {"alert": "x"} | word}}}
    found = sent(places, badge=badge)
    assert found["apns"]["payload"]["aps"].get("badge") == shown
    assert found["data"].get("badge") == (None if shown is None else str(shown))
    template = parsed(places)
    assert (template.counted, template.badge) == (
        word.get("badge", "") in ("", "{{ badge }}"),
        word.get("badge") if shown == 3 else None,
    )


def test_data_is_texts_whatever_the_values_are() -> None:
    values = {"n": "{{ message.data.n }}", "all": "{{ message.data }}", "yes": True, "none": "{{ sender.image }}"}
    event = message(text="x")
    event.message.data["n"] = 7
    data = sent({"data": values}, event=event)["data"]
    assert (data["n"], data["all"], data["yes"]) == ("7", '{"n":7}', "true") and "none" not in data


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param({"aps": {"alert": "x"}}, "aps: is of a template for APNs; FCM takes", id="APNs"),
        pytest.param({"message": {"data": DATA}}, "message: leave it out", id="wrapped"),
        pytest.param({"data": DATA, "token": "x"}, "token: leave it out", id="token"),
        pytest.param({"data": DATA, "topic": "x"}, "topic: leave it out", id="topic"),
        pytest.param({}, "template: says nothing", id="empty"),
        pytest.param({"fcm_options": {}}, "template: says nothing", id="options alone"),
        pytest.param({"dta": DATA}, "dta: FCM knows no such field; did you mean 'data'", id="field"),
        pytest.param({"android": {"prority": "HIGH"}}, "android.prority: FCM knows no such field; did you", id="deep"),
        pytest.param({"android": {"notification": {"channelId": "c"}}}, "did you mean 'channel_id'", id="camel"),
        pytest.param({"data": "{{ message.data }}"}, "data: has to be an object", id="data"),
        pytest.param({"data": {"google.x": "1"}}, "data.google.x: FCM keeps this name", id="reserved"),
        pytest.param({"data": {"x": {"y": "1"}}}, "data.x: has to be a string", id="nested"),
        pytest.param({"data": DATA, "android": {"priority": "MAX"}}, "android.priority: has to be HIGH", id="priority"),
        pytest.param({"data": DATA, "android": {"ttl": 60}}, "android.ttl: has to be such as 3600s", id="ttl"),
        pytest.param({"android": {"notification": {"sticky": 1, "title": "x"}}}, "sticky: has to be true", id="flag"),
        pytest.param({"apns": {"payload": {"aps": {"sond": "x"}}}}, "aps.sond: Apple knows", id="aps key"),
        pytest.param({"apns": {"payload": {"aps": {"sound": 5}}}}, "payload.aps.sound: expected", id="aps value"),
        pytest.param({"data": {"badge": "x"}}, 'data.badge: has to be "{{ badge }}"', id="badge"),
        pytest.param({"data": {"x": "{{ badge }}"}}, "data.x: badge: is only known", id="badge elsewhere"),
    ],
)
def test_what_fcm_would_refuse_is_refused_at_once(document: dict[str, Any], fault: str) -> None:
    with pytest.raises(TemplateError) as refused:
        check(parsed(document), samples("demo", "regular"))
    assert fault in str(refused.value)


def test_what_only_a_message_brings_is_checked_when_it_is_rendered() -> None:
    event = message(text="x")
    event.message.data["ttl"] = "an hour"
    template = parsed({"data": DATA, "android": {"ttl": "{{ message.data.ttl }}"}})
    with pytest.raises(TemplateError, match="ttl: has to be such as 3600s"):
        template.render(context_of(event))
    event.message.data["ttl"] = "3600s"
    assert json.loads(template.render(context_of(event)).rendered.prefix)["android"]["ttl"] == "3600s"


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"notification": {"title": "{{ message.data.x }}"}, "data": {"a": "b"}}, id="a notification"),
        pytest.param({"data": {"title": "{{ message.data.x }}"}}, id="data"),
        pytest.param({"apns": {"payload": {"aps": {"alert": "{{ message.data.x }}"}}}}, id="an alert"),
    ],
)
def test_what_says_nothing_is_no_push_by_this_template(document: dict[str, Any]) -> None:
    with pytest.raises(NothingToSayError):
        parsed(document).render(context_of(message(text="x")))


def test_texts_give_way_first_then_what_is_largest_and_ids_never() -> None:
    document = {
        "data": DATA | {"channel": "{{ channel.id }}", "all": "{{ message.data }}"},
        "apns": {"payload": {"aps": {"alert": {"body": "{{ message.text }}"}}, "blob": "{{ message.data }}"}},
    }
    event = message(text="text " * 2_000)
    event.message.data["blob"] = "x" * 3_000
    found = sent(document, event=event, badge=2**31 - 1)
    android = {"data": found["data"], "android": found["android"]}
    assert len(json.dumps(android, separators=(",", ":"))) <= ANDROID_LIMIT
    assert len(json.dumps(found["data"] | found["apns"]["payload"], separators=(",", ":"))) <= APNS_LIMIT
    assert found["data"]["channel"] == "general"
    assert found["data"]["body"].endswith("…") and found["apns"]["payload"]["aps"]["alert"]["body"].endswith("…")
    assert "all" not in found["data"] or json.loads(found["data"]["all"])["blob"] == "x" * 3_000
