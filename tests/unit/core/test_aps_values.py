"""What Apple wants as strings, numbers and known words: said at publishing and at upload, by field, and right when rendered."""

import json
from typing import Any

import pytest

from producers import decode
from producers.events import accepted
from tests.unit.producers.examples import PUSH
from worker.core.sample_messages import samples
from worker.core.targeted import push_sending
from worker.core.template_form import TemplateError
from worker.core.templates import Template, check

FAULTS = [
    ("interruption-level", "time_sensitive", "expected passive, active, time-sensitive or critical"),
    ("interruption-level", 2, "expected passive"),
    ("relevance-score", 7, "expected a number from 0 to 1"),
    ("relevance-score", "0.5", "expected a number from 0 to 1"),
    ("relevance-score", True, "expected a number from 0 to 1"),
    ("sound", 5, "expected a string or an object"),
    ("sound", {}, "expected a string or an object"),
    ("sound", {"critical": True, "name": "a"}, "sound.critical: expected the number 1, or 0"),
    ("sound", {"critical": 1, "volume": 5}, "sound.volume: expected a number from 0 to 1"),
    ("sound", {"name": 5}, "sound.name: expected a string"),
    ("sound", {"nmae": "a"}, "sound.nmae: Apple knows no such key; known are critical, name, volume"),
    ("content-available", True, "expected the number 1"),
    ("content-available", 1.0, "expected the number 1"),
    ("content-available", "1", "expected the number 1"),
    ("mutable-content", True, "expected the number 1, or 0"),
    ("mutable-content", "1", "expected the number 1, or 0"),
    ("thread-id", 5, 'expected a string, got a number; in quotes it is one: "5"'),
    ("thread-id", None, "expected a string, got null"),
    ("category", ["a"], "expected a string, got a list"),
    ("target-content-id", {"a": 1}, "expected a string, got an object"),
    ("filter-criteria", 1, "expected a string"),
    ("alert", {"title": 5}, "alert.title: expected a string"),
    ("alert", {"body": {"x": 1}}, "alert.body: expected a string, got an object"),
    ("alert", {"loc-key": "A", "loc-args": "Han"}, "alert.loc-args: expected a list of strings"),
    ("alert", {"loc-key": "A", "loc-args": ["Han", 5]}, r"alert.loc-args\[1\]: expected a string, got a number"),
    ("alert", {"title": None, "body": ""}, "alert.title: expected a string, got null"),
]


@pytest.mark.parametrize(("key", "value", "words"), FAULTS)
def test_push_send_is_refused_by_field(key: str, value: Any, words: str) -> None:
    data = {"alert": "hello", key: value}
    with pytest.raises(ValueError, match=rf"^data\.{key}.*") as refused:
        decode(json.dumps({**PUSH, "data": data}))
    with pytest.raises(ValueError, match=words):
        raise refused.value


@pytest.mark.parametrize(("key", "value", "words"), FAULTS)
def test_a_template_is_refused_by_field_at_upload_and_goes_on_where_it_was_stored(
    key: str, value: Any, words: str
) -> None:
    if key == "alert" and value.get("body") == "":
        value = {**value, "body": "hello"}
    document = json.dumps({"aps": {"alert": "hello", key: value}})
    stored = Template.parse(document)
    with pytest.raises(TemplateError, match=words):
        check(stored, [])


def test_a_push_that_an_earlier_release_took_is_still_sent() -> None:
    event = accepted(json.dumps({**PUSH, "data": {"alert": "hello", "thread-id": 5}}).encode())
    assert json.loads(push_sending("1-0", 1, event, 3600).prefix)["aps"]["thread-id"] == 5  # type: ignore[arg-type]


GOOD: list[dict[str, Any]] = [
    {"alert": "hello", "interruption-level": "time-sensitive", "relevance-score": 0.5, "mutable-content": 1},
    {"alert": {"loc-key": "A", "loc-args": ["Han", "5"]}, "relevance-score": 1, "thread-id": "5", "category": "c"},
    {"sound": {"critical": 1, "name": "a.caf", "volume": 0}, "content-available": 1, "target-content-id": "w"},
    {"alert": {"title-loc-key": "A"}, "sound": "default", "filter-criteria": "f", "mutable-content": 0},
]


