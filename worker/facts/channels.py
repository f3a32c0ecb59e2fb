"""A channel's name and switch, and since when it is known."""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from producers import events
from worker.core.places import Settings, set_anew
from worker.database import bulk
from worker.database.bulk import read_time, stored_time
from worker.database.postgres import Connection, Pool
from worker.database.retention import Forget, older
from worker.facts.base import Fact, Origin
from worker.facts.standings import PAST_DAYS

#: app, channel
ChannelKey = tuple[str, str]


class ChannelWrite(NamedTuple):
    """`None`: leave as it is."""

    app: str
    id: str
    name: str | None
    push: bool | None
    at: int
    place: int


class ChannelRow(NamedTuple):
    name: str | None
    push: bool


class Channel(NamedTuple):
    """A channel as it is, and as it was."""

    #: The place since which it is known.
    created: int
    now: ChannelRow
    #: Its values up to each of these places, in their order.
    past: Sequence[tuple[int, ChannelRow]] = ()

    def at(self, place: int) -> ChannelRow | None:
        """As it was at a place; None: not known there."""
        if self.created > place:
            return None
        if not self.past:
            return self.now
        return next((row for until, row in self.past if until > place), self.now)


class Channels(Fact[ChannelWrite]):
    """A channel is not deleted by age, but with its last member."""

    changed_by = (events.ChannelUpdated,)

    def rows(self, event: events.ChannelUpdated, origin: Origin) -> Sequence[ChannelWrite]:
        channel = event.channel
        return [ChannelWrite(event.app, channel.id, channel.name, channel.push_notifications, origin.at, origin.place)]

    def write(self, db: Connection, rows: Sequence[ChannelWrite]) -> None:
        before = _stored(db, sorted({(row.app, row.id) for row in rows}))
        now = dict(before)
        past: list[tuple[str, str, str | None, bool, int]] = []
        for row in rows:
            key = (row.app, row.id)
            old = now.get(key)
            if old is None and row.name is None and row.push is not False:
                continue  # it says what is so without it
            created = row.place if old is None else min(row.place, old.created)
            old = (old or Settings())._replace(created=created)
            new = now[key] = set_anew(old, row.name, row.push, row.at, row.place)
            if new.since != old.since and created < row.place:
                past.append((*key, old.name, old.push, row.place))
        bulk.write(
            db,
            "INSERT INTO carillon.channel_past (app, id, name, push, until)"
            " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::boolean[], %b::bigint[]) ON CONFLICT DO NOTHING",
            past,
        )
        bulk.write(
            db,
            "INSERT INTO carillon.channels (app, id, name, name_at, push, push_at, created, since)"
            " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::boolean[], %b::bigint[],"
            " %b::bigint[], %b::bigint[])"
            " ON CONFLICT (app, id) DO UPDATE SET name = excluded.name, name_at = excluded.name_at, push = excluded.push,"
            " push_at = excluded.push_at, created = excluded.created, since = excluded.since",
            [(*key, *_row(new)) for key, new in sorted(now.items()) if new != before.get(key)],
        )

    def forgets(self, days: int) -> Sequence[Forget]:
        return [older("channel_past", "ended_at", PAST_DAYS)]


CHANNELS: Final = Channels()


def read(pool: Pool, keys: Collection[ChannelKey], place: int) -> dict[ChannelKey, Channel]:
    """As they are and were since a place."""
    rows = bulk.read(
        pool,
        "SELECT c.app, c.id, c.name, c.push, c.created, c.since FROM unnest(%b::text[], %b::text[]) AS k (app, id)"
        " JOIN carillon.channels c USING (app, id)",
        keys,
    )
    found = {(app, id): Channel(created, ChannelRow(name, push)) for app, id, name, push, created, _ in rows}
    past: dict[ChannelKey, list[tuple[int, ChannelRow]]] = {}
    for app, id, until, name, push in bulk.read(
        pool,
        "SELECT p.app, p.id, p.until, p.name, p.push FROM unnest(%b::text[], %b::text[]) AS k (app, id)"
        " JOIN carillon.channel_past p USING (app, id) WHERE p.until > %s ORDER BY p.until",
        [(app, id) for app, id, _, _, _, since in rows if since > place],
        place,
    ):
        past.setdefault((app, id), []).append((until, ChannelRow(name, push)))
    return found | {key: found[key]._replace(past=former) for key, former in past.items()}


def _stored(db: Connection, keys: Sequence[ChannelKey]) -> dict[ChannelKey, Settings]:
    rows = db.execute(
        b"SELECT c.app, c.id, c.name, c.name_at, c.push, c.push_at, c.created, c.since"
        b" FROM unnest(%b::text[], %b::text[]) AS k (app, id) JOIN carillon.channels c USING (app, id)",
        bulk.columns(keys),
    )
    return {(app, id): _settings(*settings) for app, id, *settings in rows}


def _settings(*row: Any) -> Settings:
    found = Settings(*row)
    return found._replace(name_at=read_time(found.name_at), push_at=read_time(found.push_at))


def _row(settings: Settings) -> Settings:
    return settings._replace(name_at=stored_time(settings.name_at), push_at=stored_time(settings.push_at))
