"""Quiet time: the vectors, and what is so in every zone of the database."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import zones
from worker.core.quiet import (
    DAY,
    LONGEST,
    WEEKDAYS,
    Allow,
    Hours,
    Quiet,
    Silence,
    Span,
    Window,
    always_quiet,
    latest_span,
    passes,
    silence,
    span_at,
)

VECTORS: Final = json.loads(Path(__file__).with_name("quiet_vectors.json").read_text())
DAILY: Final = tuple(range(7))
NIGHT: Final = (Window(DAILY, 22 * 60, 7 * 60),)
#: Begin and end at times that many clocks skip or repeat.
LATE: Final = (Window(DAILY, 22 * 60, 2 * 60 + 30),)
EARLY: Final = (Window(DAILY, 0, 150),)
FROM, TO = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2026, 2029))


def zone(name: str) -> ZoneInfo:
    found = zones.zone(name)
    assert found is not None
    return found


def unix(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def minutes(text: str) -> int:
    hours, minute = text.split(":")
    return int(hours) * 60 + int(minute)


def hours(row: dict[str, Any]) -> Hours:
    [(name, windows)] = row["setting"].items()
    of_days = (
        (tuple(map(WEEKDAYS.index, window["days"])), minutes(window["from"]), minutes(window["to"]))
        for window in windows
    )
    return Hours(zone(row["zone"]), tuple(Window(*one) for one in of_days), name == "notify")


@pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in VECTORS])
def test_the_answer_of_the_vectors(row: dict[str, Any]) -> None:
    at = unix(row["at"])
    local = datetime.fromtimestamp(at, zone(row["zone"]))
    assert local.strftime("%a %H:%M:%S %z") == row["local"]
    span = span_at(hours(row), at)
    assert (span.quiet, span.until) == (row["quiet"], row["until"] and unix(row["until"]))


def offset(zone: ZoneInfo, at: int) -> object:
    return datetime.fromtimestamp(at, zone).utcoffset()


def jumps(zone: ZoneInfo) -> Iterator[int]:
    """The instants at which the clocks of the zone change."""
    for week in range(FROM, TO, 7 * DAY):
        low, high = week, week + 7 * DAY
        before = offset(zone, low)
        if offset(zone, high) != before:
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
            yield high


def spans(of: Hours, begin: int, end: int) -> Iterator[Span]:
    while begin < end:
        span = span_at(of, begin)
        yield span
        begin = span.end


def looked_at(zone: ZoneInfo) -> list[tuple[int, int]]:
    """Two days around each kind of change that its clocks make, or some that have none."""
    kinds = {(jump % DAY, offset(zone, jump)): jump for jump in jumps(zone)}
    return [(jump - DAY, jump + DAY) for jump in kinds.values()] or [(FROM, FROM + 2 * DAY)]


def distinct() -> dict[bytes, str]:
    """A name for each set of rules: most names are links."""
    found: dict[bytes, str] = {}
    for name in sorted(zones.names()):
        found.setdefault(files("tzdata.zoneinfo").joinpath(name).read_bytes(), name)
    return found


@pytest.mark.parametrize("notify", [False, True], ids=["quiet", "notify"])
def test_in_every_zone_each_span_ends_where_the_other_state_begins(notify: bool) -> None:
    """At frozen instants around the changes of clocks in three years; within a day each window makes at most two changes."""
    for name in distinct().values():
        of = Hours(zone(name), EARLY if notify else LATE, notify)
        for begin, end in looked_at(zone(name)):
            before = None
            found = list(spans(of, begin, end))
            for span in found:
                assert span.ends, name
                assert span.quiet is not before, (name, span)
                assert span_at(of, span.end - 1).quiet is span.quiet, (name, span)
                before = span.quiet
            assert span_at(of, found[-1].end).quiet is not before, name
            # Two days of changes, and what is left of the days at either end.
            assert len(found) <= 2 * len(of.windows) * 3 + 1, name


def test_every_name_of_the_database_is_a_zone() -> None:
    noon = unix("2027-01-05T12:00:00Z")
    assert len(zones.names()) > 590
    for name in zones.names():
        assert span_at(Hours(zone(name), NIGHT), noon).ends


def test_the_zones_are_those_of_the_package() -> None:
    """Vancouver has no winter time since 2026: systems whose zones are older say 06:30."""
    assert datetime.fromtimestamp(unix("2027-01-05T14:30:00Z"), zone("America/Vancouver")).hour == 7
    assert zones.zone("Europe/Berln") is None
    assert zones.zone("europe/berlin") is None


ZONES: Final = st.sampled_from(sorted(zones.names()))
INSTANTS: Final = st.integers(FROM, TO)
DAYS: Final = st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days)))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    begin = draw(st.integers(0, 1439))
    return Window(draw(DAYS), begin, draw(st.integers(0, 1440).filter(lambda end: end != begin)))


HOURS: Final = st.builds(
    lambda name, some, notify: Hours(zone(name), tuple(some), notify),
    ZONES,
    st.lists(windows(), min_size=1, max_size=4),
    st.booleans(),
)


@settings(max_examples=100, deadline=None)
@given(HOURS, INSTANTS)
def test_a_span_holds_all_along_and_no_further(of: Hours, at: int) -> None:
    span = span_at(of, at)
    assert span.begin <= at < span.end
    for inside in (span.begin, (span.begin + span.end) // 2, span.end - 1):
        assert span_at(of, inside).quiet is span.quiet
    if span.ends:
        assert span_at(of, span.end).quiet is not span.quiet
        assert span.end - at <= LONGEST


@settings(max_examples=100, deadline=None)
@given(HOURS, INSTANTS)
def test_an_instant_outside_of_all_clock_changes_is_read_off_the_clock(of: Hours, at: int) -> None:
    """Only where a clock jumps or repeats do intervals differ from the clock's reading."""
    if len({offset(of.zone, at + day * DAY) for day in range(-2, 3)}) > 1:  # type: ignore[arg-type]
        return
    local = datetime.fromtimestamp(at, of.zone)
    minute = local.hour * 60 + local.minute
    inside = any(
        (local.weekday() in days and begin <= minute < (end if end > begin else 1441))
        or ((local.weekday() - 1) % 7 in days and end <= begin and minute < end)
        for days, begin, end in of.windows
    )
    assert span_at(of, at).quiet is (inside is not of.notify)


