"""What goes wrong when: drawn from a seed, so that a run can be had again. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple


class Spell(NamedTuple):
    """A fault that lasts from `at` for `seconds`, both counted from the beginning of the mix."""

    at: float
    fault: str
    seconds: float


KILLS: Final = ("kill_worker", "kill_worker", "kill_worker", "kill_beat", "kill_relay")


def alone(seed: int, faults: Sequence[str]) -> list[str]:
    """Each fault once, in an order of the seed's."""
    order = list(faults)
    Random(seed).shuffle(order)
    return order


def mixed(
    seed: int,
    total: float,
    tracks: Sequence[Mapping[str, float]],
    *,
    kill_every: float,
    gap: float,
    kills: Sequence[str] = KILLS,
) -> list[Spell]:
    """In each track lasting faults one after another, every one before any comes again; kills at random moments all along.

    A track has seconds by fault; `kill_every` and `gap` are means of seconds between two kills, and two faults of a track.
    """
    random = Random(seed)
    spells = [spell for track in tracks for spell in _one_after_another(random, total, track, gap)]
    at = kill_every * random.random()
    while kills and at < total:
        spells.append(Spell(at, random.choice(kills), 0.0))
        at += kill_every * (0.5 + random.random())
    return sorted(spells)


def _one_after_another(random: Random, total: float, track: Mapping[str, float], gap: float) -> Iterator[Spell]:
    at = gap * random.random()
    while True:
        for fault in random.sample(sorted(track), len(track)):
            if at + track[fault] > total:
                return
            yield Spell(at, fault, track[fault])
            at += track[fault] + gap * (0.5 + random.random())
