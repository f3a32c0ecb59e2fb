"""What needed somebody, and when: a row for each condition that began. The watch writes them; pages and commands read them."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from worker.database.postgres import Connection, Pool
from worker.database.retention import in_bites, older

#: Days for which an incident is kept after its end, and how many are kept at most.
DAYS: Final = 35
MOST: Final = 100_000
#: The worst first.
_SEVERITIES: Final = ("critical", "warning", "notice")
_COLUMNS: Final = "name, app, provider, origin, place, severity, what, began, ended, waited, lost, ended_by"

#: Name, app, provider, origin, place; '' for none.
Key = tuple[str, str, str, str, str]


class Incident(NamedTuple):
    """`app`, `provider`, `origin` and `place` are '' where it is about none. `ended` None: it lasts."""

    name: str
    app: str
    provider: str
    origin: str
    place: str
    #: The worst that it was.
    severity: str
    what: str
    began: datetime
    ended: datetime | None = None
    #: The most notifications that waited for it at once, and those that were too old meanwhile; None: not known.
    waited: int = 0
    lost: int | None = None
    #: Who ended it, as user@host.
    ended_by: str | None = None

    @property
    def key(self) -> Key:
        return self.name, self.app, self.provider, self.origin, self.place


class _Row(NamedTuple):
    id: int
    severity: str
    waited: int


def reconcile(db: Connection, lasting: Iterable[Incident], ended: Mapping[Key, datetime]) -> None:
    """Makes the rows agree with the conditions that last now. `ended`: when others were seen last, if that is known.

    What could not be written at its time, because Postgres was away, is written by the next call.
    """
    rows = db.execute(
        "SELECT name, app, provider, origin, place, id, severity, waited FROM carillon.incidents WHERE ended IS NULL"
    ).fetchall()
    known: dict[Key, _Row] = {(a, b, c, d, e): _Row(*row) for a, b, c, d, e, *row in rows}
    now = {one.key: one for one in lasting}
    for key, row in known.items():
        if key not in now:
            db.execute(_END, {"id": row.id, "ended": ended.get(key)})
    for key, one in now.items():
        before = known.get(key)
        if before is None:
            db.execute(_BEGIN, one._asdict())
        elif _worse(one.severity, before.severity) != before.severity or one.waited > before.waited:
            severity, waited = _worse(one.severity, before.severity), max(one.waited, before.waited)
            db.execute(
                "UPDATE carillon.incidents SET severity = %s, waited = %s WHERE id = %s", (severity, waited, before.id)
            )


def read(db: Connection, *, since: datetime, app: str | None = None, limit: int = 200) -> list[Incident]:
    """Those that lasted at or after `since`, of one app or of all: those that last first, then the latest end first."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM carillon.incidents WHERE (ended IS NULL OR ended >= %(since)s)"
        " AND (%(app)s::text IS NULL OR app = %(app)s)"
        " ORDER BY ended DESC NULLS FIRST, began DESC, id DESC LIMIT %(limit)s".encode(),
        {"since": since, "app": app, "limit": limit},
    ).fetchall()
    return [Incident(*row) for row in rows]


def of_provider(db: Connection, app: str, provider: str, *, since: datetime, limit: int = 50) -> list[Incident]:
    """A provider's, as `read`."""
    return [one for one in read(db, since=since, app=app, limit=1_000) if one.provider == provider][:limit]


def forget(pool: Pool, *, seconds: float) -> int:
    """Deletes the old ones, and the oldest beyond `MOST`; returns how many."""
    return in_bites(pool, [older("incidents", "ended", DAYS), _beyond], bite=1_000, seconds=seconds)


def _beyond(db: Connection, bite: int) -> int:
    return db.execute(
        "DELETE FROM carillon.incidents WHERE id IN (SELECT id FROM carillon.incidents"
        " WHERE id <= (SELECT max(id) FROM carillon.incidents) - %s AND ended IS NOT NULL ORDER BY id LIMIT %s)",
        (MOST, bite),
    ).rowcount


def _worse(one: str, other: str) -> str:
    return min(one, other, key=_SEVERITIES.index)


#: The notifications of a provider that were too old, since its counters began.
_EXPIRED: Final = (
    "(SELECT sum((t.totals ->> 'dropped.expired')::numeric)::bigint FROM carillon.tallies t JOIN carillon.providers p"
    " ON p.id = t.provider AND p.app = t.app WHERE t.app = {0}.app AND p.name = {0}.provider AND p.removed_at IS NULL)"
)
_BEGIN: Final = (
    "INSERT INTO carillon.incidents (name, app, provider, origin, place, severity, what, began, waited, expired)"
    f" SELECT name, app, provider, origin, place, severity, what, began, waited, {_EXPIRED.format('i')}"
    " FROM (VALUES (%(name)s, %(app)s, %(provider)s, %(origin)s, %(place)s, %(severity)s, %(what)s,"
    " %(began)s::timestamptz, %(waited)s::bigint))"
    " AS i (name, app, provider, origin, place, severity, what, began, waited) ON CONFLICT DO NOTHING"
).encode()
#: Who did by hand what may have ended it, in its last minute or since.
_ENDED_BY: Final = (
    "(SELECT a.who || '@' || a.host FROM carillon.audit a"
    " WHERE a.act IN ('provider resumed', 'provider stored', 'provider removed', 'app changed') AND i.app <> ''"
    " AND a.app = i.app AND (i.provider = '' OR a.target = i.provider)"
    " AND a.at >= greatest(i.began, coalesce(%(ended)s::timestamptz, now()) - interval '1 minute') ORDER BY a.id DESC LIMIT 1)"
)
_END: Final = (
    "UPDATE carillon.incidents i SET ended = greatest(coalesce(%(ended)s::timestamptz, now()), began),"
    f" lost = {_EXPIRED.format('i')} - coalesce(expired, 0), ended_by = {_ENDED_BY} WHERE id = %(id)s"
).encode()
