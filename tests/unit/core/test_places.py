"""What held at a place: writes in any order of their own times, against a model that keeps every state."""

import random
from itertools import pairwise

import pytest

from worker.core.places import Settings, Standing, changed, held, set_anew


@pytest.mark.parametrize(
    ("intervals", "place", "so"),
    [
        ([], 5, False),
        ([(3, None)], 2, False),
        ([(3, None)], 3, True),
        ([(3, 5)], 4, True),
        ([(3, 5)], 5, False),
        ([(1, 2), (5, None)], 3, False),
        ([(5, None), (1, 2)], 1, True),
    ],
)
def test_an_interval_begins_at_its_first_place_and_ends_before_its_last(intervals, place, so):
    assert held(intervals, place) is so


def test_a_repeated_write_keeps_the_place_of_the_first():
    known = {"han": Standing(5, True, 3)}
    now, ended = changed(known, [("han", 9, True, 7), ("han", 9, True, 8)])
    assert (now, ended) == ({"han": Standing(9, True, 3)}, [])
    assert changed(known, [("han", 9, True, 9)]) == ({}, []), "what says nothing new is not written"


def test_the_writes_own_times_decide_and_their_places_say_since_when():
    now, ended = changed(
        {"han": Standing(5, True, 3)}, [("han", 4, False, 7), ("han", 5, False, 8), ("han", 6, True, 9)]
    )
    assert (now, ended) == ({"han": Standing(6, True, 9)}, [("han", 3, 8)])


def test_writes_that_are_applied_again_at_their_places_change_nothing():
    """As after the death of a leader, also where their own times are equal."""
    writes = [("han", 5, True, 7), ("han", 5, False, 8), ("leia", 5, False, 8), ("leia", 4, True, 9)]
    known: dict[str, Standing] = {}
    changed(known, writes)
    assert changed(dict(known), writes) == ({}, [])
    settings = set_anew(set_anew(Settings(), {"name": "Lounge"}, 5, 7), {"name": "Bar"}, 5, 8)
    assert set_anew(settings, {"name": "Lounge"}, 5, 7) == settings


@pytest.mark.parametrize("seed", range(50))
def test_every_place_is_read_as_it_was_then(seed):
    rng = random.Random(seed)
    writes = [("han", rng.randrange(8), rng.random() < 0.5, place) for place in range(1, 15)]
    expected, standing = {0: False}, (-1, False)
    for _, at, on, place in writes:
        if at >= standing[0]:
            standing = (at, on)
        expected[place] = standing[1]
    known: dict[str, Standing] = {}
    past: list[tuple[int, int]] = []
    cuts = sorted(rng.sample(range(len(writes) + 1), 3))
    for first, last in pairwise([0, *cuts, len(writes)]):  # several transactions
        now, ended = changed(dict(known), writes[first:last])
        known |= now
        past += [(since, until) for _, since, until in ended]
    row = known["han"]
    intervals = [*past, *([(row.since, None)] if row.on else [])]
    assert {place: held(intervals, place) for place in expected} == expected


def test_settings_keep_the_place_of_their_last_change():
    first = set_anew(Settings(created=1), {"name": "Lounge"}, 5, 2)
    assert first == Settings("Lounge", 5, created=1, since=2)
    assert set_anew(first, {"name": "Lounge", "push": True}, 6, 3).since == 2
    assert set_anew(first, {"name": "Bar"}, 4, 3) == first
    assert set_anew(first, {"push": False}, 4, 4) == first._replace(push=False, push_at=4, since=4)
    assert set_anew(first, {"level": "mentions"}, 4, 5) == first._replace(level="mentions", level_at=4, since=5)
