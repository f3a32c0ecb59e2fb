"""How providers stand: their state by the conditions, and what the history says of them. The worst come first."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from worker.dashboard import charts
from worker.dashboard.frame import SHAPES
from worker.dashboard.text import minute, share
from worker.database import history as rows
from worker.database.postgres import Connection
from worker.providers.kinds import words_of
from worker.reports.conditions import Condition
from worker.reports.history import Key, Series, count

_RANKS: Final = ("crit", "warn", "info", "paused", "ok")


class Standing(NamedTuple):
    """One provider. `shape` as of `ui.state`; the numbers are those of the newest sample, None: not known."""

    id: int
    app: str
    name: str
    kind: str
    shape: str
    state: str
    detail: str
    rate: float | None
    waiting: float | None
    oldest: float | None

    @property
    def works(self) -> bool:
        return self.shape == "ok"

    @property
    def key(self) -> Key:
        """Of its series."""
        return self.app, self.id


class Row(NamedTuple):
    """A provider with what happened over a range. Its other fields are those of `Standing`."""

    standing: Standing
    spark: Markup
    refused: str
    #: Seconds.
    p99: float | None


def standings(db: Connection, conditions: Iterable[Condition], *, now: float, app: str | None = None) -> list[Standing]:
    """Every provider of one app or of all: by severity, then by what waits, then by what it sends. One statement."""
    worst: dict[tuple[str | None, str | None], Condition] = {}
    for one in sorted(conditions, key=lambda one: one.order):
        worst.setdefault((one.app, one.provider), one)
    found = [_standing(row, worst.get((row.app, row.name))) for row in rows.providers(db, now, app)]
    return sorted(
        found,
        key=lambda one: (_RANKS.index(one.shape), -(one.waiting or 0.0), -(one.rate or 0.0), one.app, one.name),
    )


def with_series(standing: Standing, series: Series) -> Row:
    counts = series.counts()
    accepted, refused = count(counts, "accepted"), count(counts, "refused")
    return Row(
        standing,
        charts.spark(series.rates("accepted")),
        share(refused, accepted + refused),
        series.percentiles().get("answer.p99"),
    )


def words(one: Condition | None) -> tuple[str, str, str]:
    """The shape, the word and a detail for the state of a provider with this condition."""
    if one is None:
        return "ok", "working", ""
    shape = "paused" if one.name == "provider_paused" else SHAPES[one.severity]
    state = one.name.removeprefix("provider_").replace("_", " ")
    return shape, state, one.figures or (f"since {minute(one.since)}" if one.since is not None else "")


def _standing(row: rows.Now, condition: Condition | None) -> Standing:
    shape, state, detail = words(condition)
    waiting = row.waiting if condition is None or condition.waiting is None else float(condition.waiting)
    return Standing(
        *(row.provider, row.app, row.name, words_of(row.form).title or row.form, shape, state, detail),
        *(row.rate, waiting, row.oldest),
    )


def by_app(standings: Sequence[Standing]) -> Mapping[str, list[Standing]]:
    found: dict[str, list[Standing]] = {}
    for one in standings:
        found.setdefault(one.app, []).append(one)
    return found
