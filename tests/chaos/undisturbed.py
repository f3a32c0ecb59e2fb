"""How long notifications take while a service is at fault that others are sent by. Pure. Times are in UNIX seconds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tests.chaos.account import percentile
from tests.chaos.world import KIND_OF_WAY

#: Seconds around a fault whose messages say nothing about calm times.
BEFORE, AFTER = 1.0, 12.0
#: Notifications of a kind that it takes to say something.
ENOUGH: Final = 100


class Timed(NamedTuple):
    """A notification: when its message was published, the seconds until it was accepted, and its way."""

    at: float
    seconds: float
    way: str


class Trouble(NamedTuple):
    """A fault, and the ways that it befalls."""

    began: float
    ended: float
    ways: frozenset[str]


class Medians(NamedTuple):
    """Seconds in calm times, and beside a fault."""

    calm: float
    beside: float


def is_calm(at: float, troubles: Iterable[Trouble]) -> bool:
    return not any(one.began - BEFORE <= at <= one.ended + AFTER for one in troubles)


def compare(notifications: Iterable[Timed], troubles: Sequence[Trouble]) -> Mapping[str, Medians]:
    """By kind of provider, of notifications whose ways are well while another way is at fault, and nothing else is."""
    alone = [one for one in troubles if one.ways and _is_alone(one, troubles)]
    calm: dict[str, list[float]] = defaultdict(list)
    during: dict[str, list[float]] = defaultdict(list)
    moments: dict[float, tuple[bool, list[Trouble]]] = {}
    for at, seconds, way in notifications:
        if at not in moments:
            moments[at] = is_calm(at, troubles), [one for one in alone if one.began <= at <= one.ended]
        peace, near = moments[at]
        if peace:
            calm[KIND_OF_WAY[way]].append(seconds)
        elif any(way not in one.ways for one in near):
            during[KIND_OF_WAY[way]].append(seconds)
    return {
        kind: Medians(usual, then)
        for kind in calm
        if min(len(calm[kind]), len(during[kind])) >= ENOUGH
        and (usual := percentile(calm[kind], 0.5)) is not None
        and (then := percentile(during[kind], 0.5)) is not None
    }


def _is_alone(trouble: Trouble, others: Iterable[Trouble]) -> bool:
    """Whether no other fault was there, or not long over."""
    return not any(
        other is not trouble and other.began <= trouble.ended and other.ended + AFTER >= trouble.began
        for other in others
    )
