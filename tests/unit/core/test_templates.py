"""What a template may say, what it becomes, and what it cannot do."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from producers.events import Channel, Message, MessageNew, Sender
from producers.prose import shows
from producers.targeting import MAX_BADGE
from worker.core.aps_form import APS_FORM
from worker.core.notification import LIMIT
from worker.core.plurals import plural
from worker.core.template_form import TemplateError
from worker.core.templates import NothingToSayError, Template, Templates, check, context_of, fallbacks
from worker.providers.fcm.template import FCM_TEMPLATE
from worker.providers.web.template import WEB_TEMPLATE

EVENT = MessageNew(
    id="e1",
    app="chat",
    at=datetime(2026, 11, 21, 20, 0, tzinfo=UTC),
    channel=Channel(id="c1", name="General"),
    message=Message(id="m1", text="hello there", mentioned=["han"], data={"n": 3, "items": ["a"], "ok": True}),
    sender=Sender(id="leia"),
)
ALERT = {"aps": {"alert": "x"}}


def rendered(document: dict[str, Any], event: MessageNew = EVENT, user: str | None = None, badge: int = 5) -> Any:
    template = Template.parse(json.dumps(document))
    return json.loads(template.render(context_of(event, user)).rendered.payload(badge))


def said(text: str, event: MessageNew = EVENT, user: str | None = None) -> Any:
    """What one string becomes, beside an alert."""
    return rendered(ALERT | {"x": text}, event, user).get("x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("plain", "plain", id="no template"),
        pytest.param("{{ sender.name or sender.id }}: {{ message.text }}", "leia: hello there", id="names"),
        pytest.param("{{ channel.name }}", "General", id="one expression"),
        pytest.param("{{ message.data }}", {"n": 3, "items": ["a"], "ok": True}, id="an object stays one"),
        pytest.param("{{ message.data.n }}", 3, id="a number stays one"),
        pytest.param("{{ message.data.ok }}", True, id="true stays true"),
        pytest.param(" {{- message.data.n -}} ", 3, id="blanks around"),
        pytest.param("n={{ message.data.n }}", "n=3", id="a number in a text"),
        pytest.param("{{ message.data.items }}", ["a"], id="a key named as a method"),
        pytest.param("{{ message.data['n'] + 1 }}", 4, id="sums"),
        pytest.param("{{ message.text|truncate(6) }}", "hello…", id="truncated"),
        pytest.param("{{ message.data.n|plural('file', 'files') }}", "files", id="plural"),
        pytest.param("{% if message.parent_id %}reply{% else %}new{% endif %}", "new", id="a condition"),
        pytest.param("{{ 'you' if recipient.mentioned else 'all' }}", "you", id="a mention"),
        pytest.param("{{ message.mentioned|join(', ') }}", "han", id="joined"),
        pytest.param("{{ message.mentioned|length }}", 1, id="counted"),
        pytest.param("{{ message.data.no.such.thing }}", None, id="what is not there is left out"),
        pytest.param("{{ sender.name }}", None, id="nothing is left out"),
        pytest.param("{{ sender.name|default('somebody', true) }}", "somebody", id="a default"),
        pytest.param("{{ app.name }}/{{ event.id }}/{{ recipient.id }}", "chat/e1/han", id="the rest"),
        pytest.param("{{ message.urgency }}", "normal", id="how urgent it is"),
        pytest.param("{{ 'psst' if why == 'message' else why }}", "psst", id="why they get it"),
    ],
)
def test_a_string_becomes_what_it_says(text, value):
    assert said(text, user="han") == value


def test_what_a_user_wrote_is_no_template():
    event = replace(EVENT, message=replace(EVENT.message, text="{{ sender.id }}{% if %}"))
    assert said("{{ message.text }}", event) == "{{ sender.id }}{% if %}"


@pytest.mark.parametrize(
    ("badge", "seen"),
    [
        pytest.param({"badge": "{{ badge }}"}, 5, id="counted"),
        pytest.param({}, 5, id="no word about it: counted"),
        pytest.param({"badge": 1}, 1, id="a number for everybody"),
        pytest.param({"badge": 0}, 0, id="cleared"),
        pytest.param({"badge": None}, None, id="left alone"),
    ],
)
def test_the_badge_is_a_gap_or_a_number_or_nothing(badge, seen):
    assert rendered({"aps": {"alert": "x"} | badge})["aps"].get("badge") == seen


def test_the_badge_has_its_gap_wherever_aps_stands():
    assert rendered({"n": 1, "aps": {"alert": "x"}, "m": 2}) == {"aps": {"badge": 5, "alert": "x"}, "n": 1, "m": 2}


def test_what_renders_to_nothing_keeps_its_place_in_a_list():
    alert = {"loc-key": "K", "loc-args": ["{{ sender.name }}", "{{ message.text }}"]}
    assert rendered({"aps": {"alert": alert}})["aps"]["alert"]["loc-args"] == ["", "hello there"]


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param("[]", "JSON object", id="a list"),
        pytest.param('{"a": 1}', "aps: required", id="no aps"),
        pytest.param('{"aps": {"alert": {}}}', "aps.alert: required", id="an empty alert"),
        pytest.param('{"aps": {"alert": "x", "sond": "d"}}', "aps.sond: Apple knows no such key", id="aps key"),
        pytest.param('{"aps": {"alert": {"tilte": "x"}}}', "did you mean 'title'", id="alert key"),
        pytest.param('{"aps": {"alert": "x", "badge": "{{ badge }}!"}}', "aps.badge: has to be", id="badge"),
        pytest.param('{"aps": {"alert": "x", "badge": true}}', "aps.badge: has to be", id="a true badge"),
        pytest.param('{"aps": {"alert": "x"}, "{{ message.id }}": 1}', "a key cannot be a template", id="key"),
        pytest.param('{"aps": {"alert": "x"}, "a": ' + "[" * 20 + "]" * 20 + "}", "nested deeper", id="deep"),
        pytest.param('{"aps": {"alert": "x"}, "a": [' + "1," * 300 + "1]}", "more than 256", id="many"),
        pytest.param('{"aps": {"alert": "' + "x" * 20_000 + '"}}', "at most 16,384", id="large"),
        pytest.param('{"aps": {"alert": "x", "alert": ', "is not JSON", id="cut off"),
    ],
)
def test_a_document_that_cannot_be_a_payload_is_refused(document, fault):
    with pytest.raises(TemplateError, match=fault.replace("[", r"\[")):
        Template.parse(document)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("{{ message.text.__class__.__mro__ }}", "message.text: has no parts", id="internals"),
        pytest.param("{{ message.__class__ }}", "has no part '__class__'", id="internals of an object"),
        pytest.param("{{ ''.__class__ }}", "only message, sender", id="internals of a constant"),
        pytest.param("{% for i in range(1000000000) %}x{% endfor %}", "a loop cannot", id="a loop"),
        pytest.param("{{ 'x' * 1000000000 }}", r"\* cannot", id="repetition"),
        pytest.param("{{ 9 ** 9 ** 9 }}", r"\*\* cannot", id="powers"),
        pytest.param("{{ '%0999999999d' % 1 }}", "% cannot", id="format"),
        pytest.param("{{ message.text.upper() }}", "a call cannot", id="a call"),
        pytest.param("{{ cycler(1) }}", "a call cannot", id="a helper of jinja2"),
        pytest.param("{{ message.text|attr('x') }}", "no filter 'attr'", id="a filter that reads attributes"),
        pytest.param("{{ message.text|replace('a', message.text) }}", "no filter 'replace'", id="a filter that grows"),
        pytest.param("{% macro a() %}{% endmacro %}", "macro cannot", id="a macro"),
        pytest.param("{% include 'x' %}", "include cannot", id="an include"),
        pytest.param("{% set a = 1 %}", "set cannot", id="an assignment"),
        pytest.param("{{ recipent.id }}", "did you mean 'recipient'", id="a misspelt name"),
        pytest.param("{{ why.name }}", "why: has no parts", id="a part of what has none"),
        pytest.param("{{ sender.nick }}", "has no part 'nick'", id="an unknown part"),
        pytest.param("{{ message }}", "name a part of it", id="a whole"),
        pytest.param("{{ badge }}", "stand alone in aps.badge", id="the badge elsewhere"),
        pytest.param("{{ message.text is divisibleby 3 }}", "no test 'divisibleby'", id="a test"),
        pytest.param("{{ message.text", "end of", id="not closed"),
        pytest.param("{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "at most|nested", id="deep"),
        pytest.param("{{ message.data[message.text] }}", r"in \[ \]", id="a computed key"),
    ],
)
def test_a_string_that_could_run_away_or_is_misspelt_is_refused(text, fault):
    with pytest.raises(TemplateError, match=fault) as caught:
        Template.parse(json.dumps(ALERT | {"x": text}))
    assert str(caught.value).startswith("x: ")


def test_a_failure_names_the_place_and_quotes_nothing():
    template = Template.parse(json.dumps({"aps": {"alert": "{{ message.text + message.data.n }}"}}))
    with pytest.raises(TemplateError) as caught:
        template.render(context_of(EVENT))
    assert str(caught.value) == "aps.alert: TypeError"


def test_an_alert_that_says_nothing_is_no_push_by_this_template():
    template = Template.parse('{"aps": {"alert": "{{ message.data.title }}"}}')
    with pytest.raises(NothingToSayError):
        template.render(context_of(EVENT))
    check(template, [EVENT])


@pytest.mark.parametrize(
    ("text", "per_user"),
    [pytest.param("{{ sender.id }}", False, id="the same for all"), pytest.param("{{ recipient.id }}", True, id="own")],
)
def test_a_template_that_names_the_recipient_is_rendered_for_each(text, per_user):
    assert Template.parse(json.dumps({"aps": {"alert": text}})).per_user is per_user


FULL = {
    "aps": {"alert": {"title": "{{ sender.name }}", "body": "{{ message.text }}"}, "thread-id": "{{ channel.id }}"},
    "message": "{{ message.id }}",
    "data": "{{ message.data }}",
    "list": ["{{ message.kind }}", "{{ message.text }}"],
}


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=6000),
    name=st.text(st.characters(codec="utf-8"), max_size=255),
    blob=st.integers(0, 9000),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_message_the_payload_is_json_within_apples_limit(text, name, blob):
    event = replace(
        EVENT, message=replace(EVENT.message, text=text, data={"b": "x" * blob}), sender=Sender(id="s", name=name)
    )
    try:
        outcome = Template.parse(json.dumps(FULL)).render(context_of(event))
    except NothingToSayError:
        assert not shows(text) and not shows(name)
        return
    payload = outcome.rendered.payload(MAX_BADGE)
    assert len(payload) <= LIMIT
    assert json.loads(payload)["aps"]["thread-id"] == "c1"


def test_the_body_gives_way_first_then_what_is_largest_outside_aps():
    event = replace(EVENT, message=replace(EVENT.message, text="word " * 1000, data={"b": "x" * 3900}))
    outcome = Template.parse(json.dumps(FULL)).render(context_of(event))
    payload = json.loads(outcome.rendered.payload(1))
    assert payload["message"] == "m1"
    assert payload["aps"]["alert"]["body"].endswith("…")
    assert "data" not in payload
    assert any(cut.startswith("data: left out") for cut in outcome.cuts)
    assert any(cut.startswith("aps.alert.body: cut from") for cut in outcome.cuts)


@pytest.mark.parametrize(
    ("locale", "chain"),
    [
        pytest.param("fr-CA", ["fr-ca", "fr", ""], id="region"),
        pytest.param("zh_Hant_TW", ["zh-hant-tw", "zh-hant", "zh", ""], id="script"),
        pytest.param(None, [""], id="none"),
    ],
)
def test_the_nearest_language_is_chosen(locale, chain):
    assert fallbacks(locale) == chain


def test_the_kind_s_own_template_comes_before_the_language_s():
    made = {key: Template.parse(json.dumps(ALERT)) for key in [("", ""), ("", "fr"), ("order", "")]}
    templates = Templates(made)
    assert templates.choose("regular", "fr-CA") is made["", "fr"]
    assert templates.choose("regular", "de") is made["", ""]
    assert templates.choose("order", "fr") is made["order", ""]
    assert Templates({("order", "fr"): made["", ""]}).choose("regular", "fr") is None


@pytest.mark.parametrize(
    ("language", "forms", "words"),
    [
        pytest.param("", ("file", "files"), {0: "files", 1: "file", 2: "files"}, id="English"),
        pytest.param("fr-CA", ("f", "fs"), {0: "f", 1: "f", 2: "fs"}, id="French"),
        pytest.param("ja", ("f",), {0: "f", 1: "f", 5: "f"}, id="Japanese"),
        pytest.param("ru", ("1", "2", "5"), {1: "1", 3: "2", 5: "5", 11: "5", 21: "1", 22: "2"}, id="Russian"),
        pytest.param("pl", ("1", "2", "5"), {1: "1", 3: "2", 5: "5", 12: "5", 21: "5", 22: "2"}, id="Polish"),
        pytest.param("cs", ("1", "2", "5"), {1: "1", 4: "2", 5: "5", 22: "5"}, id="Czech"),
        pytest.param(
            "ar", ("0", "1", "2", "3", "11", "100"), {0: "0", 1: "1", 2: "2", 5: "3", 12: "11", 100: "100"}, id="Arabic"
        ),
        pytest.param("ar", ("1", "2"), {0: "2", 1: "1", 2: "2", 11: "2"}, id="Arabic, too few forms"),
        pytest.param("lv", ("0", "1", "2"), {0: "0", 1: "1", 2: "2", 20: "0", 21: "1"}, id="Latvian"),
        pytest.param("lv", ("1", "2"), {0: "2", 1: "1", 2: "2", 20: "2", 21: "1"}, id="Latvian, no form for zero"),
        pytest.param("sl", ("1", "2", "3", "5"), {1: "1", 2: "2", 4: "3", 5: "5", 101: "1"}, id="Slovene"),
        pytest.param("lt", ("1", "2", "10"), {1: "1", 2: "2", 10: "10", 11: "10", 21: "1", 0.5: "10"}, id="Lithuanian"),
        pytest.param("fr", ("1", "million", "2"), {1: "1", 2: "2", 1_000_000: "million"}, id="a form for millions"),
        pytest.param("fr", ("1", "2"), {1.5: "1", 2.5: "2", 1_000_000: "2"}, id="French fractions"),
        pytest.param("pt-PT", ("1", "2"), {0: "2", 1: "1"}, id="Portuguese of Portugal"),
        pytest.param("pt-BR", ("1", "2"), {0: "1", 1: "1"}, id="Portuguese of Brazil"),
        pytest.param("sr-latn-ba", ("1", "2", "5"), {1: "1", 3: "2", 5: "5", 21: "1"}, id="with a script"),
        pytest.param("xx-yy", ("1", "2"), {0: "2", 1: "1"}, id="a language that nobody knows"),
        pytest.param("ru-x-1", ("1", "2", "5"), {21: "1", 5: "5"}, id="a variant that nobody knows"),
        pytest.param("../en", ("1", "2"), {1: "1"}, id="no language"),
        pytest.param("ru", ("1", "2", "5"), {-21: "1", 1.5: "5", float("inf"): "5"}, id="other numbers"),
        pytest.param("ru", ("1", "2"), {5: "2"}, id="too few forms"),
        pytest.param("en", (), {1: ""}, id="no form"),
    ],
)
def test_a_number_has_the_form_of_its_language(language, forms, words):
    assert {number: plural(number, forms, language) for number in words} == words


def test_what_is_no_number_has_the_last_form():
    assert plural(float("nan"), ("1", "2"), "en") == "2"


@pytest.mark.parametrize(
    ("form", "document", "silent"),
    [
        pytest.param(
            APS_FORM,
            {"aps": {"alert": "x", "sound": "default"}},
            {"aps": {"alert": "x"}},
            id="a payload",
        ),
        pytest.param(
            APS_FORM,
            {"aps": {"alert": "x", "sound": {"name": "alarm", "critical": 1}}},
            {"aps": {"alert": "x", "sound": {"name": "alarm", "critical": 1}}},
            id="a critical alert keeps its own",
        ),
        pytest.param(
            FCM_TEMPLATE,
            {
                "data": {"sound": "mine"},
                "android": {"notification": {"title": "x", "sound": "default", "default_sound": True}},
                "apns": {"payload": {"aps": {"alert": "x", "sound": "default"}}},
            },
            {
                "data": {"sound": "mine"},
                "android": {"notification": {"title": "x"}},
                "apns": {"payload": {"aps": {"alert": "x"}}},
            },
            id="FCM's own JSON",
        ),
        pytest.param(
            WEB_TEMPLATE,
            {"notification": {"title": "x"}},
            {"notification": {"title": "x", "silent": True}},
            id="a browser's",
        ),
    ],
)
def test_a_template_makes_no_sound_where_the_budget_of_sounds_is_used_up(form, document, silent):
    rendered = Template.parse(json.dumps(document), form).render(context_of(EVENT), sound=False).rendered
    assert without_badge(json.loads(rendered.payload())) == silent


def without_badge(value: Any) -> Any:
    """Without the places of the badge, and objects with nothing else in them."""
    if not isinstance(value, dict):
        return value
    kept = {key: without_badge(inner) for key, inner in value.items() if inner != "{{ badge }}"}
    return {key: inner for key, inner in kept.items() if inner != {}}
