"""Which apps have counters under their own name, and what of each counter is counted under it.

All other apps are counted together as `other`. An app changes sides as it gets busier or quieter than others. What was counted
under its name stays there, and what was counted as `other` stays in `other`. So no counter decreases when an app changes sides.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

#: Seconds.
HOUR: Final = 3_600.0

#: Counters by the number of the provider, 0: of the app itself.
Totals = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Side:
    """Where an app's counters go."""

    named: bool
    #: Everything that it has done when that was last looked at, and what of it in the last hour or so.
    seen: float = 0.0
    recent: float = 0.0
    #: When that was, in UNIX seconds.
    looked_at: float = 0.0
    #: What is on the other side: of a named app what was counted as `other`, else what was counted under its name.
    rest: Totals = field(default_factory=dict)

    def busy(self, now: float) -> float:
        """What it did in the last hour or so: an hour ago counts a third."""
        return self.recent * math.exp(-max(0.0, now - self.looked_at) / HOUR)

    def moved(self, totals: Totals) -> "Side":
        """The other side, from these totals on."""
        return replace(self, named=not self.named, rest=less(totals, self.rest))


def divided(totals: Totals, side: Side | None) -> tuple[Totals, Totals]:
    """What of an app's totals is counted under its name, and what as `other`. Nothing of an app without a side."""
    if side is None:
        return {}, {}
    here = less(totals, side.rest) if side.rest else totals
    return (here, side.rest) if side.named else (side.rest, here)


def looked(sides: Mapping[str, Side], totals: Mapping[str, Totals], limit: int, now: float) -> dict[str, Side]:
    """The sides of every app that has totals, and how busy it is now. An app without a side gets one; no other moves."""
    found = {app: _looked(sides.get(app), _work(of), now) for app, of in totals.items()}
    busiest = named(found, limit, now)
    return {app: side if app in sides else replace(side, named=app in busiest) for app, side in found.items()}


def named(sides: Mapping[str, Side], limit: int, now: float) -> frozenset[str]:
    """The `limit` busiest apps. Of apps that are equally busy those that are named stay it."""
    order = sorted(sides, key=lambda app: (-sides[app].busy(now), not sides[app].named, app))
    return frozenset(order[:limit])


def less(totals: Totals, rest: Totals) -> Totals:
    """The totals without the rest. A counter that began anew is never negative."""
    return {provider: _less(of, rest.get(provider, {})) for provider, of in totals.items()}


def _less(totals: Mapping[str, float], rest: Mapping[str, float]) -> dict[str, float]:
    return {name: max(0.0, n - rest.get(name, 0.0)) for name, n in totals.items()}


def _looked(side: Side | None, work: float, now: float) -> Side:
    if side is None:
        return Side(False, work, work, now)
    if work == side.seen:
        return side
    return replace(side, seen=work, recent=side.busy(now) + max(0.0, work - side.seen), looked_at=now)


def _work(totals: Totals) -> float:
    return sum(n for of in totals.values() for n in of.values())
