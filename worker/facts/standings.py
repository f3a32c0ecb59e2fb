"""The tables of facts that are true or false: of a user in a channel, of a user and another user.

A row has the place since which it is true. Earlier values are in a second table for a day, so that most reads need no join.
Only the leader writes both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.places import Interval, Standing, changed, held
from worker.database import bulk
from worker.database.bulk import read_time, stored_time
from worker.database.postgres import Connection, Pool
from worker.database.retention import DAY, Forget, older
from worker.facts.base import Candidates

#: app, and the two columns that a table names.
Ids = tuple[str, str, str]
#: Days for which values from before a change are kept.
PAST_DAYS: Final = 1


class StandingWrite(NamedTuple):
    """`at`: microseconds, the write's own time."""

    key: Ids
    at: int
    on: bool
    place: int


class Table(NamedTuple):
    """A table with the columns app, `second`, `third`, at, `flag`, since, changed_on; its past with since, until, ended_at."""

    name: str
    second: str
    third: str
    flag: str
    past: str

    def write(self, db: Connection, writes: Sequence[StandingWrite]) -> None:
        """Reads the rows, decides, and writes those that are other than before."""
        if not writes:
            return
        table, second, third, flag, past = self
        keys = sorted({write.key for write in writes})
        rows = db.execute(
            f"SELECT r.app, r.{second}, r.{third}, r.at, r.{flag}, r.since FROM unnest(%b::text[], %b::text[], %b::text[])"
            f" AS k (app, {second}, {third}) JOIN carillon.{table} r USING (app, {second}, {third})".encode(),
            bulk.columns(keys),
        )
        known = {(app, two, three): Standing(read_time(at), on, since) for app, two, three, at, on, since in rows}
        now, ended = changed(known, writes)
        bulk.write(
            db,
            f"INSERT INTO carillon.{past} (app, {second}, {third}, since, until)"
            " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[]) ON CONFLICT DO NOTHING",
            [(*key, since, until) for key, since, until in ended if since < until],
        )
        bulk.write(
            db,
            f"INSERT INTO carillon.{table} (app, {second}, {third}, at, {flag}, since)"
            " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::boolean[], %b::bigint[])"
            f" ON CONFLICT (app, {second}, {third}) DO UPDATE SET at = excluded.at, {flag} = excluded.{flag},"
            " since = excluded.since, changed_on = excluded.changed_on",
            [(*key, stored_time(now[key].at), *now[key][1:]) for key in keys if key in now],
        )

    def intervals(self, db: Connection, keys: Mapping[Ids, int]) -> dict[Ids, list[Interval]]:
        """When it is true for each of the keys, from the key's place on. Absent: never."""
        if not keys:
            return {}
        table, second, third, flag, past = self
        found: dict[Ids, list[Interval]] = {}
        # Only a row that changed behind the place has a past there.
        rows = db.execute(
            f"WITH r AS MATERIALIZED (SELECT k.place, r.* FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[])"
            f" AS k (app, {second}, {third}, place) JOIN carillon.{table} r USING (app, {second}, {third}))"
            f" SELECT app, {second}, {third}, since, NULL FROM r WHERE {flag}"
            f" UNION ALL SELECT app, {second}, {third}, x.since, x.until FROM r"
            f" JOIN carillon.{past} x USING (app, {second}, {third}) WHERE r.since > r.place AND x.until > r.place".encode(),
            bulk.columns([(*key, place) for key, place in keys.items()]),
            prepare=True,
        )
        for app, two, three, since, until in rows:
            found.setdefault((app, two, three), []).append((since, until))
        return found

    def so_of(
        self, pool: Pool, asked: Mapping[int, Candidates], key: Callable[[Candidates, str], Ids]
    ) -> dict[int, set[str]]:
        """The users for whom it is true at the place of their message, by the message's index. `key` names a user's row."""
        keys = {n: {user: key(one, user) for user in one.users} for n, one in asked.items()}
        first = min((one.place for one in asked.values()), default=0)
        places = {key: first for of_users in keys.values() for key in of_users.values()}
        if not places:
            return {}
        with pool.connection() as db:
            found = self.intervals(db, places)
        if not found:
            return {}
        return {
            n: {user for user, key in of_users.items() if held(found.get(key, ()), asked[n].place)}
            for n, of_users in keys.items()
        }

    def forgets(self, days: int) -> list[Forget]:
        """Ended rows are deleted after `days`, values from before a change after a day."""
        return [older(self.name, "changed_on", days, before=DAY, where=f"NOT {self.flag}"), self.forgets_past()]

    def forgets_past(self) -> Forget:
        return older(self.past, "ended_at", PAST_DAYS)
