import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from producers.partitions import (
    LONGEST_TAG,
    MOST,
    UNTAGGED,
    Layout,
    LayoutError,
    encoded,
    hash_of,
    parsed,
    slot_of,
    tags,
)

VECTORS = json.loads((Path(__file__).parents[3] / "docs/partitions-vectors.json").read_text())
SLOTS = 16_384


@pytest.mark.parametrize("row", VECTORS["apps"], ids=lambda row: row["app"][:12])
def test_an_app_lives_where_the_vectors_say(row):
    assert f"{hash_of(row['app']):08x}" == row["hash"]
    for n, partition in row["partition"].items():
        assert Layout(2, tags(int(n))).partition_of(row["app"]) == partition


@pytest.mark.parametrize("row", VECTORS["streams"], ids=lambda row: row["app"][:12])
def test_the_streams_are_those_of_the_vectors(row):
    layout = parsed(json.dumps(VECTORS["layout"]).encode())
    assert layout.stream(row["app"]) == row["inlet"]
    assert layout.stream(row["app"], own=True) == row["own"]
    assert layout.pressure(row["app"]) == row["pressure"]


@pytest.mark.parametrize("row", VECTORS["channels"], ids=lambda row: f"{row['app'][:12]} {row['channel'][:12]}")
def test_a_channel_of_a_spread_app_lives_where_the_vectors_say(row):
    app, channel = row["app"], row["channel"]
    assert f"{hash_of(app, channel):08x}" == row["hash"]
    for n, partition in row["partition"].items():
        layout = Layout(2, tags(int(n)), spread=frozenset({app}))
        assert (layout.partition_of(app, channel), layout.partition_of(app)) == (partition, layout.home_of(app))
        assert Layout(2, tags(int(n))).partition_of(app, channel) == layout.home_of(app)


@pytest.mark.parametrize("row", VECTORS["spread"]["streams"], ids=lambda row: f"{row['app']} {row['channel']}")
def test_the_streams_of_spread_apps_are_those_of_the_vectors(row):
    layout = parsed(json.dumps(VECTORS["spread"]["layout"]).encode())
    for own in (True, False) if layout.is_spread(row["app"]) else (False,):
        assert layout.stream(row["app"], own, channel=row["channel"]) == row["stream"]
    assert layout.pressure(row["app"], row["channel"]) == row["pressure"]


def test_app_and_channel_are_kept_apart():
    assert hash_of("a", "cme") != hash_of("ac", "me") != hash_of("acme")
    assert hash_of("acme", "") != hash_of("acme")


def test_the_vectors_have_the_tags_of_this_release():
    assert tuple(VECTORS["layout"]["tags"]) == tags(4)


def test_without_a_layout_the_keys_are_those_of_one_partition():
    assert parsed(None) == UNTAGGED
    assert (UNTAGGED.partitions, UNTAGGED.partition_of("demo"), UNTAGGED.prefix(0)) == (1, 0, "carillon:")
    assert UNTAGGED.stream("demo") == "carillon:events"
    assert UNTAGGED.stream("demo", own=True) == "carillon:events:demo"
    assert UNTAGGED.pressure("demo") == "carillon:pressure"


