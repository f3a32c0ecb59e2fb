"""What people write into names and texts: nothing that looks like nothing, and no name that reaches beyond itself."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from producers.events import Channel, Message, MessageNew, Sender
from producers.prose import shows
from worker.core.attention import Attention
from worker.core.burst_phrases import PHRASES, burst_phrase
from worker.core.model import Device
from worker.core.names import balanced, clean_name
from worker.core.template_language import Leaf
from worker.core.templates import Template, Templates
from worker.facts.channels import ChannelRow
from worker.pipeline.rendering import Message as Rendering
from worker.pipeline.rendering import Variant, sendings

LRE, RLE, PDF, LRO, RLO = "\u202a\u202b\u202c\u202d\u202e"
LRI, RLI, FSI, PDI = "\u2066\u2067\u2068\u2069"
EVENT = MessageNew(
    id="e",
    app="demo",
    at=datetime(2026, 11, 21, tzinfo=UTC),
    channel=Channel(id="general", name="General"),
    message=Message(id="m", text="hello"),
    sender=Sender(id="leia", name="Leia"),
)
PLAIN, SIX = Variant("message"), Variant("message", stands_for=6)


def device(id: int = 1, locale: str | None = None) -> Device:
    return Device(id, f"u{id}", 1, "aa", locale, 0)


def payload(event: MessageNew, channel: str | None = None) -> Any:
    found = sendings(Rendering("1-0", event, ChannelRow(channel), 3600), {PLAIN: [device()]}, {}, alive=lambda: None)
    [(sending, _, _)] = found.groups
    return json.loads(sending.prefix + sending.suffix)


NOTHING = [
    *("", " ", "\n\n", "\t \r\n", "\u00a0\u3000\u2003", "\u200b\u2060\ufeff", "\u3164", "\u2800\u2800", "\u115f\u1160"),
    *(
        "\u034f",
        "\u00ad",
        "\ufe0f",
        "\U000e0041",
        f"{RLO}{PDF}",
        "\x1b",
        "\x00\x07",
        "\u2028\u2029",
        "\u17b4",
        "\uffa0",
    ),
]


@pytest.mark.parametrize("text", NOTHING, ids=ascii)
def test_what_shows_nothing_counts_as_empty(text: str) -> None:
    assert not shows(text)
    event = replace(EVENT, sender=Sender(id="leia", name=text), message=Message(id="m", text=text))
    event = replace(event, channel=Channel(id="general", name=text))
    seen = payload(event)
    assert seen["aps"]["alert"] == {"title": "leia"}
    assert "name" not in seen["carillon"]["sender"]
    assert "subtitle" not in payload(replace(EVENT, channel=Channel(id="general")), text)["aps"]["alert"]


@pytest.mark.parametrize(
    "text", ["a", " a", "\u200ba", ".", "👍", "ก", "\u0301", "\u0600", "\u06dd", "क", "\u200d👩"], ids=ascii
)
def test_what_shows_something_stays_as_it_is(text: str) -> None:
    assert shows(text)
    assert payload(replace(EVENT, message=Message(id="m", text=text)))["aps"]["alert"]["body"] == text


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("Leia Organa", "Leia Organa"),
        (" Leia  Organa ", "Leia  Organa"),
        ("Leia\nYour bank: call 555", "Leia Your bank: call 555"),
        ("Leia\r\n\tOrgana\u2028!\u2029", "Leia Organa !"),
        ("Le\x1b[31mia\x07\x9b", "Le[31mia"),
        (f"{RLO}gnp.exe", "gnp.exe"),
        (f"Leia {RLO}anagrO{PDF}", f"Leia {RLO}anagrO{PDF}"),
        (f"Leia{PDF}{PDI}", "Leia"),
        (f"{RLI}ليا{PDI} Leia", f"{RLI}ليا{PDI} Leia"),
        (f"{RLI}{RLE}ليا{PDI}{PDF}", f"{RLI}ليا{PDI}"),
        (f"{RLO}{LRI}a{PDF}", "a"),
        (f"{FSI}a{LRO}b{PDF}", f"a{LRO}b{PDF}"),
        ("\u200eLeia\u200f 👩‍👩‍👧 Ѐ", "\u200eLeia\u200f 👩‍👩‍👧 Ѐ"),
        (None, ""),
    ],
    ids=ascii,
)
def test_a_name_is_one_line_and_turns_nothing_around(name: str | None, clean: str) -> None:
    assert clean_name(name) == clean
    assert clean_name(clean) == clean


def test_names_are_clean_wherever_they_go() -> None:
    name = f"A\n{RLO}b"
    seen = payload(replace(EVENT, sender=Sender(id="leia", name=name), channel=Channel(id="general", name=name)))
    assert seen["aps"]["alert"] == {"title": "A b", "subtitle": "A b", "body": "hello"}
    assert seen["carillon"]["sender"]["name"] == "A b"
    template = Templates({("", ""): Template.parse(b'{"aps": {"alert": "{{ sender.name }} in {{ channel.name }}"}}')})
    message = Rendering("1-0", replace(EVENT, sender=Sender(id="l", name=name)), None, 3600)
    [(sending, _, _)] = sendings(message, {PLAIN: [device()]}, {1: template}, alive=lambda: None).groups
    assert json.loads(sending.prefix + sending.suffix)["aps"]["alert"] == "A b in General"


def test_a_cut_name_turns_nothing_around_either() -> None:
    leaf = Leaf("{{ sender.name|truncate(4) }}", "")
    assert leaf.render({"sender": {"name": f"{RLO}abcdef{PDF}"}}) == "ab…"
    assert balanced(f"{RLO}abcdef{PDF}") == f"{RLO}abcdef{PDF}"


def test_a_folded_burst_speaks_the_language_of_the_device_and_names_the_channel() -> None:
    locales = ["de-DE", "de", None, "pl_PL", "zh-Hant-TW", "xx"]
    devices = [device(n, locale) for n, locale in enumerate(locales)]
    message = Rendering("1-0", replace(EVENT, channel=Channel(id="general")), ChannelRow("Küche"), 3600)
    found = sendings(message, {SIX: devices}, {}, alive=lambda: None)
    said = {}
    for sending, some, _ in found.groups:
        seen = json.loads(sending.prefix + sending.suffix)
        assert seen["carillon"]["count"] == 6
        for one in some:
            said[locales[one.id]] = seen["aps"]["alert"]
    assert {alert["title"] for alert in said.values()} == {"Küche"}
    assert {locale: alert["body"] for locale, alert in said.items()} == {
        "de-DE": "6 neue Nachrichten",
        "de": "6 neue Nachrichten",
        None: "6 new messages",
        "pl_PL": "6 nowych wiadomości",
        "zh-Hant-TW": "6 則新訊息",
        "xx": "6 new messages",
    }
    assert all(alert.keys() == {"title", "body"} for alert in said.values())
    assert len(found.groups) == 4, "one rendering for each text"


def test_the_one_banner_of_a_channel_has_the_newest_text_and_the_number() -> None:
    message = Rendering("1-0", EVENT, None, 3600, attention=Attention(collapse="channel"))
    template = Templates({("", ""): Template.parse(b'{"aps": {"alert": "{{ message.count }}/{{ message.text }}"}}')})
    seen, ids = [], set()
    for wanted, templates in ((PLAIN, {}), (SIX, {}), (SIX, {1: template})):
        [(sending, _, _)] = sendings(message, {wanted: [device()]}, templates, alive=lambda: None).groups
        seen.append(json.loads(sending.prefix + sending.suffix)["aps"]["alert"])
        ids.add(sending.collapse_id)
    assert seen == [
        {"title": "Leia", "subtitle": "General", "body": "hello"},
        {"title": "Leia (6)", "subtitle": "General", "body": "hello"},
        "6/hello",
    ]
    assert len(ids) == 1, "each replaces the one before"


def test_the_stored_kind_of_a_channel_counts_where_the_message_says_none() -> None:
    stored = ChannelRow("Küche", kind="group")
    for kind, expected in ((None, "group"), ("direct", "direct")):
        event = replace(EVENT, channel=Channel(id="general", kind=kind))  # type: ignore[arg-type]
        [(sending, _, _)] = sendings(
            Rendering("1-0", event, stored, 3600), {PLAIN: [device()]}, {}, alive=lambda: None
        ).groups
        assert json.loads(sending.prefix + sending.suffix)["carillon"]["channel_kind"] == expected


def test_a_template_gets_the_number_and_the_words() -> None:
    template = Templates({("", ""): Template.parse(b'{"aps": {"alert": "{{ message.count }}/{{ message.text }}"}}')})
    message = Rendering("1-0", EVENT, None, 3600)
    found = sendings(message, {SIX: [device(1, "fr")]}, {1: template}, alive=lambda: None)
    [(sending, _, _)] = found.groups
    assert json.loads(sending.prefix + sending.suffix)["aps"]["alert"] == "6/General: 6 nouveaux messages"


@pytest.mark.parametrize("language", PHRASES)
def test_each_language_says_the_number_once(language: str) -> None:
    for count in (1, 2, 5, 11, 21, 102):
        phrase = burst_phrase(count, language)
        assert phrase.count(str(count)) == 1
        assert len(phrase) < 60
