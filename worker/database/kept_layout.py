"""The layout of the partitions that Postgres keeps, beside the one in Redis that is in force."""

import logging

import psycopg

from worker.database import postgres
from worker.database.postgres import Connection, Pool

log = logging.getLogger(__name__)


def read(db: Connection) -> bytes | None:
    """The document as it stood in Redis; None: nobody has kept any."""
    row = db.execute("SELECT document FROM carillon.layout").fetchone()
    return None if row is None else str(row[0]).encode()


def keep(db: Connection, document: bytes) -> None:
    db.execute(
        "INSERT INTO carillon.layout AS l (document) VALUES (%s) ON CONFLICT (one) DO UPDATE"
        " SET document = excluded.document, kept_at = now() WHERE l.document <> excluded.document",
        (document.decode(),),
    )


def try_read(pool: Pool) -> bytes | None:
    """As `read`; None too while Postgres is away, or has a schema without it."""
    try:
        with pool.connection() as db:
            return read(db)
    except (postgres.Unavailable, *postgres.Unready):
        return None


def try_read_at(url: str) -> bytes | None:
    """The same for whoever has no pool yet."""
    try:
        with postgres.connect(url, **postgres.CONNECT_ARGS | {"connect_timeout": 2}) as db:
            return read(db)
    except psycopg.Error:
        return None


def keep_at(url: str, document: bytes) -> None:
    """As `keep`, for whoever has no pool."""
    with postgres.connect(url, **postgres.CONNECT_ARGS, autocommit=True) as db:
        keep(db, document)


def try_keep(pool: Pool, document: bytes) -> None:
    """As `keep`, where Postgres takes it."""
    try:
        with pool.connection() as db:
            keep(db, document)
    except (postgres.Unavailable, *postgres.Unready):
        log.debug("the layout of the partitions is not kept in Postgres now")
