"""Counters by app never decrease, whichever apps have names."""

from hypothesis import given
from hypothesis import strategies as st

from worker.core.named_apps import HOUR, Side, divided, looked, named

APPS = ("a", "b", "c", "d", "e")


def exported(totals, sides):
    """As Prometheus gets them: app, or 'other', and counter -> value."""
    found = {}
    for app, of in totals.items():
        side = sides.get(app)
        mine, others = divided(of, side)
        for provider, counters in mine.items() if side is not None and side.named else ():
            for name, n in counters.items():
                found[app, provider, name] = n
        for provider, counters in others.items():
            for name, n in counters.items():
                found["other", provider, name] = found.get(("other", provider, name), 0) + n
    return found


def sum_of(totals) -> float:
    return float(sum(n for of in totals.values() for n in of.values()))


def look(sides, totals, limit, now):
    """As worker/database/named_apps.py does it."""
    sides = looked(sides, totals, limit, now)
    busiest = named(sides, limit, now)
    for app, side in sides.items():
        if side.named != (app in busiest):
            sides[app] = side.moved(totals[app])
    return sides


counted = st.tuples(
    st.sampled_from(APPS), st.integers(0, 1), st.sampled_from(("accepted", "jobs")), st.integers(1, 1_000)
)
steps = st.lists(
    st.tuples(st.lists(counted, max_size=4), st.booleans(), st.floats(0, 3 * HOUR)), min_size=1, max_size=30
)


@given(steps=steps, limit=st.integers(0, 4))
def test_no_counter_decreases_and_nothing_is_lost_or_counted_twice(steps, limit) -> None:
    totals: dict[str, dict[int, dict[str, float]]] = {}
    sides: dict[str, Side] = {}
    highest: dict[tuple[str, int, str], float] = {}
    now = 0.0
    for added, looks, seconds in steps:
        now += seconds
        for app, provider, name, n in added:
            of = totals.setdefault(app, {}).setdefault(provider, {})
            of[name] = of.get(name, 0) + n
        if looks:
            sides = look(sides, totals, limit, now)
            assert sum(side.named for side in sides.values()) <= limit
        found = exported(totals, sides)
        for key, value in found.items():
            assert value >= highest.get(key, 0), key
            highest[key] = value
        # What is of an app whose name is taken at the moment is still on its side.
        apart = sum(sum_of(divided(totals[app], side)[0]) for app, side in sides.items() if not side.named)
        assert sum(found.values()) + apart == sum(sum_of(totals[app]) for app in sides)


def test_all_apps_have_names_while_there_are_few() -> None:
    totals = {app: {0: {"jobs": 1}} for app in APPS}
    sides = look({}, totals, 5, 0.0)
    assert exported(totals, sides) == {(app, 0, "jobs"): 1 for app in APPS}


def test_the_busiest_of_the_last_hour_have_names_not_those_of_all_time() -> None:
    totals = {"old": {0: {"jobs": 1_000_000.0}}, "new": {0: {"jobs": 1.0}}}
    sides = look({}, totals, 1, 0.0)
    assert sides["old"].named and not sides["new"].named
    totals["new"][0]["jobs"] = 500.0
    sides = look(sides, totals, 1, 12 * HOUR)
    assert sides["new"].named and not sides["old"].named
    totals["new"][0]["jobs"], totals["old"][0]["jobs"] = 700.0, 1_000_003.0
    assert exported(totals, sides) == {("new", 0, "jobs"): 200.0, ("other", 0, "jobs"): 503.0}


def test_an_app_without_a_side_is_not_counted_yet() -> None:
    assert divided({0: {"jobs": 1}}, None) == ({}, {})


def test_a_counter_that_began_anew_is_not_negative() -> None:
    assert divided({0: {"jobs": 1}}, Side(True, rest={0: {"jobs": 5}}))[0] == {0: {"jobs": 0.0}}
