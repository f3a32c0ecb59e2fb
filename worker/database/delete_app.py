"""Deletes what Postgres has of an app, in steps of a bounded number of rows: a call that ended in the middle is gone on with."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final

from worker.core.forgetting import app_of
from worker.database import locks
from worker.database.postgres import Connection, Pool, transaction

#: Rows of one step.
_BITE: Final = 5_000

#: Tables with a column `app`: their rows go.
OF_APP: Final = (
    *("members", "member_past", "mutes", "mute_past", "channels", "channel_past", "preferences", "quiet", "threads"),
    *("thread_participants", "messages", "message_changes", "tallies", "sampled", "named_apps", "history"),
    *("registration_buckets", "incidents", "dead_letters"),
)
#: Tables of which other statements here delete the rows.
OTHERS: Final = (
    "devices",
    "device_use",
    "device_history",
    "ledger",
    "cursors",
    "outbox",
    "apps",
    "providers",
    "templates",
)
#: Tables that keep the app's name, and why.
REMAINS: Final[Mapping[str, str]] = {
    "registry_changes": "running workers find there that the app is gone",
    "audit": "what people did stays for a year",
}
#: Tables of no app.
NO_APP: Final = frozenset({"fleet", "intake", "layout", "lease", "lineages", "migrations", "places", "tallied"})

#: Called with the app and the numbers of devices that are deleted, before that is committed.
Deleted = Callable[[Sequence[int]], object]


def delete_settings(db: Connection, app: str) -> list[int]:
    """Deletes the app, its providers and templates, in the caller's transaction. Returns the numbers of its providers."""
    db.execute(
        "DELETE FROM carillon.templates WHERE provider_id IN (SELECT id FROM carillon.providers WHERE app = %s)", (app,)
    )
    providers = db.execute("DELETE FROM carillon.providers WHERE app = %s RETURNING id", (app,)).fetchall()
    db.execute("DELETE FROM carillon.apps WHERE name = %s", (app,))
    return [id for (id,) in providers]


def providers_before(db: Connection, app: str) -> set[int]:
    """Numbers of the providers that it had, where its settings were deleted before: the audit log has them."""
    rows = db.execute("SELECT detail -> 'providers' FROM carillon.audit WHERE act = 'app deleted' AND app = %s", (app,))
    return {id for (of,) in rows.fetchall() for id in of or () if isinstance(id, int)}


def is_there(db: Connection, app: str) -> bool:
    """Whether anything of an app is left, whose settings may be gone already."""
    tables = (*OF_APP, "devices", "ledger", "apps")
    some = " UNION ALL ".join(
        f"SELECT 1 WHERE EXISTS (SELECT FROM carillon.{table} WHERE {'name' if table == 'apps' else 'app'} = %(app)s)"
        for table in tables
    )
    return db.execute(some.encode(), {"app": app}).fetchone() is not None


def had_messages(db: Connection, app: str, minutes: int) -> bool:
    """Whether a message of the app was recorded in the last minutes."""
    [(there,)] = db.execute(
        "SELECT EXISTS (SELECT FROM carillon.messages WHERE app = %s AND seen_at > now() - make_interval(mins => %s))",
        (app, minutes),
    ).fetchall()
    return bool(there)


def delete(pool: Pool, app: str, stream: str, deleted: Deleted = len) -> dict[str, int]:
    """Deletes everything but the settings; how many rows of which table. `stream`: the app's own."""
    found: dict[str, int] = {}
    for table, n in _steps(pool, app, stream, deleted):
        found[table] = found.get(table, 0) + n
    return {table: n for table, n in found.items() if n}


def _steps(pool: Pool, app: str, stream: str, deleted: Deleted) -> Generator[tuple[str, int]]:
    yield from _devices(pool, app, deleted)
    for table in OF_APP:
        # The index of dead letters by app is one of this expression.
        column = "coalesce(app, '')" if table == "dead_letters" else "app"
        yield from _in_steps(
            pool,
            table,
            f"DELETE FROM carillon.{table} WHERE ctid = ANY(ARRAY("
            f"SELECT ctid FROM carillon.{table} WHERE {column} = %(app)s LIMIT %(bite)s))",
            app,
        )
    yield from _in_steps(
        pool,
        "ledger",
        "DELETE FROM carillon.ledger WHERE app = %(app)s AND (event_id, part, day) IN ("
        "SELECT event_id, part, day FROM carillon.ledger WHERE app = %(app)s LIMIT %(bite)s)",
        app,
    )
    with transaction(pool) as db:
        yield "cursors", db.execute("DELETE FROM carillon.cursors WHERE stream = %s", (stream,)).rowcount
        # What was moved, or failed: the rest is on its way.
        rows = db.execute(
            "SELECT id, event FROM carillon.outbox WHERE (moved_at IS NOT NULL OR failed_at IS NOT NULL)"
            " AND strpos(event, %s) > 0",
            (app,),
        ).fetchall()
        ids = [id for id, event in rows if app_of(event.encode()) == app]
        yield "outbox", db.execute("DELETE FROM carillon.outbox WHERE id = ANY(%s)", (ids,)).rowcount


def _in_steps(pool: Pool, table: str, statement: str, app: str) -> Iterator[tuple[str, int]]:
    while True:
        with transaction(pool) as db:
            n = db.execute(statement.encode(), {"app": app, "bite": _BITE}).rowcount
        yield table, n
        if n < _BITE:
            return


def _devices(pool: Pool, app: str, deleted: Deleted) -> Iterator[tuple[str, int]]:
    """With their histories, which name no app."""
    while True:
        with transaction(pool) as db:
            locks.acquire(db, locks.DEVICES)
            ids: list[Any] = [
                id
                for (id,) in db.execute(
                    "DELETE FROM carillon.devices WHERE ctid = ANY(ARRAY("
                    "SELECT ctid FROM carillon.devices WHERE app = %s LIMIT %s)) RETURNING id",
                    (app, _BITE),
                ).fetchall()
            ]
            yield "devices", len(ids)
            if not ids:
                return
            yield "device_use", db.execute("DELETE FROM carillon.device_use WHERE device = ANY(%s)", (ids,)).rowcount
            yield (
                "device_history",
                db.execute("DELETE FROM carillon.device_history WHERE device = ANY(%s)", (ids,)).rowcount,
            )
            deleted(ids)
