"""Brings the schema `carillon` up to date: numbered SQL files, each applied once, in one transaction together."""

from importlib.resources import files

import psycopg

#: Advisory lock: two commands that migrate at once do it one after the other.
_LOCK = 0x6361_7269


def migrate(postgres_url: str) -> list[str]:
    """The versions applied now, oldest first; empty when the schema is up to date."""
    scripts = sorted(
        (path.name.removesuffix(".sql"), path.read_text())
        for path in files("worker.stores.migrations").iterdir()
        if path.name.endswith(".sql")
    )
    with psycopg.connect(postgres_url) as db:
        db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        # `CREATE SCHEMA IF NOT EXISTS` asks for the right to create one even where it is there.
        if db.execute("SELECT to_regnamespace('carillon')").fetchone() == (None,):
            db.execute("CREATE SCHEMA carillon")
        db.execute(
            "CREATE TABLE IF NOT EXISTS carillon.migrations "
            "(version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {version for (version,) in db.execute("SELECT version FROM carillon.migrations")}
        applied = [version for version, _ in scripts if version not in done]
        for version, script in scripts:
            if version in applied:
                db.execute(script.encode())
                db.execute("INSERT INTO carillon.migrations (version) VALUES (%s)", (version,))
    return applied


def pending(postgres_url: str) -> list[str]:
    """The versions not yet applied, without applying them."""
    known = sorted(
        path.name.removesuffix(".sql")
        for path in files("worker.stores.migrations").iterdir()
        if path.name.endswith(".sql")
    )
    with psycopg.connect(postgres_url) as db:
        row = db.execute("SELECT to_regclass('carillon.migrations')").fetchone()
        if row is None or row[0] is None:
            return known
        done = {version for (version,) in db.execute("SELECT version FROM carillon.migrations")}
    return [version for version in known if version not in done]
