"""A template's time and memory follow the payload's limit: not the message's size, and not the template's number of values."""

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from producers.events import Channel, Message, MessageNew, Sender
from worker.core import template_cut
from worker.core.notification import LEAST_BODY, LIMIT, SHORT_NAME
from worker.core.template_cut import cut
from worker.core.template_form import Path, TemplateError
from worker.core.template_values import LARGEST, bounded, text_of
from worker.core.templates import Template, context_of
from worker.core.truncation import fit, json_size

ALERT = {"aps": {"alert": "x"}}
EVENT = MessageNew(
    id="e1",
    app="chat",
    at=datetime(2026, 11, 21, 20, 0, tzinfo=UTC),
    channel=Channel(id="c1"),
    message=Message(id="m1", text="hello there", mentioned=["han"]),
    sender=Sender(id="leia"),
)
LARGE = 900_000


def payload(document: dict[str, Any], **data: Any) -> Any:
    event = replace(EVENT, message=replace(EVENT.message, data=data))
    return json.loads(Template.parse(json.dumps(document)).render(context_of(event)).rendered.payload(1))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(r"{{ '\ud800' }}", id="in an expression"),
        pytest.param(r"{% if message.data.x %}{{ '\ud800' }}{% endif %}{{ message.text }}", id="behind a condition"),
        pytest.param(r"{{ '\ud83d' ~ '\ude00' }}", id="two halves"),
        pytest.param(r"{{ message.data['\udc00'] }}", id="a key"),
        pytest.param(r"{{ message.text|default('\ud800', true) }}", id="a filter's argument"),
    ],
)
def test_half_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="surrogate"):
        Template.parse(json.dumps(ALERT | {"x": text}))


def test_half_a_surrogate_pair_in_the_json_is_refused() -> None:
    with pytest.raises(TemplateError, match="is not JSON"):
        Template.parse(r'{"aps": {"alert": "\ud800"}}')


def test_whatever_goes_wrong_the_message_falls_back_to_the_default_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise UnicodeEncodeError("utf-8", "the message's own words", 0, 1, "surrogates not allowed")

    template = Template.parse(json.dumps(ALERT))
    monkeypatch.setattr("worker.core.templates.size", fails)
    with pytest.raises(TemplateError) as caught:
        template.render(context_of(EVENT))
    assert str(caught.value) == "template: UnicodeEncodeError"


HEAVY = {
    "the same value 200 times": {f"k{n}": "{{message.data.a}}" for n in range(200)},
    "one text of nothing else": {"x": "{{message.data.a}}" * 200, "y": "{{message.data.a}}" * 200},
    "joined by ~": {"x": "{{ " + " ~ ".join(["message.data.a"] * 150) + " }}"},
    "joined by +": {"x": "{{ " + " + ".join(["message.data.a"] * 150) + " }}"},
    "filters": {"x": "{{ message.data.a" + "|upper|lower" * 10 + " }}"},
    "an object in a text": {f"k{n}": "x{{message.data.o}}" for n in range(100)},
    "an object as it is": {f"k{n}": "{{message.data.o}}" for n in range(100)},
    "lists": {"x": "{{ " + " + ".join(["message.data.l"] * 100) + " }}"},
    "texts of the alert": {"aps": {"alert": {"loc-key": "K", "loc-args": ["{{message.data.a}}"] * 40}}},
}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{{ message.text" + "|upper" * 300 + " }}", id="in a row"),
        pytest.param("{{ message.text" + "|default(message.id" * 30 + ")" * 30 + " }}", id="as arguments"),
        pytest.param("{{ " + "(" * 150 + "1" + "|upper)" * 150 + " }}", id="in parentheses"),
    ],
)
def test_filters_nested_deep_are_refused_before_they_are_compiled(text: str) -> None:
    with pytest.raises(TemplateError, match="nested too deep"):
        Template.parse(json.dumps(ALERT | {"x": text}))


