"""S17: templates are checked when they come in, and previewed to the byte."""

import json
from pathlib import Path

import pytest

from tests.integration.cli.conftest import TOPIC, Cli, apn, rows

TEMPLATE = {
    "aps": {
        "badge": "{{ badge }}",
        "alert": {"title": "{{ sender.name or sender.id }}", "body": "{{ message.text|truncate(1000) }}"},
    },
    "channel": "{{ channel.id }}",
    "data": "{{ message.data }}",
}


@pytest.fixture
def chat(cli: Cli, key_file: Path) -> Cli:
    cli.ok("app", "create", "chat")
    cli.ok(*apn(key_file))
    return cli


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "template.json"
    made.write_text(json.dumps(TEMPLATE))
    return made


def message(text: str = "hello", **fields: object) -> str:
    event = {
        "v": 1,
        "type": "message.new",
        "id": "e1",
        "app": "chat",
        "at": "2026-11-22T00:00:00Z",
        "channel": {"id": "general"},
        "message": {"id": "m1", "text": text, **fields},
        "sender": {"id": "leia"},
    }
    return json.dumps(event)


def test_S17_a_template_is_stored_shown_listed_and_removed(chat, file):
    stored = chat.json("template", "set", file, "--kind", "regular", "--locale", "fr_CA")
    assert stored == {"app": "chat", "provider": "apns", "kind": "regular", "locale": "fr-ca"}
    assert json.loads(chat.ok("template", "show", "--kind", "regular", "--locale", "fr-CA")) == TEMPLATE
    assert chat.json("template", "list") == [stored]
    assert chat.json("template", "remove", "--kind", "regular", "--locale", "fr-ca")["removed"]
    assert chat.json("template", "list") == []
    assert "has no template" in chat.refused("template", "show")
    assert "has no template" in chat.refused("template", "remove")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param("{", "is not JSON", id="no JSON"),
        pytest.param('{"aps": {"alert": "{{ sendr.name }}"}}', "did you mean 'sender'?", id="an unknown name"),
        pytest.param('{"aps": {"alert": "{{ message.text|truncate }}"}}', "aps.alert: TypeError", id="fails"),
        pytest.param('{"aps": {"sound": "default"}}', "aps.alert: required", id="no alert"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_and_changes_nothing(chat, tmp_path, document, said):
    (wrong := tmp_path / "wrong.json").write_text(document)
    assert said in chat.refused("template", "set", wrong)
    assert rows(chat, "templates") == []


def test_a_template_may_come_from_standard_input(chat):
    chat.ok("template", "set", "-", typed=json.dumps(TEMPLATE))
    assert len(chat.json("template", "list")) == 1


def test_preview_shows_headers_bytes_size_and_what_was_cut(chat, file, tmp_path):
    (event := tmp_path / "event.json").write_text(message("👋🏽" * 1000, data={"blob": "x" * 4000}))
    shown = chat.json("template", "preview", "--template", file, "--message", event, "--badge", "7")
    assert shown["bytes"] == len(shown["payload"].encode()) <= 4096
    payload = json.loads(shown["payload"])
    assert payload["aps"]["badge"] == 7
    assert payload["aps"]["alert"]["title"] == "leia"
    assert payload["channel"] == "general"
    assert "data: left out" in " ".join(shown["cut"])
    assert "aps.alert.body: cut from" in " ".join(shown["cut"])
    assert shown["headers"]["apns-topic"] == TOPIC
    text = chat.ok("template", "preview", "--template", file, "--message", event)
    assert "of 4,096 bytes, by the template given" in text and "cut: data: left out" in text


def test_preview_takes_what_is_stored_for_the_kind_and_the_language(chat, file, tmp_path):
    (french := tmp_path / "fr.json").write_text('{"aps": {"alert": "{{ sender.id }} a écrit"}}')
    chat.ok("template", "set", file)
    chat.ok("template", "set", french, "--locale", "fr")

    def alert(*flags: str) -> object:
        return json.loads(chat.json("template", "preview", *flags)["payload"])["aps"]["alert"]

    assert alert("--locale", "fr-CA") == "leia a écrit"
    assert alert("--locale", "de") == {"title": "Leia Organa", "body": "Shall we meet at eight? ☕"}


def test_without_a_template_preview_shows_the_default_payload(chat):
    assert "the default payload, for there is no template" in chat.ok("template", "preview")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        pytest.param(["--message", "MESSAGE"], "message: ", id="no event"),
        pytest.param(["--device", "ab"], "no such device", id="no device"),
        pytest.param(["--template", "/nowhere"], "cannot be read", id="no file"),
        pytest.param(["--provider", "x"], "known: apns", id="no provider"),
    ],
)
def test_a_preview_of_nothing_is_refused(chat, tmp_path, flags, said):
    (wrong := tmp_path / "wrong.json").write_text('{"type": "message.new"}')
    assert said in chat.refused("template", "preview", *(wrong if flag == "MESSAGE" else flag for flag in flags))
