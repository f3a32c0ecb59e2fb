"""A seed is a schedule: the same twice, with every lasting fault in its turn."""

from itertools import pairwise

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
