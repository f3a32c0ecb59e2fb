"""Who may read how much: the strictest wins, and what each mode leaves in a payload and what not."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.events import Channel, Message, MessageNew, Sender
from tests.unit.web.browser import new_browser
from worker.core.batch import Sending
from worker.core.model import Device, traits_of
from worker.core.notification import Rendered, render
from worker.core.privacy import (
    FULL,
    MODES,
    Disclosure,
    by_id,
    disclosure,
    is_unsealed,
    limit_for,
    padding,
    placeholder,
    sealable,
    strictest,
    with_hidden_ids,
    with_record,
    without_text,
)
from worker.core.sealing import hidden
from worker.core.template_form import TemplateError
from worker.core.templates import Template, context_of

EVENT = MessageNew(
    id="evt-1",
    app="demo",
    at=datetime(2026, 11, 21, 20, 0, 0, 123_000, UTC),
    channel=Channel(id="messaging:general", name="General"),
    message=Message(id="msg-1", text="meet me at the pier", data={"place": "pier 9"}),
    sender=Sender(id="leia", name="Leia Organa", image="https://x.example/leia.png"),
)
#: Of `EVENT`, what each mode keeps from a push service.
TEXTS = ["meet me at the pier", "pier 9", "leia.png"]
NAMES = ["Leia", "General", "leia"]
IDS = {"event": "evt-1", "message": "msg-1", "channel": "messaging:general"}
IOS = 4_096


def device(key: str = "", accepts: tuple[str, ...] = ("sealed",)) -> Device:
    return Device(1, "han", 1, "ab", None, 0, traits=traits_of(accepts, None, key or None))


#: Mode of the app, the channel and the user; whether the device has a key; what was asked for, and what the device gets of it.
TABLE = [
    pytest.param("full", None, None, False, "full", "full", id="V01"),
    pytest.param("full", "sender", None, False, "sender", "sender", id="V02"),
    pytest.param("id", "full", None, False, "id", "id", id="V03"),
    pytest.param("sealed", None, None, True, "sealed", "sealed", id="V04"),
    pytest.param("sealed", None, None, False, "sealed", "id", id="V05"),
    pytest.param("full", None, "id", True, "id", "id", id="V07"),
    pytest.param("sender", "sealed", None, True, "sealed", "sealed", id="V08, the device with a key"),
    pytest.param("sender", "sealed", None, False, "sealed", "id", id="V08, the other"),
]


@pytest.mark.parametrize(("app", "channel", "user", "has_key", "mode", "form"), TABLE)
def test_the_strictest_mode_counts_as_far_as_the_device_can_keep_it(app, channel, user, has_key, mode, form):
    asked = strictest(app, channel, user)
    found = disclosure(asked, device("k1" if has_key else ""), "service", IOS)
    assert (found.mode, found.form) == (mode, form)
    assert is_unsealed(found) == (mode == "sealed" and form == "id")


@given(st.lists(st.sampled_from([*MODES, None, ""]), max_size=5))
def test_nobody_gets_more_shown_than_anybody_asked_for(asked):
    found = strictest(*asked)
    assert all(MODES.index(found) >= MODES.index(one) for one in asked if one)
    assert found in asked or found == "full"


def test_an_app_that_does_not_say_that_it_opens_seals_gets_ids_though_it_gave_a_key():
    assert disclosure("sealed", device("k1", accepts=("clear",)), "service", IOS) == Disclosure("sealed", "id")


@pytest.mark.parametrize("mode", MODES)
def test_the_customers_own_gets_everything_with_the_mode(mode):
    assert disclosure(mode, device(), "nobody", IOS) == Disclosure(mode, "full")


def test_a_browser_needs_no_second_seal():
    assert disclosure("sealed", device(), "sealed", 0) == Disclosure("sealed", "full")
    assert disclosure("id", device(), "sealed", 0) == Disclosure("id", "id")


def test_in_mode_sender_names_and_ids_are_left():
    shown = render(without_text(EVENT, "New message")).payload().decode()
    assert not [text for text in TEXTS if text in shown]
    alert = json.loads(shown)["aps"]["alert"]
    assert alert == {"title": "Leia Organa", "subtitle": "General", "body": "New message"}


def test_in_mode_id_the_ids_are_left_and_a_badge_still_fits_in():
    shown = by_id(render(EVENT), IDS, "New message")
    assert not [text for text in TEXTS + NAMES if text in shown.payload().decode()]
    assert json.loads(shown.payload(3)) == {
        "aps": {
            "badge": 3,
            "sound": "default",
            "mutable-content": 1,
            "thread-id": "messaging:general",
            "alert": {"title": "New message"},
        },
        "carillon": IDS,
    }


def sealed(rendered: Rendered, octets: int = IOS, key: str = "k1"):
    return sealable(rendered, "New message", disclosure("sealed", device(key), "service", octets))


def test_in_mode_sealed_the_outside_has_nothing_and_the_inside_everything():
    whole = json.loads(render(EVENT).payload())
    made = sealed(render(EVENT))
    outside = json.loads(made.outside.payload(3))
    assert outside == {
        "aps": {"badge": 3, "sound": "default", "mutable-content": 1, "alert": {"title": "New message"}},
        "carillon": {"sealed": {}},
    }
    inside = json.loads(made.inside)
    assert inside.pop("v") == 1
    assert inside["carillon"] == whole["carillon"]
    assert inside["aps"] == {key: whole["aps"][key] for key in ("alert", "thread-id")}


def test_what_the_system_reads_of_a_template_stays_outside_and_the_rest_goes_in():
    template = Template.parse(
        b'{"aps": {"alert": {"title": "{{ sender.name }}", "body": "{{ message.text }}"}, "badge": "{{ badge }}",'
        b' "sound": "ping.caf", "category": "MESSAGE", "interruption-level": "time-sensitive", "relevance-score": 0.5,'
        b' "thread-id": "{{ channel.id }}"}, "deep": {"link": "app://{{ message.id }}"}}'
    )
    made = sealed(template.render(context_of(EVENT)).rendered)
    assert json.loads(made.outside.payload(7)) == {
        "aps": {
            "badge": 7,
            "sound": "ping.caf",
            "category": "MESSAGE",
            "interruption-level": "time-sensitive",
            "relevance-score": 0.5,
            "mutable-content": 1,
            "alert": {"title": "New message"},
        },
        "carillon": {"sealed": {}},
    }
    assert json.loads(made.inside) == {
        "v": 1,
        "aps": {"alert": {"title": "Leia Organa", "body": "meet me at the pier"}, "thread-id": "messaging:general"},
        "deep": {"link": "app://msg-1"},
    }


@pytest.mark.parametrize("badge", [b'"badge": 5, ', b'"badge": null, '])
def test_a_template_with_its_own_word_on_the_badge_keeps_it(badge):
    template = Template.parse(b'{"aps": {' + badge + b'"alert": "{{ message.text }}"}}')
    made = sealed(template.render(context_of(EVENT)).rendered)
    shown = json.loads(made.outside.payload(9))["aps"]
    assert shown.get("badge") == (5 if b"5" in badge else None)
    assert json.loads(with_record(made.outside.payload().decode(), "k1", "AAAA"))["carillon"]["sealed"]["d"] == "AAAA"


def test_the_room_inside_is_what_is_left_of_a_payload():
    assert sealed(render(EVENT)).room == 2_853


@given(st.integers(0, 6_000), st.sampled_from(["k", "k1", 'a"\\' * 10, "k" * 32]), st.sampled_from([3_700, IOS]))
def test_what_is_cut_to_the_limit_fits_with_its_record_and_any_badge(length, key, octets):
    event = without_text(EVENT, "ab " * (length // 3))
    made = sealed(render(event), octets, key)
    if len(made.inside) > made.room:
        made = sealed(render(event, limit=limit_for(made)), octets, key)
        assert made.room - 64 < len(made.inside), "no more is cut than has to be"
    assert len(made.inside) <= made.room
    record = "A" * -(-(made.room + 103) * 4 // 3)
    assert len(with_record(made.outside.payload(2**31 - 1).decode(), key, record).encode()) <= octets


def test_a_template_is_cut_to_the_same_limit():
    template = Template.parse(b'{"aps": {"alert": "{{ message.text }}"}}')
    made = sealed(template.render(context_of(without_text(EVENT, "a" * 5_000))).rendered)
    assert len(made.inside) > made.room
    again = sealed(template.render(context_of(without_text(EVENT, "a" * 5_000)), limit=limit_for(made)).rendered)
    assert again.room - 64 < len(again.inside) <= again.room
    with pytest.raises(TemplateError):
        template.render(context_of(EVENT), limit=20)


@given(st.integers(0, 2_853), st.sampled_from([None, 1, 512, 1_024]))
def test_padding_fills_up_to_a_step_and_never_beyond_the_room(inside, step):
    filled = inside + padding(inside, 2_853, step)
    assert inside <= filled <= 2_853
    assert step is None or filled % step == 0 or filled == 2_853


@pytest.mark.parametrize(
    ("texts", "locale", "count", "shown"),
    [
        pytest.param(
            {"": "Something new", "fr": "Du nouveau"}, "fr-CA", 0, "Du nouveau", id="in the device's language"
        ),
        pytest.param({"": "Something new", "fr": "Du nouveau"}, "de", 0, "Something new", id="in any other"),
        pytest.param({"fr": "Du nouveau"}, "de-AT", 0, "1 neue Nachricht", id="a language that the app has not"),
        pytest.param({}, None, 0, "1 new message", id="of an app that has none"),
        pytest.param({"": "Something new"}, "de", 3, "3 neue Nachrichten", id="V10, V13: how many there are"),
    ],
)
def test_the_placeholder_speaks_the_devices_language(texts, locale, count, shown):
    assert placeholder(texts, locale, count) == shown


def test_without_a_setting_everything_is_shown():
    assert disclosure(strictest("full", None, ""), device("k1"), "service", IOS) == FULL


@pytest.mark.parametrize("counted", [True, False])
def test_what_takes_a_notification_back_calls_it_by_names_that_the_device_alone_knows(counted):
    keys = new_browser().keys
    clear = {"channel": "messaging:general", "thread": "m-1", "until": 17}
    document = json.dumps({"aps": {"content-available": 1}, "carillon": {"clear": clear}}, separators=(",", ":"))
    head = '{"aps":{'
    parts = (head, document[len(head) :]) if counted else (document, "")
    made = with_hidden_ids(Sending("1-0", "e", *parts, 0, "c", hides_ids=True), keys)
    shown = json.loads(Rendered(made.prefix.encode(), made.suffix.encode()).payload(3))
    assert shown["carillon"]["clear"] == {
        "channel": hidden("messaging:general", keys),
        "thread": hidden("m-1", keys),
        "until": 17,
    }
    assert shown["aps"] == ({"badge": 3, "content-available": 1} if counted else {"content-available": 1})
