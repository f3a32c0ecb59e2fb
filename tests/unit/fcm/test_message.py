"""From the neutral payload to FCM's JSON: who reads what, with what priority, for how long, and within which size."""

import json
from typing import Any

import msgspec
import pytest

from producers import events as ev
from tests.integration.pipeline.harness import message
from tests.unit.fcm.key_files import account
from tests.unit.fcm.schema import check
from worker.core import calls, digest_payload, notification
from worker.core.batch import Sending
from worker.core.digest import Count, Digest
from worker.core.targeted import badge_sending, push_sending
from worker.providers.fcm.message import ANDROID_LIMIT, APNS_LIMIT, LONGEST_TTL, Blocks, Message, blocks_for, form, ttl
from worker.providers.fcm.settings import FcmSettings

APP, SYSTEM = FcmSettings(account(), "app"), FcmSettings(account(), "system", "messages")
ID = "21b43edd-c72d-5519-ae12-2863276f6fa7"
AT = "2027-01-15T08:00:00Z"
EXPIRES = 1_800_003_600


def chat(text: str = "See you at 100% ü", **given: Any) -> Sending:
    event = message(text=text)
    event = ev.MessageNew(
        id=event.id, app=event.app, at=event.at, channel=ev.Channel(id="general", name="General"),
        message=msgspec.structs.replace(event.message, parent_id="m-0", data={"call": {"id": 7}}),
        sender=ev.Sender(id="leia", name="Leia", image="https://example.com/leia.png"), **given,
    )  # fmt: skip
    rendered = notification.render(event)
    prefix, suffix = rendered.prefix.decode(), rendered.suffix.decode()
    return Sending("1-0", event.id, prefix, suffix, EXPIRES, "collapse-1", kind="regular", channel="general")


def push(**given: Any) -> Sending:
    return push_sending("1-0", 0, ev.PushSend(id="p1", app="demo", at=message().at, where=ev.Where(), **given), 3_600)


def payload(document: dict[str, Any], **given: Any) -> Sending:
    return Sending("1-0", "e1", json.dumps(document), "", EXPIRES, "collapse-1", **given)


def sent(
    settings: FcmSettings, sending: Sending, blocks: Blocks = "all", badge: int | None = None, seconds: int = 60
) -> dict[str, Any]:
    """The message as FCM reads it; it is one that its schema allows."""
    body = Message(form(settings, sending, blocks), "tok:1", ID, badge, sending.expires_at, False).content(seconds)
    document: dict[str, Any] = json.loads(body)
    check("SendMessageRequest", document)
    found: dict[str, Any] = document["message"]
    assert found["token"] == "tok:1"
    return found


def test_the_apps_own_code_gets_everything_as_strings_and_nothing_that_collapses() -> None:
    android = sent(APP, chat(), "android", badge=5)["android"]
    assert android == {
        "priority": "HIGH",
        "ttl": "60s",
        "data": {
            "id": ID,
            "badge": "5",
            "event": "e1",
            "kind": "regular",
            "collapse_id": "collapse-1",
            "channel": "general",
            "thread": "general",
            "message": "m-e1",
            "parent": "m-0",
            "at": f"{message().at.timestamp() * 1000:.0f}",
            "why": "message",
            "sender": "leia",
            "sender_name": "Leia",
            "image": "https://example.com/leia.png",
            "data": '{"call":{"id":7}}',
            "sound": "default",
            "title": "Leia",
            "subtitle": "General",
            "body": "See you at 100% ü",
        },
    }


def test_android_itself_shows_what_replaces_itself_by_its_tag() -> None:
    android = sent(SYSTEM, chat(), "android", badge=5)["android"]
    assert android["notification"] == {
        "notification_count": 5,
        "title": "Leia · General",
        "body": "See you at 100% ü",
        "tag": "collapse-1",
        "channel_id": "messages",
        "sound": "default",
        "image": "https://example.com/leia.png",
    }
    assert "title" not in android["data"] and "body" not in android["data"], "no text is there twice"
    assert android["data"]["id"] == ID and android["data"]["badge"] == "5"


