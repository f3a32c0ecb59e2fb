"""What a browser gets: a Declarative Web Push document made of the neutral payload, within what browsers take."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers import events as ev
from tests.integration.pipeline.harness import message
from worker.core import notification
from worker.core.batch import Sending
from worker.core.sealing import LONGEST
from worker.core.targeted import badge_sending, push_sending
from worker.providers.web.render import SHORT, SILENT, UNTRANSLATED, Document
from worker.providers.web.request import limit_at

PAGE = "https://chat.example.com/c/{channel}#{message}"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def document(sending: Sending, page: str = "") -> Document:
    neutral = (sending.prefix + sending.suffix).encode()
    return Document(neutral, counted=bool(sending.suffix), tag=sending.collapse_id, page=page)


def of_message(page="", **changes):
    event = message(text=changes.pop("text", "hello"))
    parts = {"sender": ev.Sender(id="leia", name="Leia", image="https://cdn.example.com/leia.png"), **changes}
    rendered = notification.render(msgspec.structs.replace(event, **parts))
    return document(Sending("1-0", "e1", rendered.prefix.decode(), rendered.suffix.decode(), 0, "collapse"), page)


def of_push(**fields):
    event = ev.PushSend(id="p1", app="demo", at=AT, where=ev.Where(everyone=True), **fields)
    return document(push_sending("1-0", 1, event, 60))


def read(found: Document, badge=3, limit=LONGEST):
    return json.loads(found.payload(badge, limit))


def test_a_message_is_shown_by_the_browser_and_read_by_the_service_worker():
    channel = ev.Channel(id="general", name="General")
    found = read(of_message(PAGE, channel=channel))
    event = message(text="hello")
    assert found["app_badge"] == 3
    assert found["web_push"] == 8030
    assert found["mutable"] is True
    assert found["thread"] == "general"
    assert found["notification"] == {
        "title": "Leia · General",
        "body": "hello",
        "tag": "collapse",
        "icon": "https://cdn.example.com/leia.png",
        "navigate": f"https://chat.example.com/c/general#{event.message.id}",
    }
    carillon = found["carillon"]
    assert (carillon["event"], carillon["message"], carillon["channel"]) == (event.id, event.message.id, "general")
    assert carillon["sender"] == {"id": "leia", "name": "Leia"}, "the image stands in one place"


def test_without_a_page_a_service_worker_shows_it():
    found = read(of_message())
    assert "web_push" not in found
    assert "navigate" not in found["notification"]


def test_a_page_has_the_ids_of_the_message_escaped():
    found = read(of_message(PAGE, channel=ev.Channel(id="a/b?c ä", name="x")))
    assert found["notification"]["navigate"].startswith("https://chat.example.com/c/a%2Fb%3Fc%20%C3%A4#")


def test_a_push_without_a_channel_opens_the_first_page():
    event = ev.PushSend(id="p1", app="demo", at=AT, where=ev.Where(everyone=True), alert="hello")
    found = read(document(push_sending("1-0", 1, event, 60), PAGE))
    assert found["notification"]["navigate"] == "https://chat.example.com/"


def test_no_word_about_the_badge_leaves_the_icon_alone():
    assert "app_badge" not in read(of_message(), badge=None)
    assert read(of_message(), badge=0)["app_badge"] == 0
    assert read(of_message(), badge=10**12)["app_badge"] == 2**31 - 1


@pytest.mark.parametrize(
    ("fields", "shown", "badge"),
    [
        pytest.param({"alert": "hello"}, {"title": "hello", "tag": "t"}, None, id="a text alone is the title"),
        pytest.param(
            {"alert": ev.Alert(title="a", body="b")}, {"title": "a", "body": "b", "tag": "t"}, None, id="title and body"
        ),
        pytest.param(
            {"data": {"alert": "hello", "badge": 7}}, {"title": "hello", "tag": "t", "silent": True}, 7,
            id="without a sound, with a number for all",
        ),
        pytest.param(
            {"data": {"alert": "hello", "sound": "x", "badge": "Increment"}}, {"title": "hello", "tag": "t"}, 3,
            id="with a sound, and counted",
        ),
    ],
)  # fmt: skip
def test_a_targeted_push_means_the_same(fields, shown, badge):
    found = read(of_push(collapse_id="t", **fields))
    assert found["notification"] == shown
    assert found.get("app_badge") == badge


def test_custom_data_goes_along():
    found = read(of_push(data={"alert": "hello", "order": {"id": 5}, "thread-id": "t1"}))
    assert found["order"] == {"id": 5}
    assert found["thread"] == "t1"


@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param(
            document(badge_sending("1-0", 1, ev.BadgeCleared(id="b1", app="demo", at=AT, user="leia"))), SILENT,
            id="a badge that was cleared",
        ),
        pytest.param(of_push(data={"x": 1}, push_type="background"), SILENT, id="a push that wakes the app"),
        pytest.param(of_push(data={"badge": 3}), SILENT, id="a number"),
        pytest.param(of_push(data={"sound": "x"}), SILENT, id="a sound"),
        pytest.param(of_push(data={"alert": {"loc-key": "NEW"}}), UNTRANSLATED, id="a text by its key"),
        pytest.param(of_push(data={"alert": {"title": "a"}}), None, id="a title"),
        pytest.param(of_message(), None, id="a message"),
    ],
)  # fmt: skip
def test_what_a_browser_cannot_show_is_not_sent(found, why):
    assert found.impossible == why


@settings(deadline=None, max_examples=150)
@given(
    text=st.text(max_size=6_000),
    name=st.text(min_size=1, max_size=200),
    channel=st.text(min_size=1, max_size=200),
    data=st.dictionaries(st.text(max_size=20), st.text(max_size=2_000), max_size=3),
    badge=st.none() | st.integers(0, 2**31),
)
def test_every_message_is_a_document_within_the_limit(text, name, channel, data, badge):
    event = message(text="x")
    event = msgspec.structs.replace(
        event,
        message=msgspec.structs.replace(event.message, text=text, data=data),
        sender=ev.Sender(id="s" * 255, name=name, image="https://cdn.example.com/" + "i" * 1_000),
        channel=ev.Channel(id=channel, name=name),
    )
    rendered = notification.render(event)
    sending = Sending("1-0", "e1", rendered.prefix.decode(), rendered.suffix.decode(), 0, "c" * 64)
    found = document(sending, "https://chat.example.com/{channel}/{message}")
    for limit in (LONGEST, SHORT):
        payload = found.payload(badge, limit)
        assert len(payload) <= limit
        assert json.loads(payload)["notification"]["title"]


def test_the_text_gives_way_first_and_what_was_left_out_is_said():
    long = of_message(text="ä" * 4_000)
    whole = json.loads(long.payload(1, LONGEST))
    assert whole["notification"]["body"].endswith("…")
    assert "truncated" not in whole["carillon"]
    short = json.loads(long.payload(1, SHORT))
    assert len(short["notification"]["body"]) < len(whole["notification"]["body"])
    assert short["notification"]["icon"] and short["carillon"] == whole["carillon"]
    with_data = of_push(data={"alert": "hello", "blob": "x" * 3_000})
    assert json.loads(with_data.payload(1, LONGEST))["blob"]
    cut = json.loads(with_data.payload(1, SHORT))
    assert cut["carillon"] == {"truncated": True} and "blob" not in cut


def test_firefox_on_android_sets_the_limit_of_all_that_mozilla_serves():
    assert limit_at("updates.push.services.mozilla.com") == SHORT
    assert limit_at("fcm.googleapis.com") == limit_at("web.push.apple.com") == LONGEST


def test_equal_documents_are_equal_and_show_nothing():
    assert of_message() == of_message()
    assert of_message() != of_message(text="other")
    assert repr(of_message()) == "Document()"
