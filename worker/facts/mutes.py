"""Who has muted whom."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from producers import events
from worker.database import bulk
from worker.database.postgres import Connection
from worker.database.retention import Forget
from worker.facts.base import CandidateFact, Candidates, Origin, Sources
from worker.facts.standings import StandingWrite, Table

_TABLE: Final = Table("mutes", "user_id", "target", "muted", "mute_past")


class Mutes(CandidateFact[StandingWrite]):
    """Of users who have muted the sender."""

    changed_by = (events.UserMuted, events.UserUnmuted)
    name = "muted"

    def rows(self, event: events.UserMuted | events.UserUnmuted, origin: Origin) -> Sequence[StandingWrite]:
        muted = isinstance(event, events.UserMuted)
        return [StandingWrite((event.app, event.user, event.target), origin.at, muted, origin.place)]

    def write(self, db: Connection, rows: Sequence[StandingWrite]) -> None:
        _TABLE.write(db, rows)

    def read(self, sources: Sources, asked: Sequence[Candidates]) -> Mapping[int, Collection[str]]:
        concerned = {n: one for n, one in enumerate(asked) if one.sender_muted}
        return _TABLE.so_of(sources.pool, concerned, lambda one, user: (one.event.app, user, one.event.sender.id))

    def forgets(self, days: int) -> Sequence[Forget]:
        return _TABLE.forgets(days)


MUTES: Final = Mutes()


def reading_muted(users: Collection[tuple[str, str]], place: int) -> bulk.Reading[set[tuple[str, str]]]:
    """Those (app, user) whom anybody has muted at the place or behind it: most senders are muted by nobody."""
    rows = yield bulk.Query(
        "SELECT k.app, k.target FROM unnest(%b::text[], %b::text[]) AS k (app, target)"
        " WHERE EXISTS (SELECT FROM carillon.mutes m WHERE m.app = k.app AND m.target = k.target AND m.muted)"
        " OR EXISTS (SELECT FROM carillon.mute_past p WHERE p.app = k.app AND p.target = k.target AND p.until > %s)",
        users,
        (place,),
    )
    return {(app, user) for app, user in rows}