@pytest.mark.parametrize("n", [1, 2, 3, 4, 16, 64, MOST])
def test_equal_ranges_of_slots_have_one_partition_each(n):
    found = tags(n)
    assert [slot_of(tag) * n // SLOTS for tag in found] == list(range(n))
    assert len(set(found)) == n


@pytest.mark.parametrize("servers", [2, 4, 8])
def test_servers_with_equal_ranges_get_an_equal_share(servers):
    # redis-cli rounds the bounds in its own way: one slot more or less changes nothing.
    for shift in (-1, 0, 1):
        bounds = [0, *(n * SLOTS // servers + shift for n in range(1, servers)), SLOTS]
        share = [sum(first <= slot_of(tag) < end for tag in tags(16)) for first, end in pairwise(bounds)]
        assert share == [16 // servers] * servers


def test_no_generation_has_a_tag_of_another():
    of_all = [tag for generation in (2, 3, 12) for n in (1, 4, 16) for tag in tags(n, generation)]
    by_generation = [{tag for n in (1, 4, 16) for tag in tags(n, generation)} for generation in (2, 3, 12)]
    assert len(set(of_all)) == sum(map(len, by_generation))


@given(some.text(min_size=1, max_size=255), some.sampled_from([1, 3, 4, 16]))
def test_every_app_has_one_partition(app, n):
    layout = Layout(2, tags(n))
    p = layout.partition_of(app)
    assert 0 <= p < n
    assert layout.stream(app, own=True) == f"{layout.prefix(p)}events:{app}"


@given(some.text(min_size=1, max_size=9), some.text(max_size=9), some.sampled_from([3, 4, 16]))
def test_a_spread_app_has_a_home_and_each_channel_one_partition(app, channel, n):
    layout = Layout(2, tags(n), spread=frozenset({app}))
    p = layout.partition_of(app, channel)
    assert 0 <= p < n
    assert layout.stream(app, channel=channel) == f"{layout.prefix(p)}events:{app}"
    assert layout.stream(app) == f"{layout.prefix(layout.home_of(app))}events:{app}"
    assert layout.partition_of(f"{app}x", channel) == layout.home_of(f"{app}x")


@given(some.integers(2, 8), some.integers(2, 1000), some.booleans(), some.frozensets(some.text(min_size=1)))
def test_what_is_written_is_read(n, generation, closed, spread):
    layout = Layout(generation, tags(n, generation), closed, spread)
    assert parsed(encoded(layout)) == layout


def test_without_spread_apps_a_release_before_reads_what_is_written():
    assert json.loads(encoded(Layout(2, ("a", "b")))) == {"generation": 2, "partitions": 2, "tags": ["a", "b"]}


def test_an_untagged_layout_can_be_closed():
    closed = Layout(1, (), closed=True)
    assert json.loads(encoded(closed)) == {"generation": 1, "partitions": 1, "tags": [], "closed": True}
    assert parsed(encoded(closed)) == closed
    assert closed.stream("demo") == "carillon:events"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(b"", "carillon:layout: Input data was truncated", id="empty"),
        pytest.param(b"\xff", "carillon:layout: ", id="not UTF-8"),
        pytest.param(b"[]", "Expected `object`", id="no object"),
        pytest.param(
            b'{"generation": 2, "partitions": 1, "tags": ["a"], "moved": {}}',
            "unknown field `moved`; if a newer release wrote it, update the producers",
            id="a field of a later release",
        ),
        pytest.param(
            b'{"generation": 2, "partitions": 2, "tags": ["a", "b"], "spread": {}}', "Expected `array`", id="spread"
        ),
        pytest.param(
            b'{"generation": 2, "partitions": 1, "tags": ["a"], "spread": ["acme"]}',
            "spread: with one partition there is nothing to spread an app over",
            id="spread over one",
        ),
        pytest.param(
            b'{"generation": 2, "partitions": 2, "tags": ["a", "b"], "spread": [""]}', "empty name", id="spread nobody"
        ),
        pytest.param(b'{"generation": 2, "tags": ["a"]}', "missing required field `partitions`", id="no number"),
        pytest.param(
            b'{"generation": 0, "partitions": 1, "tags": []}', "generation: expected 1 or more", id="generation"
        ),
        pytest.param(
            b'{"generation": 2, "partitions": 0, "tags": []}', "expected a whole number from 1 to 256", id="none"
        ),
        pytest.param(
            b'{"generation": 2, "partitions": 2, "tags": ["a"]}', "tags: 1, but there are 2 partitions", id="too few"
        ),
        pytest.param(
            b'{"generation": 2, "partitions": 2, "tags": []}',
            "tags: 0, but there are 2 partitions",
            id="untagged, but two",
        ),
        pytest.param(
            b'{"generation": 2, "partitions": 2, "tags": ["a", "a"]}', "each partition needs one of its own", id="twice"
        ),
        pytest.param(b'{"generation": 2, "partitions": 1, "tags": ["a}"]}', "without braces", id="a brace"),
        pytest.param(b'{"generation": 2, "partitions": 1, "tags": ["a:b"]}', "without braces and colons", id="a colon"),
        pytest.param(b'{"generation": 2, "partitions": 1, "tags": [""]}', "printable ASCII", id="an empty tag"),
    ],
)
def test_what_is_no_layout_is_refused_in_words(value, words):
    with pytest.raises(LayoutError) as refused:
        parsed(value)
    assert words in str(refused.value)


def test_a_layout_that_nobody_could_read_is_not_written():
    for tag in ("a b", "x" * (LONGEST_TAG + 1), "é", "\n"):
        with pytest.raises(LayoutError):
            encoded(Layout(2, (tag,)))
    with pytest.raises(LayoutError, match="from 1 to 256"):
        tags(MOST + 1)
