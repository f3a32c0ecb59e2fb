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


class DeadLetters(NamedTuple):
    """How many there are, counted up to 100,000; those of the last hour, up to 10,000, and of these the most frequent."""

    total: int
    late: int = 0
    app: str | None = None
    #: The beginning of the reason.
    reason: str | None = None


def dead_letters(db: Connection) -> DeadLetters:
    [(total,)] = db.execute(
        "SELECT count(*) FROM (SELECT FROM carillon.dead_letters LIMIT 100000) AS counted"
    ).fetchall()
    rows = db.execute(
        "SELECT app, left(error, 120), count(*) FROM (SELECT app, error, at FROM carillon.dead_letters"
        " ORDER BY id DESC LIMIT 10000) AS latest WHERE at > now() - interval '1 hour' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
    ).fetchall()
    return DeadLetters(total, sum(n for *_, n in rows), *rows[0][:2]) if rows else DeadLetters(total)
