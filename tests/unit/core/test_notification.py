"""A message becomes one payload for all its devices, cut to Apple's limit, with ids that survive every retry."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.events import Channel, Message, MessageNew, Sender
from worker.core.batch import Job, Sending
from worker.core.loudness import Loudness
from worker.core.notification import collapse_id, expiration, render
from worker.core.push_ids import NAMESPACE, apns_id, push_ids

AT = datetime(2026, 11, 21, 20, 0, 0, 123_000, tzinfo=UTC)


def message(
    text: str = "hello", *, channel: dict[str, Any] | None = None, sender: dict[str, Any] | None = None, **fields: Any
) -> MessageNew:
    return MessageNew(
        id="evt-1",
        app="demo",
        at=AT,
        channel=Channel(**({"id": "messaging:general", "name": "General"} | (channel or {}))),
        message=Message(**({"id": "msg-1", "text": text} | fields)),
        sender=Sender(**({"id": "leia", "name": "Leia Organa", "image": "https://x/l.png"} | (sender or {}))),
    )


def payload(event: MessageNew, badge: int | None = None, limit: int = 4096) -> dict[str, Any]:
    document = render(event, limit=limit).payload(badge)
    assert len(document) <= limit
    decoded: dict[str, Any] = json.loads(document)
    return decoded


def test_a_message_becomes_an_alert_with_what_an_app_needs_to_know_it_by() -> None:
    event = message(parent_id="root-1", kind="agent", data={"queue": {"place": 3}, "ünï": [1, None, 1.5]})
    assert payload(event, badge=7) == {
        "aps": {
            "badge": 7,
            "sound": "default",
            "thread-id": "messaging:general",
            "mutable-content": 1,
            "alert": {"title": "Leia Organa", "subtitle": "General", "body": "hello"},
        },
        "carillon": {
            "event": "evt-1",
            "kind": "agent",
            "message": "msg-1",
            "parent": "root-1",
            "channel": "messaging:general",
            "at": 1795291200123,
            "why": "message",
            "sender": {"id": "leia", "name": "Leia Organa", "image": "https://x/l.png"},
            "data": {"queue": {"place": 3}, "ünï": [1, None, 1.5]},
        },
    }


def test_what_a_message_does_not_have_is_not_in_its_payload() -> None:
    event = message("", channel={"name": None}, sender={"name": None, "image": None})
    document = payload(event)
    assert document["aps"]["alert"] == {"title": "leia"}
    assert document["carillon"] == {
        "event": "evt-1",
        "kind": "regular",
        "message": "msg-1",
        "channel": "messaging:general",
        "at": 1795291200123,
        "why": "message",
        "sender": {"id": "leia"},
    }


def test_an_app_learns_for_which_reason_somebody_gets_a_message() -> None:
    assert json.loads(render(message(), why="mention").payload())["carillon"]["why"] == "mention"


def test_without_a_sound_a_notification_lights_the_screen_as_it_did() -> None:
    loud, silent = payload(message()), json.loads(render(message(), loud=Loudness(sound=False)).payload())
    assert loud["aps"].pop("sound") == "default"
    assert silent == loud


@pytest.mark.parametrize(
    ("badge", "shown"),
    [(0, 0), (1, 1), (2**31 - 1, 2**31 - 1), (2**40, 2**31 - 1), (-3, 0)],
)
def test_only_the_badge_differs_between_the_devices_of_a_message(badge: int, shown: int) -> None:
    rendered = render(message())
    without = json.loads(rendered.payload(None))
    assert "badge" not in without["aps"]
    having = json.loads(rendered.payload(badge))
    assert having["aps"].pop("badge") == shown
    assert having == without


def test_where_the_kind_of_a_channel_is_known_the_payload_tells_of_the_conversation() -> None:
    event = message(channel={"kind": "group"})
    carillon = json.loads(render(event, why="group", members=3, group="Crew").payload())["carillon"]
    assert [carillon[key] for key in ("name", "channel_kind", "members", "group")] == ["General", "group", 3, "Crew"]


def test_what_tells_of_the_conversation_is_left_out_after_the_image_and_before_the_names() -> None:
    long = "ñ" * 255
    event = message("t" * 5000, channel={"kind": "channel", "name": long}, sender={"image": "https://x/" + "i" * 2000})
    names = {"aps", "carillon"}
    sizes: dict[str, int] = {}
    for limit in range(1500, 4096, 20):
        document = json.loads(render(event, members=9, limit=limit).payload())
        assert document.keys() == names
        carillon = document["carillon"]
        sizes["image"] = sizes.get("image") or ("image" in carillon["sender"] and limit)
        sizes["conversation"] = sizes.get("conversation") or ("channel_kind" in carillon and limit)
        whole = document["aps"]["alert"]["subtitle"] == long
        sizes["names"] = sizes.get("names") or (whole and limit)
    assert sizes["names"] < sizes["conversation"] < sizes["image"]


def test_a_long_text_is_cut_and_nothing_else_is() -> None:
    event = message("🐙 wörd " * 4000, data={"k": "v" * 500})
    document = payload(event, badge=2**31 - 1)
    body = document["aps"]["alert"]["body"]
    assert body.endswith("…") and event.message.text.startswith(body[:-1])
    assert document["carillon"]["data"] == event.message.data
    assert "truncated" not in document["carillon"]
    assert len(render(event).payload(2**31 - 1)) > 4096 - 20, "the room is used"


def test_a_voip_payload_may_take_its_larger_limit() -> None:
    event = message("x" * 10_000)
    assert 5100 < len(render(event, limit=5120).payload(2**31 - 1)) <= 5120


def test_data_that_leaves_no_line_for_the_text_is_left_out_whole_and_says_so() -> None:
    document = payload(message("t" * 300, data={"blob": "x" * 3700}))
    assert document["aps"]["alert"]["body"] == "t" * 300
    assert "data" not in document["carillon"]
    assert document["carillon"]["truncated"] is True


def test_data_that_fits_beside_a_short_text_is_untouched() -> None:
    data = {"blob": "x" * 3500}
    assert payload(message("short", data=data))["carillon"]["data"] == data


def test_names_lose_their_ends_before_ids_are_lost() -> None:
    long = "ñ" * 255
    document = payload(
        message("t" * 5000, id="m" * 255, parent_id="p" * 255, channel={"id": "é" * 255, "name": long},
                sender={"id": "s" * 255, "name": long, "image": "https://x/" + "i" * 2000})
    )  # fmt: skip
    assert document["carillon"]["message"] == "m" * 255
    assert document["carillon"]["channel"] == document["aps"]["thread-id"] == "é" * 255
    assert document["carillon"]["at"] == 1795291200123
    assert "image" not in document["carillon"]["sender"]


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=255)
ANY_ID = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255),
    st.sampled_from(["\x01" * 255, "🐙" * 255, '"' * 255]),
)


@settings(max_examples=200, deadline=None)
@given(
    text=st.one_of(ANY_TEXT, st.sampled_from(["\x01" * 9000, "🏴󠁧󠁢󠁥󠁮󠁧󠁿" * 900, "e\u0301" * 5000])),
    ids=st.tuples(ANY_ID, ANY_ID, ANY_ID, ANY_ID, ANY_ID, ANY_ID),
    names=st.tuples(ANY_ID, ANY_ID),
    image=st.sampled_from([None, "https://x/" + "i" * 2000]),
    data=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
    badge=st.sampled_from([None, 0, 2**31 - 1]),
    limit=st.sampled_from([4096, 5120]),
)
def test_no_message_is_too_long_to_be_pushed(
    text: str,
    ids: tuple[str, ...],
    names: tuple[str, str],
    image: str | None,
    data: dict[str, Any],
    badge: int | None,
    limit: int,
) -> None:
    event = MessageNew(
        id=ids[0],
        app="demo",
        at=AT,
        channel=Channel(id=ids[1], name=names[0]),
        message=Message(id=ids[2], text=text, parent_id=ids[3], kind=ids[4], data=data),
        sender=Sender(id=ids[5], name=names[1], image=image),
    )
    document = payload(event, badge, limit)
    assert document["aps"]["alert"]["title"]
    assert document["aps"]["mutable-content"] == 1


def test_an_apns_id_is_the_name_based_uuid_of_app_event_and_device() -> None:
    assert apns_id("evt-1", "demo", 42) == str(uuid.uuid5(NAMESPACE, "4:demo5:evt-142"))


@given(app=ANY_ID, event=ANY_ID, device=st.integers(0, 2**63))
def test_an_apns_id_is_canonical_and_stable(app: str, event: str, device: int) -> None:
    name = apns_id(event, app, device)
    parsed = uuid.UUID(name)
    assert str(parsed) == name
    assert (parsed.version, parsed.variant) == (5, uuid.RFC_4122)
    by_name = uuid.uuid5(NAMESPACE, f"{len(app)}:{app}{len(event)}:{event}{device}")
    assert name == str(by_name) == apns_id(event, app, str(device))


@given(
    app=ANY_ID, events=st.lists(ANY_ID, min_size=1), of=st.lists(st.tuples(st.integers(0, 9), st.integers(-5, 2**63)))
)
def test_the_ids_of_many_are_those_of_each(app: str, events: list[str], of: list[tuple[int, int]]) -> None:
    sendings = [Sending("1-0", event, "", "", 0, "") for event in events]
    jobs = [Job(number % len(events), device, "u", "00", 0) for number, device in of]
    assert push_ids(app, sendings, jobs) == [apns_id(events[one.sending], app, one.device) for one in jobs]


def test_apns_ids_differ_by_app_event_and_device() -> None:
    names = {apns_id(e, a, d) for a in ("a", "ab") for e in ("b", "bb", "bb1") for d in (1, 11, 111)}
    assert len(names) == 2 * 3 * 3


def test_a_collapse_id_belongs_to_one_message_of_one_app() -> None:
    names = [collapse_id("demo", "msg-1"), collapse_id("demo", "msg-2"), collapse_id("other", "msg-1")]
    names += [collapse_id("demo", "17", "team:a"), collapse_id("demo", "17", "team:b")]
    assert len(set(names)) == 5, "chat servers may number the messages of each channel by themselves"
    assert all(len(n) == 40 and n.isascii() for n in names)
    assert collapse_id("demo", "ü" * 255) == collapse_id("demo", "ü" * 255)


def test_a_notification_expires_by_the_age_of_its_message_not_of_its_sending() -> None:
    assert expiration(message(), 3600) == int(AT.timestamp()) + 3600