@pytest.mark.parametrize("data", GOOD)
def test_what_apple_takes_is_taken(data: dict[str, Any]) -> None:
    decode(json.dumps({**PUSH, "data": data}))
    check(Template.parse(json.dumps({"aps": {"alert": "hello", **data}})), samples("demo", "regular"))


@pytest.mark.parametrize("alert", ["  ", "\u200b", {"title": " ", "body": "\n"}, {"launch-image": "a"}], ids=ascii)
def test_an_alert_that_shows_nothing_is_refused(alert: Any) -> None:
    with pytest.raises(ValueError, match=r"data\.alert: must not be empty"):
        decode(json.dumps({**PUSH, "data": {"alert": alert}}))


@pytest.mark.parametrize("alert", ["", " ", "\u200b\n", {"title": " "}, {"body": "\ufeff"}], ids=ascii)
def test_a_plain_alert_that_shows_nothing_is_refused(alert: Any) -> None:
    push = {key: value for key, value in PUSH.items() if key != "data"}
    with pytest.raises(ValueError, match="alert: must not be empty"):
        decode(json.dumps({**push, "alert": alert}))


CONTEXT = {
    "message": {"data": {"n": 5, "half": 0.5, "yes": True, "what": {"a": 1}, "list": ["a"], "level": "loud"}},
    "sender": {"name": "Leia", "id": "leia"},
}


@pytest.mark.parametrize(
    ("aps", "rendered"),
    [
        (
            {"alert": {"loc-key": "UNREAD", "loc-args": ["{{ sender.name }}", "{{ message.data.n }}"]}},
            {"alert": {"loc-key": "UNREAD", "loc-args": ["Leia", "5"]}},
        ),
        (
            {"alert": {"title": "{{ message.data.n }}", "body": "{{ message.data.yes }}"}},
            {"alert": {"title": "5", "body": "true"}},
        ),
        ({"alert": "{{ message.data.half }}"}, {"alert": "0.5"}),
        ({"alert": "a", "thread-id": "{{ message.data.n }}"}, {"alert": "a", "thread-id": "5"}),
        ({"alert": "a", "category": "{{ message.data.no }}"}, {"alert": "a"}),
        ({"alert": "a", "sound": {"name": "{{ message.data.n }}"}}, {"alert": "a", "sound": {"name": "5"}}),
        ({"alert": "a", "relevance-score": "{{ message.data.half }}"}, {"alert": "a", "relevance-score": 0.5}),
        ({"alert": {"title": 5, "body": "{{ sender.name }}"}}, {"alert": {"title": "5", "body": "Leia"}}),
    ],
)
def test_a_template_makes_strings_where_apple_wants_them(aps: dict[str, Any], rendered: dict[str, Any]) -> None:
    template = Template.parse(json.dumps({"aps": {"badge": None, **aps}}))
    assert json.loads(template.render(CONTEXT).rendered.payload())["aps"] == rendered


@pytest.mark.parametrize(
    ("aps", "words"),
    [
        ({"alert": {"title": "{{ message.data.what }}"}}, r"aps\.alert\.title: an object or a list"),
        ({"alert": "a", "thread-id": "{{ message.data.list }}"}, r"aps\.thread-id: an object or a list"),
        (
            {"alert": "a", "interruption-level": "{{ message.data.level }}"},
            r"aps\.interruption-level: expected passive",
        ),
        ({"alert": "a", "relevance-score": "{{ message.data.n }}"}, r"aps\.relevance-score: expected a number from 0"),
        ({"alert": "{{ message.data.what }}"}, r"aps\.alert\.a: Apple knows no such key"),
        ({"alert": "a", "sound": "{{ message.data.n }}"}, r"aps\.sound: expected a string"),
    ],
)
def test_what_has_no_text_falls_back_and_names_the_field(aps: dict[str, Any], words: str) -> None:
    template = Template.parse(json.dumps({"aps": aps}))
    with pytest.raises(TemplateError, match=words):
        template.render(CONTEXT)
