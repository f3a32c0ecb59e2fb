"""Who is set up, without any setting of theirs."""

from typing import NamedTuple

from worker.database.postgres import Connection


class ProviderRow(NamedTuple):
    id: int
    app: str
    name: str
    #: The form of its settings, by which `worker/providers/kinds.py` knows its kind.
    form: str
    removed: bool


def providers(db: Connection) -> list[ProviderRow]:
    """All, also those that were removed."""
    rows = db.execute(
        "SELECT id, app, name, kind, removed_at IS NOT NULL FROM carillon.providers ORDER BY id"
    ).fetchall()
    return [ProviderRow(*row) for row in rows]


def apps(db: Connection) -> int:
    """How many there are."""
    [(found,)] = db.execute("SELECT count(*) FROM carillon.apps").fetchall()
    return int(found)


def dead_letters(db: Connection) -> tuple[int, int]:
    """Dead letters, counted up to 100,000, and those of the last hour, up to 10,000."""
    [(total, late)] = db.execute(
        "SELECT (SELECT count(*) FROM (SELECT FROM carillon.dead_letters LIMIT 100000) AS counted),"
        " (SELECT count(*) FROM (SELECT at FROM carillon.dead_letters ORDER BY id DESC LIMIT 10000) AS latest"
        " WHERE at > now() - interval '1 hour')"
    ).fetchall()
    return int(total), int(late)
