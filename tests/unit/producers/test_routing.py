"""Which events are about a channel."""

import re
from pathlib import Path

import pytest

from producers import events
from producers.documents import document
from producers.routing import OF_CHANNELS, channel_in, channel_of
from tests.unit.producers.examples import EVERY_TYPE

CONTRACT = (Path(__file__).parents[3] / "docs/contract.md").read_text()


def test_the_contract_has_the_table():
    section = CONTRACT.partition("### Large apps")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| (.+) \| (.+) \|$", section, re.MULTILINE))
    assert {*re.findall("`([a-z.]+)`", table["`channel.id`"])} == OF_CHANNELS
    assert table["the home"] == "all others"


@pytest.mark.parametrize("example", EVERY_TYPE, ids=lambda one: one["type"])
def test_an_event_is_about_the_channel_that_it_changes_or_about_none(example):
    expected = example["channel"]["id"] if example["type"] in OF_CHANNELS else None
    written = document(example)
    assert channel_of(written) == expected
    assert channel_in(events.decode(written)) == expected


def test_every_type_that_is_about_a_channel_is_one():
    assert {*events.TYPES} > OF_CHANNELS
    assert {one["type"] for one in EVERY_TYPE} >= OF_CHANNELS


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"type": 1}',
        b'{"type": "message.new"}',
        b'{"type": "message.new", "channel": "general"}',
        b'{"type": "message.new", "channel": {"id": 1}}',
        b'{"type": "message.new", "channel": null}',
        b'{"type": "message.new", "channel": ' + b"[" * 2_000,
    ],
)
def test_what_is_no_event_is_about_none(broken):
    assert channel_of(broken) is None
