"""Which of the facts that few apps have an app has any rows of. What it has none of is not read."""

from collections.abc import Collection, Mapping
from typing import Final, Literal

from worker.database import bulk
from worker.database.postgres import Pool

Used = Literal["changes", "preferences", "quiet"]

#: The table in which a fact's rows are. Each begins with the app in an index.
_TABLES: Final[Mapping[Used, str]] = {"changes": "message_changes", "preferences": "preferences", "quiet": "quiet"}


def of_app(pool: Pool, app: str) -> frozenset[Used]:
    """The facts that one app has rows of."""
    return read(pool, [app]).get(app, frozenset())


def read(pool: Pool, apps: Collection[str]) -> dict[str, frozenset[Used]]:
    """The facts that each of the apps has rows of, in one query; an app without any is missing."""
    return bulk.found(pool, reading(apps))


def reading(apps: Collection[str]) -> bulk.Reading[dict[str, frozenset[Used]]]:
    """`read`, beside others."""
    # One step in an index, whatever the planner thinks of how many rows an app has.
    first = "(SELECT t.app FROM carillon.{} t WHERE t.app >= k.app ORDER BY t.app LIMIT 1)"
    has = ", ".join(f"coalesce({first.format(table)} = k.app, false)" for table in _TABLES.values())
    rows = yield bulk.Query(f"SELECT k.app, {has} FROM unnest(%b::text[]) AS k (app)", [(app,) for app in apps])
    return {
        app: frozenset(name for name, there in zip(_TABLES, found, strict=True) if there)
        for app, *found in rows
        if any(found)
    }
