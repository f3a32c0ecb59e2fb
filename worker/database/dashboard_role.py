"""The rights of the dashboard's role: to read what its pages show, and to add to the audit log.

Tables grow with migrations, and a default privilege cannot name columns, so each `carillon migrate` grants them anew.
"""

from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

ROLE: Final = "carillon_dashboard"
#: The columns that it reads of each table; none named: all of them. What is not here it cannot read: a token, an endpoint or a
#: secret of a device, a credential or a password of a provider, a document.
_READS: Final[Mapping[str, tuple[str, ...]]] = {
    "apps": (),
    "audit": (),
    "channels": (),
    "cursors": (),
    "dead_letters": ("id", "entry", "at", "app", "event_id", "error", "size"),
    "device_history": (),
    "device_use": (),
    "devices": (
        *("id", "app", "user_id", "provider_id", "platform", "locale", "app_version", "registered_at", "seen"),
        *("active", "retired_reason", "retired_at", "purpose", "installation"),
    ),
    "fleet": (),
    "history": (),
    "incidents": (),
    "intake": (),
    "lease": (),
    "ledger": (),
    "members": (),
    "messages": (),
    "migrations": (),
    "mutes": (),
    "named_apps": (),
    "outbox": ("id", "created_at", "moved_at", "failed_at", "error"),
    "preferences": (),
    "providers": (
        *(
            "id",
            "app",
            "name",
            "environment",
            "kind",
            "settings",
            "topic",
            "team_id",
            "key_id",
            "host",
            "port",
            "ca",
            "url",
        ),
        *("signing", "created_at", "removed_at"),
    ),
    "sampled": (),
    "tallies": (),
    "templates": (),
}


def grant(db: psycopg.Connection[Any], role: str = ROLE) -> None:
    """Gives the role these rights and takes all others that it has in the schema; nothing where there is no such role."""
    if db.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
        return
    to = sql.Identifier(role)
    db.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA carillon FROM {}").format(to))
    db.execute(sql.SQL("GRANT USAGE ON SCHEMA carillon TO {}").format(to))
    for table, columns in _READS.items():
        named = sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Identifier, columns))) if columns else sql.SQL("")
        db.execute(
            sql.SQL("GRANT SELECT {} ON {} TO {}").format(named, sql.Identifier("carillon", table), to),
        )
    db.execute(sql.SQL("GRANT INSERT ON carillon.audit TO {}").format(to))
