"""The counters that the fleet shares, a row for each app, provider and source. docs/reference/counters.md has their names.

Three sources write, each its own rows, so that none waits for another: `ledger`, what `Ledger.flush` finds in the journal;
`intake`, what the leader takes; `devices`, what happened to devices (a trigger of the devices' history).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from worker.core.ledger_entry import Entry
from worker.core.tally import is_of_histogram, tally_in
from worker.database import bulk
from worker.database.postgres import Connection

Source = Literal["ledger", "intake", "devices"]
#: App and provider (0: of the app itself) -> counter -> what is added.
Added = Mapping[tuple[str, int], Mapping[str, float]]

#: Deletes counters of apps and providers that were removed, if they have not changed for `days`.
FORGET: Final = (
    "WITH gone AS (DELETE FROM carillon.tallies t WHERE changed_at < now() - make_interval(days => %(days)s) AND app <> ''"
    " AND NOT EXISTS (SELECT FROM carillon.apps a LEFT JOIN carillon.providers p ON p.app = a.name AND p.id = t.provider"
    " WHERE a.name = t.app AND (t.provider = 0 OR p.id IS NOT NULL AND p.removed_at IS NULL)) RETURNING 1)"
    " SELECT count(*) FROM gone"
)
#: Names that a row has, beside its histograms: a provider may answer with ever new reasons. Further ones count as `other`.
NAMES: Final = 256
OTHER: Final = "other"
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, int | float]).decode


class Tallied(NamedTuple):
    """The counters of one app (provider 0) or of one of its providers, since it began. App '': of documents that name none."""

    app: str
    provider: int
    totals: dict[str, float]


#: Adds what an INSERT into `carillon.tallies AS t` has to what is there.
ADD: Final = (
    " ON CONFLICT (app, provider, source) DO UPDATE SET changed_at = now(), totals = t.totals ||"
    " (SELECT jsonb_object_agg(key, value::bigint + coalesce((t.totals ->> key)::bigint, 0))"
    " FROM jsonb_each_text(excluded.totals))"
)


def add(db: Connection, source: Source, added: Added) -> None:
    """Adds to the counters, inside the caller's transaction. One transaction at a time adds for a source."""
    added = {key: of for key, of in sorted(added.items()) if of}
    if not added:
        return
    found = db.execute(
        b"SELECT app, provider, totals::text FROM unnest(%b::text[], %b::int[]) AS w (app, provider)"
        b" JOIN carillon.tallies t USING (app, provider) WHERE t.source = %s",
        (*bulk.columns(added), source),
    ).fetchall()
    totals = {(app, provider): _decode(text) for app, provider, text in found}
    rows = [(*key, _encode(_sums(totals.get(key, {}), of)).decode()) for key, of in added.items()]
    db.execute(
        b"INSERT INTO carillon.tallies (source, app, provider, totals)"
        b" SELECT %s, app, provider, totals::jsonb FROM unnest(%b::text[], %b::int[], %b::text[]) AS w (app, provider, totals)"
        b" ON CONFLICT (app, provider, source) DO UPDATE SET totals = excluded.totals, changed_at = now()",
        (source, *bulk.columns(rows)),
    )


def count_events(db: Connection, added: Mapping[tuple[str, int], Mapping[str, int]]) -> None:
    """Adds to the counters of the intake, inside the leader's transaction. Their names are few, so none is `other`."""
    bulk.write(
        db,
        "INSERT INTO carillon.tallies AS t (source, app, provider, totals)"
        " SELECT 'intake', app, provider, totals::jsonb"
        " FROM unnest(%b::text[], %b::int[], %b::text[]) AS w (app, provider, totals)" + ADD,
        [(*key, _encode(of).decode()) for key, of in sorted(added.items()) if of],
    )


def count(db: Connection, entries: Sequence[Entry], partition: int) -> None:
    """Counts the tallies among the oldest entries of a partition's journal, except those that an earlier call has counted.

    Runs in the transaction that has the ledger's lock of the partition. One at a time counts, as a spread app has entries in
    several. An earlier call has counted all of them up to the one that is known as its last of this partition; if that one is
    gone, none.
    """
    if not entries:
        return
    found = [(entry.app, tally_in(entry)) for entry in entries]
    which = str(partition) if partition else None
    [(last,)] = db.execute(
        "SELECT CASE WHEN %(which)s::text IS NULL THEN last ELSE others ->> %(which)s END FROM carillon.tallied FOR UPDATE",
        {"which": which},
    ).fetchall()
    fresh = 1 + max((n for n, (_, tally) in enumerate(found) if tally.id == last), default=-1)
    added: defaultdict[tuple[str, int], defaultdict[str, float]] = defaultdict(lambda: defaultdict(int))
    for app, tally in found[fresh:]:
        of = added[app, tally.provider]
        for name, n in tally.named().items():
            of[name] += n
    add(db, "ledger", added)
    last = found[-1][1].id
    if which is None:
        db.execute("UPDATE carillon.tallied SET last = %s", (last,))
    else:
        db.execute(
            "UPDATE carillon.tallied SET others = others || jsonb_build_object(%s::text, %s::text)", (which, last)
        )


def read(db: Connection, app: str | None = None) -> list[Tallied]:
    """The counters of one app or of all, with those of their providers. No two sources have the same name."""
    rows = db.execute(
        "SELECT app, provider, totals FROM carillon.tallies WHERE %(app)s::text IS NULL OR app = %(app)s"
        " ORDER BY app, provider",
        {"app": app},
    ).fetchall()
    found: dict[tuple[str, int], dict[str, float]] = {}
    for name, provider, totals in rows:
        found.setdefault((name, provider), {}).update(totals)
    return [Tallied(*key, totals) for key, totals in found.items()]


def _sums(totals: dict[str, int | float], added: Mapping[str, int | float]) -> dict[str, int | float]:
    """`totals` with what is added, whose names there may be too many."""
    names = sum(not is_of_histogram(name) for name in totals)
    for name, n in added.items():
        known = name in totals or is_of_histogram(name)
        of = name if known or names < NAMES else OTHER
        names += not known
        totals[of] = round(totals.get(of, 0) + n, 6)
    return totals
