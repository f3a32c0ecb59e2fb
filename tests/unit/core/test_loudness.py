"""How loud a notification is, by the reason for which somebody gets it and by the message's urgency."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.integration.pipeline.harness import message
from worker.core.loudness import PLAIN, Loudness, loudness
from worker.core.notification import render

#: By trigger: level, sound, relevance, and the Android channel.
TABLE: dict[str, tuple[str, bool, float, str]] = {
    "direct": ("", True, 1.0, "direct"),
    "mention": ("", True, 0.9, "mentions"),
    "reply": ("", True, 0.9, "mentions"),
    "group": ("", True, 0.7, "mentions"),
    "keyword": ("", True, 0.7, "mentions"),
    "thread": ("", True, 0.6, "messages"),
    "here": ("", True, 0.5, "messages"),
    "everyone": ("", True, 0.5, "messages"),
    "message": ("", True, 0.3, "messages"),
    "reaction": ("passive", False, 0.1, "silent"),
}


def event(kind: str | None = "channel", **fields: Any) -> Any:
    made = message(**fields)
    return replace(made, channel=replace(made.channel, kind=kind))


@pytest.mark.parametrize("why", TABLE)
def test_where_the_kind_of_the_channel_is_known_each_trigger_has_its_row(why: str) -> None:
    level, sound, relevance, importance = TABLE[why]
    assert loudness(event(), why) == Loudness(sound, level, relevance, importance)  # type: ignore[arg-type]


@pytest.mark.parametrize("why", [why for why in TABLE if why != "reaction"])
def test_an_app_that_says_no_more_of_its_messages_than_before_sends_them_as_before(why: str) -> None:
    assert loudness(event(None), why) == PLAIN
    assert render(event(None), why=why, loud=PLAIN) == render(event(None), why=why)


@pytest.mark.parametrize("kind", [None, "channel"])
def test_an_urgent_message_breaks_through_and_a_low_one_is_quiet(kind: str | None) -> None:
    assert loudness(event(kind, urgency="urgent"), "mention") == Loudness(True, "time-sensitive", 1.0, "mentions")
    assert loudness(event(kind, urgency="low"), "mention") == Loudness(False, "passive", 0.1, "silent", 5)


@pytest.mark.parametrize("kind", [None, "channel"])
def test_without_a_sound_a_message_is_as_active_as_with_one(kind: str | None) -> None:
    silent = loudness(event(kind), "mention", sound=False)
    assert (silent.sound, silent.level, silent.importance) == (False, "", "silent")
    assert silent.relevance == loudness(event(kind), "mention").relevance


def test_the_payload_says_it_to_the_phone() -> None:
    aps = json.loads(render(event(), loud=loudness(event(urgency="urgent"), "message")).payload())["aps"]
    assert (aps["interruption-level"], aps["relevance-score"], aps["sound"]) == ("time-sensitive", 1.0, "default")
    aps = json.loads(render(event(), loud=loudness(event(), "reaction")).payload())["aps"]
    assert (aps["interruption-level"], aps["relevance-score"]) == ("passive", 0.1)
    assert "sound" not in aps