@pytest.mark.parametrize(
    ("importance", "provider", "channel"),
    [
        pytest.param("", None, None, id="nobody says one"),
        pytest.param("mentions", None, "mentions", id="the message's own"),
        pytest.param("mentions", "news", "news", id="the provider's stands for all"),
        pytest.param("silent", "news", "silent", id="but for what is silent"),
    ],
)
def test_the_android_channel_is_the_provider_s_or_that_of_the_message(
    importance: str, provider: str | None, channel: str | None
) -> None:
    sending = msgspec.structs.replace(chat(), importance=importance)
    android = sent(FcmSettings(account(), "system", provider), sending, "android")["android"]
    assert android["notification"].get("channel_id") == channel
    assert android["data"].get("importance", "") == importance


def test_an_apple_device_gets_the_payload_that_apns_would_have_got() -> None:
    sending = chat()
    apns = sent(APP, sending, "apple", badge=5)["apns"]
    assert apns["headers"] == {
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": str(EXPIRES),
        "apns-collapse-id": "collapse-1",
    }
    rendered = notification.Rendered(sending.prefix.encode(), sending.suffix.encode())
    assert apns["payload"] == json.loads(rendered.payload(5))


@pytest.mark.parametrize(
    ("platform", "blocks"),
    [
        ("android", {"android"}),
        ("ios", {"apns"}),
        ("ipados", {"apns"}),
        ("", {"android", "apns"}),
        ("toaster", {"android", "apns"}),
    ],
)
def test_a_device_gets_what_its_platform_reads_and_all_where_nobody_said(platform: str, blocks: set[str]) -> None:
    found = sent(APP, chat(), blocks_for(platform))
    assert found.keys() - {"token"} == blocks


def test_no_image_that_is_not_an_address_of_https_is_given_to_android() -> None:
    document = {
        "aps": {"alert": "hello"},
        "carillon": {"sender": {"id": "leia", "image": "http://example.com/leia.png"}},
    }
    android = sent(SYSTEM, payload(document), "android")["android"]
    assert "image" not in android["notification"] and android["data"]["image"] == "http://example.com/leia.png"


def test_texts_that_the_app_translates_go_on_by_their_names() -> None:
    alert = {"title-loc-key": "NEW", "title-loc-args": ["Leia"], "loc-key": "BODY", "loc-args": ["Leia", "7"]}
    shown = sent(SYSTEM, payload({"aps": {"alert": alert}}), "android")["android"]["notification"]
    assert shown == {"title_loc_key": "NEW", "title_loc_args": ["Leia"], "body_loc_key": "BODY",
                     "body_loc_args": ["Leia", "7"], "tag": "collapse-1", "channel_id": "messages"}  # fmt: skip
    data = sent(APP, payload({"aps": {"alert": alert}}), "android")["android"]["data"]
    assert data["title_loc_key"] == "NEW" and data["body_loc_args"] == '["Leia","7"]'


def test_what_stands_beside_aps_is_in_data_and_reserves_no_key() -> None:
    document = {"aps": {"alert": "hello", "category": "ORDER"}, "from": "Leia", "google.x": 1, "order": {"id": 7}}
    data = sent(APP, payload(document), "android")["android"]["data"]
    assert json.loads(data.pop("data")) == {"from": "Leia", "google.x": 1, "order": {"id": 7}}
    assert data == {"id": ID, "event": "e1", "collapse_id": "collapse-1", "category": "ORDER", "body": "hello"}


