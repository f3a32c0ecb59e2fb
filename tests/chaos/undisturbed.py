"""How long notifications take while a service is at fault that others are sent by. Pure. Times are in UNIX seconds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tests.chaos.account import percentile
from tests.chaos.world import KIND_OF_WAY

#: Seconds around a fault whose messages say nothing about calm times.
BEFORE, AFTER = 1.0, 12.0
#: Notifications of a kind that it takes to say something.
ENOUGH: Final = 1_000


class Timed(NamedTuple):
    """A notification: when its message was published, the seconds until it was accepted, and its way."""

    at: float
    seconds: float
    way: str


class Trouble(NamedTuple):
    """A fault, and the ways that it befalls; None: the whole system."""

    began: float
    ended: float
    ways: frozenset[str] | None


class Medians(NamedTuple):
    """Seconds in calm times, and beside a fault."""

    calm: float
    beside: float


def compare(notifications: Iterable[Timed], troubles: Sequence[Trouble]) -> Mapping[str, Medians]:
    """By kind of provider, of notifications whose ways are well while another way is at fault, and nothing else is."""
    calm: dict[str, list[float]] = defaultdict(list)
    during: dict[str, list[float]] = defaultdict(list)
    moments: dict[float, list[Trouble]] = {}
    for at, seconds, way in notifications:
        if at not in moments:
            moments[at] = [one for one in troubles if one.began - BEFORE <= at <= one.ended + AFTER]
        near = moments[at]
        if not near:
            calm[KIND_OF_WAY[way]].append(seconds)
        elif any(one.began <= at <= one.ended for one in near) and not any(_befalls(one, way) for one in near):
            during[KIND_OF_WAY[way]].append(seconds)
    return {
        kind: Medians(usual, then)
        for kind in calm
        if min(len(calm[kind]), len(during[kind])) >= ENOUGH
        and (usual := percentile(calm[kind], 0.5)) is not None
        and (then := percentile(during[kind], 0.5)) is not None
    }


def _befalls(trouble: Trouble, way: str) -> bool:
    return trouble.ways is None or way in trouble.ways
