"""A template in the JSON of a browser: Declarative Web Push, or of a service worker's own."""

import json
from typing import Any

import pytest

from tests.integration.pipeline.harness import message
from worker.core.sample_messages import samples
from worker.core.template_form import TemplateError
from worker.core.templates import NothingToSayError, Template, check, context_of
from worker.providers.web.render import SHORT, OwnDocument
from worker.providers.web.template import WEB_TEMPLATE

TEXTS = {"title": "{{ sender.id }}", "body": "{{ message.text }}"}
DECLARATIVE = {"web_push": 8030, "notification": {**TEXTS, "navigate": "https://chat.example.com/c/{{ channel.id }}"}}


def parsed(document: dict[str, Any]) -> Template:
    return Template.parse(json.dumps(document), WEB_TEMPLATE)


def shown(document: dict[str, Any], badge: int | None = 5, text: str = "hello {{ badge }}") -> Any:
    template = parsed(document)
    check(template, samples("demo", "regular"))
    rendered = template.render(context_of(message(text=text))).rendered
    payload = OwnDocument(rendered.prefix, tag="collapse-1").payload(badge, SHORT)
    assert len(payload) <= SHORT
    return json.loads(payload)


def test_a_declarative_template_is_sent_with_a_tag_and_the_badge() -> None:
    assert shown(DECLARATIVE) == {
        "app_badge": 5,
        "web_push": 8030,
        "notification": {
            "title": "leia",
            "body": "hello {{ badge }}",
            "navigate": "https://chat.example.com/c/general",
            "tag": "collapse-1",
        },
    }
    assert shown({"notification": {**TEXTS, "tag": "{{ message.id }}"}})["notification"]["tag"] == "m-e1"


def test_json_of_a_service_worker_s_own_gets_the_badge_alone() -> None:
    assert shown({"room": "{{ channel.id }}", "text": "{{ message.text }}"}) == {
        "app_badge": 5,
        "room": "general",
        "text": "hello {{ badge }}",
    }


@pytest.mark.parametrize(
    ("word", "badge", "seen"),
    [
        pytest.param({"app_badge": "{{ badge }}"}, 7, 7, id="counted"),
        pytest.param({"app_badge": 3}, 7, 3, id="a number for everybody"),
        pytest.param({"app_badge": None}, 7, None, id="left alone"),
        pytest.param({}, None, None, id="counted, but the message leaves it alone"),
    ],
)
def test_the_badge_is_counted_or_a_number_or_nothing(word: dict[str, Any], badge: int | None, seen: int | None) -> None:
    assert shown(DECLARATIVE | word, badge).get("app_badge") == seen


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param({"aps": {"alert": "x"}}, "aps: is of a template for APNs; a browser takes", id="APNs"),
        pytest.param({}, "template: says nothing", id="empty"),
        pytest.param({**DECLARATIVE, "web_push": 1}, "web_push: has to be 8030", id="form"),
        pytest.param({"web_push": 8030}, "notification.title: required", id="no notification"),
        pytest.param({"notification": {"body": "x"}}, "notification.title: required", id="no title"),
        pytest.param({"web_push": 8030, "notification": TEXTS}, "notification.navigate: required", id="no page"),
        pytest.param({"notification": {**TEXTS, "bdy": "x"}}, "did you mean 'body'", id="key"),
        pytest.param({"notification": {"title": ["x"]}}, "notification.title: has to be a string", id="a list"),
        pytest.param({"room": "x", "app_badge": "x"}, 'app_badge: has to be "{{ badge }}"', id="badge"),
    ],
)
def test_what_no_browser_would_show_is_refused_at_once(document: dict[str, Any], fault: str) -> None:
    with pytest.raises(TemplateError) as refused:
        check(parsed(document), samples("demo", "regular"))
    assert fault in str(refused.value)


def test_without_a_title_it_is_no_push_by_this_template() -> None:
    with pytest.raises(NothingToSayError):
        parsed({"notification": {"title": "{{ message.data.x }}"}}).render(context_of(message(text="x")))


def test_the_text_gives_way_within_what_firefox_on_android_takes() -> None:
    found = shown({**DECLARATIVE, "text": "{{ message.text }}"}, 2**31 - 1, text="text " * 2_000)
    assert found["notification"]["body"].endswith("…") and found["notification"]["navigate"].endswith("/general")
