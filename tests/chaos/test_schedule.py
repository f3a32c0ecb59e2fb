"""A seed is a schedule: the same twice, with every lasting fault in its turn."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from tests.chaos.crew import CONCLUDED, said_at
from tests.chaos.faults import faults_of
from tests.chaos.run import Options
from tests.chaos.schedule import KILLS, alone, mixed

LASTING = {"slow": 5.0, "full": 2.0, "poison": 0.0}
OTHERS = {"paused": 30.0, "killed": 0.0}


def test_the_same_seed_gives_the_same_schedule():
    assert mixed(7, 300, [LASTING], kill_every=3, gap=2) == mixed(7, 300, [LASTING], kill_every=3, gap=2)
    assert mixed(7, 300, [LASTING], kill_every=3, gap=2) != mixed(8, 300, [LASTING], kill_every=3, gap=2)


def test_each_fault_comes_alone_once():
    assert sorted(alone(3, list(LASTING))) == sorted(LASTING)


def test_every_lasting_fault_comes_before_any_comes_again():
    faults = [spell.fault for spell in mixed(1, 300, [LASTING], kill_every=3, gap=2) if spell.fault in LASTING]
    assert len(faults) > 9
    assert all(set(faults[at : at + 3]) == set(LASTING) for at in range(0, len(faults) - 3, 3))


def test_lasting_faults_do_not_overlap_and_end_in_time():
    lasting = [spell for spell in mixed(1, 300, [LASTING], kill_every=3, gap=2) if spell.fault in LASTING]
    assert all(before.at + before.seconds <= after.at for before, after in pairwise(lasting))
    assert lasting[-1].at + lasting[-1].seconds <= 300


def test_twelve_minutes_of_a_mix_have_two_hundred_kills():
    kills = [spell for spell in mixed(1, 720, [LASTING, OTHERS], kill_every=3, gap=8) if spell.fault in KILLS]
    assert len(kills) > 200


def test_tracks_go_on_beside_each_other():
    spells = mixed(1, 300, [LASTING, OTHERS], kill_every=3, gap=2)
    paused = next(spell for spell in spells if spell.fault == "paused")
    assert any(paused.at < spell.at < paused.at + paused.seconds for spell in spells if spell.fault in LASTING)


def test_a_long_run_has_every_fault_alone_and_says_how_long_that_takes():
    short, long = Options(60, 3), Options(240, 3)
    assert short.stages == ["blast", "burst"]
    assert sorted(long.stages) == sorted(faults_of("single"))
    assert 60 + short.idle_within < short.longest < long.longest
    assert Options(60, 3, ("poison",)).stages == []


def test_what_a_log_says_has_the_time_at_which_it_was_said(monkeypatch):
    heard = 1_795_996_800.5  # half a second after midnight, UTC
    monkeypatch.setattr("time.localtime", lambda _: SimpleNamespace(tm_gmtoff=3600))
    line = "00:59:59.900 INFO    worker.pipeline.steps.report  batch delivered  app=a  batch=b1f  lane=urgent"
    concluded = CONCLUDED.match(line)
    assert concluded
    assert concluded[4] == "b1f"
    assert said_at(concluded, heard) == pytest.approx(heard - 0.6)
