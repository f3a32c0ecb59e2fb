"""Deletes what Postgres has of one user, table by table.

Few tables have an index by user, because the pipeline asks for none. So most are walked by their pages, in steps: each is a
transaction of its own and reads a bounded number of them. A step that is done again changes nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from psycopg.types.json import Jsonb

from worker.core.forgetting import FORGOTTEN, app_of, is_of, names, spellings, without
from worker.database import locks
from worker.database.postgres import Connection, Pool

#: Pages that one step reads of a table, and of each day of a table that has one a day.
_PAGES: Final = 10_000
_PAGES_OF_DAY: Final = 250
#: Dead letters that one step looks at.
_LETTERS: Final = 200

#: Tables that name no user. A test fails for a table that is neither here nor in `TABLES`.
NOBODY: Final = frozenset(
    {
        *("channel_past", "channels", "cursors", "fleet", "history", "incidents", "intake", "lease", "migrations"),
        *(
            "layout",
            "lineages",
            "named_apps",
            "places",
            "providers",
            "registration_buckets",
            "registry_changes",
            "sampled",
            "tallied",
            "tallies",
        ),
        *("templates", "threads"),
    }
)


class Of(NamedTuple):
    """Whom to forget. A `dry` run changes nothing."""

    app: str
    user: str
    dry: bool = False


#: Called with the numbers of devices that are deleted, before that is committed.
Deleted = Callable[[Sequence[int]], object]
_THEIRS: Final = "app = %(app)s AND user_id = %(user)s"
_PARTICIPANTS: Final = (
    f"WITH gone AS (DELETE FROM carillon.thread_participants t WHERE {{pages}} AND {_THEIRS} RETURNING channel, thread),"
    " fewer AS (UPDATE carillon.threads h SET people = people - 1 FROM gone"
    " WHERE h.app = %(app)s AND h.channel = gone.channel AND h.id = gone.thread) SELECT FROM gone"
)
_MESSAGES: Final = (
    "UPDATE carillon.messages t SET sender = CASE sender WHEN %(user)s THEN %(put)s ELSE sender END,"
    " mentioned = array_remove(mentioned, %(user)s)"
    " WHERE {pages} AND app = %(app)s AND (sender = %(user)s OR %(user)s = ANY(mentioned))"
)
_ONLY_TO: Final = (
    "UPDATE carillon.apps SET only_to = array_remove(only_to, %(user)s)"
    " WHERE name = %(app)s AND %(user)s = ANY(only_to)"
)
#: What is deleted or changed by one statement: table -> what the rows are, and the statement. `{pages}` stands for the pages of a
#: step; without it the statement finds the rows by an index.
_STATEMENTS: Final[Mapping[str, tuple[str, str]]] = {
    "members": ("memberships", f"DELETE FROM carillon.members t WHERE {{pages}} AND {_THEIRS}"),
    "member_past": ("memberships", f"DELETE FROM carillon.member_past t WHERE {{pages}} AND {_THEIRS}"),
    "mutes": (
        "mutes",
        "DELETE FROM carillon.mutes t WHERE {pages} AND app = %(app)s AND %(user)s IN (user_id, target)",
    ),
    "mute_past": (
        "mutes",
        "DELETE FROM carillon.mute_past t WHERE {pages} AND app = %(app)s AND %(user)s IN (user_id, target)",
    ),
    "preferences": ("preferences", f"DELETE FROM carillon.preferences WHERE {_THEIRS}"),
    "quiet": ("quiet time", f"DELETE FROM carillon.quiet WHERE {_THEIRS}"),
    "thread_participants": ("threads", _PARTICIPANTS),
    "messages": ("messages", _MESSAGES),
    "apps": ("restrictions to users", _ONLY_TO),
}


def forget(pool: Pool, of: Of, deleted: Deleted = len) -> dict[str, int]:
    """Deletes the user; how many rows of what those were. A dry run counts them, and tells of no device."""
    found: dict[str, int] = {}
    for what, n in _steps(pool, of, deleted):
        found[what] = found.get(what, 0) + n
    return {what: n for what, n in found.items() if n}


def _steps(pool: Pool, of: Of, deleted: Deleted) -> Iterator[tuple[str, int]]:
    for step in TABLES.values():
        yield from step(pool, of, deleted)


def _statement(table: str) -> "_Step":
    what, statement = _STATEMENTS[table]

    def run(pool: Pool, of: Of, _: Deleted) -> Iterator[tuple[str, int]]:
        for db, pages in _walk(pool, of, table) if "{pages}" in statement else _once(pool, of):
            done = db.execute(statement.format(pages=pages).encode(), _values(of))
            yield what, done.rowcount

    return run


def _devices(pool: Pool, of: Of, deleted: Deleted) -> Iterator[tuple[str, int]]:
    """With their histories, so that no number is left over of which nobody knows whose it was."""
    for db, pages in _walk(pool, of, "devices"):
        locks.acquire(db, locks.DEVICES)
        gone = db.execute(
            f"DELETE FROM carillon.devices t WHERE {pages} AND {_THEIRS} RETURNING id".encode(), _values(of)
        )
        ids = [id for (id,) in gone.fetchall()]
        if ids:
            db.execute("DELETE FROM carillon.device_use WHERE device = ANY(%s)", (ids,))
            lines = db.execute("DELETE FROM carillon.device_history WHERE device = ANY(%s)", (ids,)).rowcount
            if not of.dry:
                deleted(ids)
            yield "devices", len(ids)
            yield "history of devices", lines
        late = db.execute(
            # What a late registration has to know of whoever else has the device since.
            "UPDATE carillon.devices t SET tombstones = nullif(tombstones - %(user)s, '{}')"
            f" WHERE {pages} AND app = %(app)s AND tombstones ? %(user)s".encode(),
            _values(of),
        )
        yield "devices that they had before", late.rowcount


def _history(pool: Pool, of: Of, _: Deleted) -> Iterator[tuple[str, int]]:
    """Of devices that another user has now, or that were deleted: then nobody knows of which app they were."""
    for db, pages in _walk(pool, of, "device_history"):
        done = db.execute(
            f"UPDATE carillon.device_history t SET user_id = NULL WHERE {pages} AND user_id = %(user)s"
            " AND NOT EXISTS (SELECT FROM carillon.devices d WHERE d.id = t.device"
            " AND (d.app <> %(app)s OR d.user_id = %(user)s))".encode(),
            _values(of),
        )
        yield "history of devices", done.rowcount


def _ledger(pool: Pool, of: Of, _: Deleted) -> Iterator[tuple[str, int]]:
    for db, pages in _walk(pool, of, "ledger"):
        rows = db.execute(
            f"SELECT app, event_id, part, day, account FROM carillon.ledger t WHERE {pages} AND app = %(app)s"
            " AND (strpos(account::text, %(spelled)s) > 0 OR event_id LIKE ANY(%(own)s))".encode(),
            _values(of) | {"own": [f"{kind}:{_like(of.user)}:%" for kind in ("digest", "reminder", "badge")]},
        ).fetchall()
        own = [row[:4] for row in rows if is_of(row[1], of.user)]
        others = [(*row[:4], row[4], without(row[4], of.user)) for row in rows if not is_of(row[1], of.user)]
        changed = [(Jsonb(new), *key) for *key, old, new in others if new != old]
        where = "WHERE app = %s AND event_id = %s AND part = %s AND day = %s"
        with db.cursor() as cursor:
            cursor.executemany(f"DELETE FROM carillon.ledger {where}".encode(), own)
            cursor.executemany(f"UPDATE carillon.ledger SET account = %s {where}".encode(), changed)
        yield "ledger entries", len(own) + len(changed)


def _changes(pool: Pool, of: Of, _: Deleted) -> Iterator[tuple[str, int]]:
    """Edits that name them. That a message was deleted stays."""
    for db, pages in _walk(pool, of, "message_changes"):
        rows = db.execute(
            f"SELECT channel, message_id, document FROM carillon.message_changes t WHERE {pages} AND app = %(app)s"
            " AND (named ? %(user)s OR strpos(document, %(spelled)s) > 0 OR strpos(document, %(escaped)s) > 0)".encode(),
            _values(of),
        ).fetchall()
        gone = [row[:2] for row in rows if row[2] is not None and names(row[2].encode(), of.user)]
        where = "WHERE app = %s AND channel = %s AND message_id = %s"
        with db.cursor() as cursor:
            cursor.executemany(
                f"DELETE FROM carillon.message_changes {where}".encode(), [(of.app, *key) for key in gone]
            )
            cursor.executemany(
                f"UPDATE carillon.message_changes SET named = named - %s {where}".encode(),
                [(of.user, of.app, *row[:2]) for row in rows],
            )
        yield "edits", len(rows)


def _letters(pool: Pool, of: Of, _: Deleted) -> Iterator[tuple[str, int]]:
    """Also of documents of which no app could be read."""
    after = 0
    while True:
        with pool.connection() as db, db.transaction(force_rollback=of.dry):
            rows = db.execute(
                "SELECT id FROM carillon.dead_letters WHERE coalesce(app, '') = ANY(%s) AND id > %s ORDER BY id LIMIT %s",
                (["", of.app], after, _LETTERS),
            ).fetchall()
            if not rows:
                return
            ids = [id for (id,) in rows]
            after = ids[-1]
            found = db.execute(
                "SELECT id, document FROM carillon.dead_letters WHERE id = ANY(%(ids)s)"
                " AND (position(%(first)s::bytea IN document) > 0 OR position(%(last)s::bytea IN document) > 0)",
                {"ids": ids, "first": spellings(of.user)[0], "last": spellings(of.user)[-1]},
            ).fetchall()
            gone = [id for id, document in found if names(document, of.user)]
            db.execute("DELETE FROM carillon.dead_letters WHERE id = ANY(%s)", (gone,))
        yield "dead letters", len(gone)


def _outbox(pool: Pool, of: Of, _: Deleted) -> Iterator[tuple[str, int]]:
    """What was moved, or failed: the rest is on its way."""
    for db, _pages in _once(pool, of):
        rows = db.execute(
            "SELECT id, event FROM carillon.outbox WHERE (moved_at IS NOT NULL OR failed_at IS NOT NULL)"
            " AND (strpos(event, %(spelled)s) > 0 OR strpos(event, %(escaped)s) > 0)",
            _values(of),
        ).fetchall()
        gone = [id for id, event in rows if names(event.encode(), of.user) and app_of(event.encode()) in (None, of.app)]
        db.execute("DELETE FROM carillon.outbox WHERE id = ANY(%s)", (gone,))
        yield "outbox", len(gone)


def _audit(pool: Pool, of: Of, _: Deleted) -> Iterator[tuple[str, int]]:
    """That somebody did something stays."""
    for db, _pages in _once(pool, of):
        row = db.execute("SELECT carillon.forget_in_audit(%(app)s, %(user)s, %(put)s)", _values(of)).fetchone()
        yield "audit entries without their id", 0 if row is None else int(row[0])


_Step = Callable[[Pool, Of, Deleted], Iterator[tuple[str, int]]]
#: What is done about each table that names users, in this order: `audit` last, for it has what was done before.
TABLES: Final[Mapping[str, _Step]] = {
    "devices": _devices,
    "device_history": _history,
    **{table: _statement(table) for table in _STATEMENTS},
    "ledger": _ledger,
    "message_changes": _changes,
    "dead_letters": _letters,
    "outbox": _outbox,
    "audit": _audit,
}
#: Tables whose rows go with those of another one.
WITH: Final[Mapping[str, str]] = {"device_use": "devices"}


def _once(pool: Pool, of: Of) -> Iterator[tuple[Connection, str]]:
    with pool.connection() as db, db.transaction(force_rollback=of.dry):
        yield db, "true"


def _walk(pool: Pool, of: Of, table: str) -> Iterator[tuple[Connection, str]]:
    """A transaction for each step, and which pages of the table it is about, as a condition for the table as `t`."""
    with pool.connection() as db:
        [(pages, days)] = db.execute(
            "SELECT max(pg_relation_size(oid)) / current_setting('block_size')::int + 1, count(*) FROM pg_class"
            " WHERE oid = %(table)s::regclass OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = %(table)s::regclass)",
            {"table": f"carillon.{table}"},
        ).fetchall()
    size = _PAGES if days == 1 else _PAGES_OF_DAY
    for first in range(0, pages, size):
        with pool.connection() as db, db.transaction(force_rollback=of.dry):
            yield db, f"t.ctid >= '({first},0)'::tid AND t.ctid < '({first + size},0)'::tid"


def _values(of: Of) -> dict[str, Any]:
    spelled, escaped = json.dumps(of.user, ensure_ascii=False), json.dumps(of.user)
    return {"app": of.app, "user": of.user, "put": FORGOTTEN, "spelled": spelled, "escaped": escaped}


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
