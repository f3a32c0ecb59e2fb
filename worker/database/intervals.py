"""Reads between which places of the stream somebody was a member, or had muted somebody."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.core.places import Interval
from worker.database.postgres import Connection

#: app, channel, user; or app, user, target
Ids = tuple[str, str, str]


class Table(NamedTuple):
    """A table whose rows say that something is so, or is so no more."""

    name: str
    second: str
    third: str
    flag: str
    #: The table of what was so before a row's last change.
    past: str


MEMBERS: Final = Table("members", "channel", "user_id", "present", "member_past")
MUTES: Final = Table("mutes", "user_id", "target", "muted", "mute_past")


def memberships(db: Connection, keys: Mapping[Ids, int]) -> dict[Ids, list[Interval]]:
    """When each (app, channel, user) of the keys is a member, and was behind the place that stands for it. Absent: never."""
    return _intervals(db, MEMBERS, keys)


def mutings(db: Connection, keys: Mapping[Ids, int]) -> dict[Ids, list[Interval]]:
    """The same of mutes: (app, user, target)."""
    return _intervals(db, MUTES, keys)


def _intervals(db: Connection, names: Table, keys: Mapping[Ids, int]) -> dict[Ids, list[Interval]]:
    if not keys:
        return {}
    table, second, third, flag, past = names
    found: dict[Ids, list[Interval]] = {}
    # Only a row that changed behind the place has a past there.
    rows = db.execute(
        f"WITH r AS MATERIALIZED (SELECT k.place, r.* FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[])"
        f" AS k (app, {second}, {third}, place) JOIN carillon.{table} r USING (app, {second}, {third}))"
        f" SELECT app, {second}, {third}, since, NULL FROM r WHERE {flag}"
        f" UNION ALL SELECT app, {second}, {third}, x.since, x.until FROM r"
        f" JOIN carillon.{past} x USING (app, {second}, {third}) WHERE r.since > r.place AND x.until > r.place".encode(),
        [list(column) for column in zip(*((*key, place) for key, place in keys.items()), strict=True)],
        prepare=True,
    )
    for app, two, three, since, until in rows:
        found.setdefault((app, two, three), []).append((since, until))
    return found