@settings(max_examples=50, deadline=None)
@given(HOURS, st.lists(INSTANTS, min_size=1, max_size=5))
def test_what_is_remembered_changes_no_answer(of: Hours, instants: list[int]) -> None:
    for at in instants:
        remembered = latest_span(of, at)
        assert remembered.quiet is span_at(of, at).quiet
        assert remembered.begin <= at < remembered.end


def test_a_window_of_all_day_every_day_has_no_end() -> None:
    of, noon = Hours(zone("Europe/Berlin"), (Window(DAILY, 0, 1440),)), unix("2027-01-05T12:00:00Z")
    assert span_at(of, noon).until is None
    assert always_quiet(of, noon)
    assert silence(Quiet(of), noon) == Silence("quiet", None, Quiet(of))
    assert not always_quiet(Hours(zone("Europe/Berlin"), NIGHT), unix("2027-01-05T23:00:00Z"))


@pytest.mark.parametrize(
    ("pause", "expected"),
    [
        pytest.param("2027-01-05T11:00:00Z", None, id="over"),
        pytest.param("2027-01-05T12:00:00Z", None, id="over just now"),
        pytest.param("2027-01-05T13:00:00Z", ("paused", "2027-01-05T13:00:00Z"), id="for an hour"),
        pytest.param("2027-01-05T23:00:00Z", ("paused", "2027-01-06T06:00:00Z"), id="into the night"),
        pytest.param("2027-01-13T12:00:00Z", ("paused", "2027-01-13T12:00:00Z"), id="for eight days"),
        pytest.param("2027-01-13T12:00:01Z", ("paused", None), id="for longer"),
    ],
)
def test_a_pause_goes_before_the_windows(pause: str, expected: tuple[Any, str | None] | None) -> None:
    setting = Quiet(Hours(zone("Europe/Berlin"), NIGHT), unix(pause))
    found = silence(setting, unix("2027-01-05T12:00:00Z"))
    if expected is None:
        assert found is None
    else:
        reason, until = expected
        assert found == Silence(reason, None if until is None else unix(until), setting)


def test_a_pause_in_the_night_does_not_shorten_it() -> None:
    setting = Quiet(Hours(zone("Europe/Berlin"), NIGHT), unix("2027-01-06T01:00:00Z"))
    until = unix("2027-01-06T06:00:00Z")
    assert silence(setting, unix("2027-01-06T00:00:00Z")) == Silence("paused", until, setting)
    assert silence(setting, unix("2027-01-06T02:00:00Z")) == Silence("quiet", until, setting)


ALLOW: Final = Allow(urgent=True, triggers=["direct"], users=["leia"], channels=["ops"])


@pytest.mark.parametrize(
    ("allow", "urgent", "triggers", "sender", "channel", "expected"),
    [
        pytest.param(ALLOW, False, ["message"], "luke", "general", None, id="B01"),
        pytest.param(ALLOW, False, ["direct", "message"], "luke", "d1", "trigger", id="B02"),
        pytest.param(ALLOW, False, ["message"], "leia", "general", "user", id="B03"),
        pytest.param(ALLOW, False, ["message"], "luke", "ops", "channel", id="B04"),
        pytest.param(ALLOW, True, ["message"], "luke", "general", "urgent", id="B05"),
        pytest.param(ALLOW._replace(urgent=False), True, ["message"], "luke", "general", None, id="B06"),
        pytest.param(ALLOW, False, ["mention", "message"], "luke", "general", None, id="B10"),
        pytest.param(
            ALLOW._replace(triggers=["mention"]),
            *(False, ["mention", "message"], "luke", "general", "trigger"),
            id="B10 allowed",
        ),
        pytest.param(Allow(), False, ["call"], "luke", "general", "trigger", id="B12"),
        pytest.param(Allow(triggers=[]), False, ["call"], "luke", "general", None, id="B12 not allowed"),
    ],
)
def test_what_breaks_through(
    allow: Allow, urgent: bool, triggers: list[str], sender: str, channel: str, expected: str | None
) -> None:
    assert passes(allow, urgent=urgent, triggers=triggers, sender=sender, channel=channel) == expected