@pytest.mark.parametrize("document", HEAVY.values(), ids=HEAVY)
def test_a_large_message_takes_little_memory_and_few_looks(
    monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]
) -> None:
    encoded = 0

    def counting(value: Any) -> bytes:
        nonlocal encoded
        found = real(value)
        encoded += len(found)
        return found

    real = template_cut.encoded
    data = {"a": "x" * LARGE, "o": {str(n): [n, "y"] for n in range(LARGE // 20)}, "l": list(range(LARGE // 7))}
    template = Template.parse(json.dumps(ALERT | document))
    context = context_of(replace(EVENT, message=replace(EVENT.message, data=data)))
    monkeypatch.setattr(template_cut, "encoded", counting)
    tracemalloc.start()
    try:
        assert len(template.render(context).rendered.payload(1)) <= LIMIT
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000
    assert encoded < 20 * 256 * LARGEST


def test_what_is_behind_a_large_value_is_found() -> None:
    document = ALERT | {
        "n": "{{ message.data.order.number }}",
        "many": "{{ message.data.a|length }}",
        "first": "{{ message.data.l|first }}",
    }
    found = payload(document, a="x" * LARGE, l=list(range(100_000)), order={"number": 7})
    assert (found["n"], found["many"], found["first"]) == (7, LARGE, 0)


def test_an_object_that_does_not_fit_is_left_out_whole() -> None:
    assert "o" not in payload(ALERT | {"o": "{{ message.data.o }}"}, o={"first": 1, "rest": "x" * LARGE})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 10**9) | st.text(st.characters(codec="utf-8"), max_size=3000),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=9), inner, max_size=9),
    max_leaves=30,
)


@given(json_values)
@settings(max_examples=60, deadline=None)
def test_what_fits_is_untouched_and_what_does_not_stays_too_large(value: Any) -> None:
    kept = bounded(value)
    if len(template_cut.encoded(value)) <= LARGEST:
        assert kept is value
    elif kept != value:
        assert len(template_cut.encoded(kept)) > LARGEST
    if value is not None:
        assert len(text_of(value)) <= LARGEST
        assert text_of(value)[:LIMIT] == str(value)[:LIMIT] or isinstance(value, dict | list)


# What is cut, said as simply as it can be said: the whole document is measured before each step.


def cut_simply(values: template_cut.Values, templated: set[Path], room: int) -> None:
    texts = [path for path in values if path[:2] == ("aps", "alert") and path in templated]
    for least in (LEAST_BODY, None, SHORT_NAME):
        if least is None:
            leave_out_simply(values, room)
            continue
        for path in sorted(texts, key=lambda one: -json_size(values[one])):
            over = measured(values) - room
            if over > 0 and json_size(values[path]) > least:
                values[path] = fit(values[path], max(least, json_size(values[path]) - over))


def leave_out_simply(values: template_cut.Values, room: int) -> None:
    others = [path for path in values if path[0] != "aps"]
    for path in sorted(others, key=lambda one: -len(template_cut.encoded(values[one]))):
        if measured(values) > room:
            del values[path]


def measured(values: template_cut.Values) -> int:
    document: dict[Any, Any] = {}
    for (first, *rest), value in values.items():
        if rest:
            document.setdefault(first, {}).setdefault("alert", {})[rest[-1]] = value
        else:
            document[first] = value
    return template_cut.size(document)


@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=900), max_size=5),
    others=st.lists(json_values, max_size=12),
    room=st.integers(200, 4000),
)
@settings(max_examples=60, deadline=None)
def test_the_same_is_cut_as_when_each_step_measures_the_whole(texts: list[str], others: list[Any], room: int) -> None:
    values: template_cut.Values = {("aps", "alert", f"t{n}"): text for n, text in enumerate(texts)}
    values |= {(f"o{n}",): other for n, other in enumerate(others)}
    simply, templated = dict(values), set(values)
    cut_simply(simply, templated, room)
    alert: list[Path] = [path for path in values if path[0] == "aps"]
    cut(values, alert, [path for path in values if path[0] != "aps"], measured, room)
    assert values == simply
