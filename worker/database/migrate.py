"""Brings the schema `carillon` up to date: applies numbered SQL files, each once, all in one transaction."""

from importlib.resources import files
from typing import Any

import psycopg

from worker.core.errors import UnfitError
from worker.database import dashboard_role, locks
from worker.database.postgres import CONNECT_ARGS, connect, unfit


def migrate(postgres_url: str) -> list[str]:
    """Applies missing versions and returns them, oldest first; none if the schema is up to date. Raises `UnfitError`."""
    scripts = _scripts()
    with connect(postgres_url, **CONNECT_ARGS) as db:
        if (fault := unfit(db)) is not None:
            raise UnfitError(fault)
        _set_up(db)
        locks.acquire(db, locks.MIGRATE)
        # `CREATE SCHEMA IF NOT EXISTS` needs the right to create schemas even if this one exists.
        owner = db.execute("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'carillon'").fetchone()
        _refuse_without_rights(db, None if owner is None else str(owner[0]))
        if owner is None:
            db.execute("CREATE SCHEMA carillon")
        db.execute(
            "CREATE TABLE IF NOT EXISTS carillon.migrations "
            "(version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = {version for (version,) in db.execute("SELECT version FROM carillon.migrations")}
        applied = [version for version in scripts if version not in done]
        for version in applied:
            db.execute(scripts[version].encode())
            db.execute("INSERT INTO carillon.migrations (version) VALUES (%s)", (version,))
        dashboard_role.grant(db)
    return applied


def _scripts() -> dict[str, str]:
    """Every version with its statements, oldest first."""
    found = (path for path in files("worker.database.migrations").iterdir() if path.name.endswith(".sql"))
    return {path.name.removesuffix(".sql"): path.read_text() for path in sorted(found, key=lambda path: path.name)}


def _set_up(db: psycopg.Connection[Any]) -> None:
    """Settings of this transaction, whatever the role has: the formats that the scripts use, and no limit on their time.

    The role's `lock_timeout` stays, because other sessions wait behind one that waits for a lock. Servers before 17 have no
    `transaction_timeout`.
    """
    db.execute(
        "SELECT set_config(name, value, true) FROM pg_settings JOIN (VALUES ('DateStyle', 'ISO, YMD'), ('TimeZone', 'UTC'),"
        " ('standard_conforming_strings', 'on'), ('statement_timeout', '0'), ('transaction_timeout', '0'),"
        " ('idle_in_transaction_session_timeout', '0')) AS ours (name, value) USING (name)"
    )


def _refuse_without_rights(db: psycopg.Connection[Any], owner: str | None) -> None:
    """Raises `UnfitError`, with the statement to run, for a role that cannot make the schema or its tables.

    `owner`: the role that owns the schema; None: there is no schema yet.
    """
    kind, name = ("DATABASE", db.info.dbname) if owner is None else ("SCHEMA", "carillon")
    check = (
        f"SELECT has_{kind.lower()}_privilege(%(name)s, 'CREATE'), quote_ident(current_user), quote_ident(%(name)s),"
        " EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('carillon'))"
    )
    may, role, quoted, made = db.execute(check.encode(), {"name": name}).fetchone() or (True, "", "", False)
    if may:
        return
    refusal = f"role {role} may not create anything in {kind.lower()} {quoted}"
    if made:  # the right to create tables would not allow it to alter the existing ones
        raise UnfitError(f"{refusal}: run carillon migrate as {owner}, the schema's owner")
    if owner is None:
        remedy = f"run CREATE SCHEMA carillon AUTHORIZATION {role}, or: GRANT CREATE ON DATABASE {quoted} TO {role}"
    else:
        remedy = f"run ALTER SCHEMA carillon OWNER TO {role}, or: GRANT USAGE, CREATE ON SCHEMA carillon TO {role}"
    raise UnfitError(f"{refusal}: let its owner {remedy}")


def pending(postgres_url: str, *, timeout: int = 5) -> list[str]:
    """The versions not yet applied, without applying them. `timeout`: seconds to connect."""
    with connect(postgres_url, **CONNECT_ARGS | {"connect_timeout": timeout}) as db:
        return missing(db)


def missing(db: psycopg.Connection[Any]) -> list[str]:
    """The same, over a connection that there is."""
    known = list(_scripts())
    row = db.execute("SELECT to_regclass('carillon.migrations')").fetchone()
    if row is None or row[0] is None:
        return known
    done = {version for (version,) in db.execute("SELECT version FROM carillon.migrations")}
    return [version for version in known if version not in done]