@pytest.mark.parametrize(
    ("sending", "priority"),
    [
        pytest.param(chat(), "HIGH", id="a message"),
        pytest.param(push(alert="hello"), "HIGH", id="a targeted push"),
        pytest.param(push(alert="hello", priority=5), "NORMAL", id="a push that can wait"),
        pytest.param(push(data={"order": 5}), "NORMAL", id="a push without a text"),
        pytest.param(push(push_type="background", data={"order": 5}), "NORMAL", id="a silent push"),
            pytest.param(badge_sending("1-0", 0, ev.BadgeCleared(id="b1", app="demo", at=message().at, user="han")), "NORMAL",
                     id="a badge that was cleared elsewhere"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("settings", [APP, SYSTEM])
def test_only_what_a_person_sees_has_high_priority_and_a_notification(
    settings: FcmSettings, sending: Sending, priority: str
) -> None:
    android = sent(settings, sending, badge=3)["android"]
    assert android["priority"] == priority
    alert = sending.prefix + sending.suffix
    assert ("notification" in android) == (settings is SYSTEM and '"alert"' in alert)


def test_a_cleared_badge_says_the_number_to_each_reader() -> None:
    sending = badge_sending("1-0", 0, ev.BadgeCleared(id="b1", app="demo", at=message().at, user="han"))
    found = sent(SYSTEM, sending, badge=0)
    assert found["android"]["data"]["badge"] == "0" and found["android"]["data"]["kind"] == "badge"
    assert found["apns"]["payload"] == {"aps": {"badge": 0}} and found["apns"]["headers"]["apns-priority"] == "5"


@pytest.mark.parametrize(
    ("badge", "shown"),
    [pytest.param(None, None, id="left alone"), pytest.param(0, 0, id="none"), pytest.param(-3, 0, id="below none"),
     pytest.param(2**40, 2**31 - 1, id="more than fits")],
)  # fmt: skip
def test_a_badge_is_the_same_wherever_it_stands(badge: int | None, shown: int | None) -> None:
    found = sent(SYSTEM, chat(), badge=badge)
    text = found["android"]["data"].get("badge")
    assert (None if text is None else int(text)) == shown
    assert found["android"]["notification"].get("notification_count") == shown
    assert found["apns"]["payload"]["aps"].get("badge") == shown


def test_a_payload_with_its_own_word_about_the_badge_keeps_it() -> None:
    found = sent(SYSTEM, payload({"aps": {"alert": "hello", "badge": 7}}), badge=5)
    assert found["android"]["data"]["badge"] == "7" and found["android"]["notification"]["notification_count"] == 7
    assert found["apns"]["payload"]["aps"]["badge"] == 7


@pytest.mark.parametrize(
    ("expires_at", "seconds"),
    [
        pytest.param(1_060, 60, id="a minute"),
        pytest.param(1_000, 0, id="now"),
        pytest.param(10, 0, id="long ago"),
        pytest.param(10**10, LONGEST_TTL, id="in years"),
    ],
)
def test_a_message_lives_until_it_expires_and_28_days_at_most(expires_at: int, seconds: int) -> None:
    assert ttl(expires_at, 1_000.9) == seconds
    assert sent(APP, chat(), seconds=seconds)["android"]["ttl"] == f"{seconds}s"


def sizes(found: dict[str, Any]) -> tuple[int, int]:
    """Octets of what Android reads, and of the payload for APNs."""
    encode = msgspec.json.encode
    android, apns = found.get("android", {}), found.get("apns", {})
    return len(encode(android.get("data"))) + len(encode(android.get("notification", {}))), len(
        encode(apns.get("payload"))
    )


BIG = {"quotes": '"' * 1_500}
HEAVY = [
    pytest.param(chat("𝒳" * 5_000), id="a long text"),
    pytest.param(chat('"\\\n' * 3_000), id="a text of escapes"),
    pytest.param(payload({"aps": {"alert": {"title": "T" * 2_000, "body": "B" * 2_000}}}), id="a long title"),
    pytest.param(payload({"aps": {"alert": {"body": "hello"}}, "carillon": {"data": BIG}}), id="data that grows as a text"),
    pytest.param(payload({"aps": {"alert": "B" * 3_000}, "a": "A" * 800, "b": "B" * 200}), id="much beside aps"),
    pytest.param(payload({"aps": {"alert": {"body": "x", "loc-args": ["a"] * 10}}, "carillon": {"sender": {"id": "i",
                 "name": "N" * 1_900, "image": "https://example.com/" + "i" * 1_900}}}), id="a long name and image"),
]  # fmt: skip


@pytest.mark.parametrize("sending", HEAVY)
@pytest.mark.parametrize("settings", [APP, SYSTEM])
@pytest.mark.parametrize("blocks", ["android", "apple", "all"])
def test_each_reader_gets_no_more_than_fcm_takes(settings: FcmSettings, sending: Sending, blocks: Blocks) -> None:
    android, apns = sizes(sent(settings, sending, blocks, badge=2**31 - 1))
    assert android <= ANDROID_LIMIT and apns <= APNS_LIMIT


def test_a_text_is_cut_only_as_far_as_its_reader_needs() -> None:
    sending = chat("B" * 3_400)
    alone = sent(APP, sending, "android")["android"]["data"]
    assert len(alone["body"]) > 3_000 and alone["data"] and "truncated" not in alone
    cut = sent(APP, chat("B" * 10_000), "android", badge=1)
    assert sizes(cut)[0] > ANDROID_LIMIT - 60, "the room is used"


def test_a_text_gives_way_to_a_line_before_what_an_app_needs_goes() -> None:
    document = {
        "aps": {"alert": {"title": "Leia", "body": "B" * 2_000}},
        "carillon": {"message": "m-1", "sender": {"id": "leia"}, "data": {"x": "X" * 3_900}},
    }
    data = sent(APP, payload(document), "android")["android"]["data"]
    assert "data" not in data and data["truncated"] == "true"
    assert data["message"] == "m-1" and data["body"].endswith("…")


def test_what_fits_is_not_touched() -> None:
    sending = chat("short")
    rendered = notification.Rendered(sending.prefix.encode(), sending.suffix.encode())
    body = Message(form(APP, sending, "all"), "tok:1", ID, 5, EXPIRES, False).content(60)
    assert rendered.payload(5) in body


def test_a_request_shows_no_token_where_a_person_could_read_it() -> None:
    one = Message(form(APP, chat(), "all"), "tok:1", ID, 5, EXPIRES, False)
    assert one.payload == one.content(LONGEST_TTL)


def test_a_call_is_for_the_apps_code_whoever_shows_messages() -> None:
    event = ev.CallStarted(
        id="e1",
        app="demo",
        at=message().at,
        call=ev.Call(id="7d444840-9dc0-11d1-b245-5ffdce74fad2", video=True),
        channel=ev.Channel(id="general"),
        caller=ev.Sender(id="leia", name="Leia"),
        recipients=["han"],
    )
    call = calls.Call("1-0", 1, event)
    for settings in (APP, SYSTEM):
        android = sent(settings, calls.alert_sending(call, "call", None), "android")["android"]
        assert (android["priority"], android["data"]["kind"], "notification" in android) == ("HIGH", "call", False)
        assert json.loads(android["data"]["call"])["caller"] == {"id": "leia", "name": "Leia"}
    assert "notification" in sent(SYSTEM, calls.alert_sending(call, "missed_call", "de"), "android", badge=1)["android"]


@pytest.mark.parametrize("blocks", ["android", "apple", "all"])
def test_a_digest_has_its_numbers_with_the_longest_names(blocks: Blocks) -> None:
    digest = Digest(45, 5, [Count(f"{n}" + "\u4e00" * 254, 9, 1) for n in range(5)])
    names = {one.channel: '"' * 255 for one in digest.channels}
    rendered = digest_payload.render(digest, names, "digest:han:1", 1.0, "de")
    found = sent(APP, payload(json.loads(rendered.payload()), kind="digest"), blocks)
    if blocks != "apple":
        assert json.loads(found["android"]["data"]["digest"])["messages"] == 45
    if blocks != "android":
        assert found["apns"]["payload"]["carillon"]["digest"]["messages"] == 45
