"""What a channel is set to: its name, its switch, how loud it is and what it is; and since when it is known."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple, final

import msgspec
from msgspec.structs import replace

from producers import events
from producers.fields import ChannelKind, Level, Privacy
from worker.core.places import Settings, set_anew
from worker.database import bulk
from worker.database.bulk import read_time, stored_time
from worker.database.postgres import Connection, Pool
from worker.database.retention import Forget, older
from worker.facts.base import Fact, Origin
from worker.facts.standings import PAST_DAYS

_TIMES: Final = tuple(name for name in Settings._fields if name.endswith("_at"))

#: app, channel
ChannelKey = tuple[str, str]


class ChannelWrite(NamedTuple):
    app: str
    id: str
    #: By the names of `ChannelRow`. What is missing stays as it is.
    said: Mapping[str, object]
    at: int
    place: int


@final
class ChannelRow(msgspec.Struct, frozen=True):
    name: str | None = None
    push: bool = True
    #: How loud it is for members who have chosen nothing; None: it says nothing, as the others.
    level: Level | None = None
    kind: ChannelKind | None = None
    privacy: Privacy | None = None


@final
class Channel(msgspec.Struct, frozen=True):
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
        values = (channel.name, channel.push_notifications, channel.level, channel.kind, channel.privacy)
        said = {
            name: value for name, value in zip(ChannelRow.__struct_fields__, values, strict=True) if value is not None
        }
        return [ChannelWrite(event.app, channel.id, said, origin.at, origin.place)]

    def write(self, db: Connection, rows: Sequence[ChannelWrite]) -> None:
        before = _stored(db, sorted({(row.app, row.id) for row in rows}))
        now = dict(before)
        past: list[tuple[object, ...]] = []
        for row in rows:
            key = (row.app, row.id)
            old = now.get(key)
            if old is None and row.said in ({}, {"push": True}):
                continue  # it says what is so without it
            created = row.place if old is None else min(row.place, old.created)
            old = (old or Settings())._replace(created=created)
            new = now[key] = set_anew(old, row.said, row.at, row.place)
            if new.since != old.since and created < row.place:
                past.append((*key, *(getattr(old, name) for name in ChannelRow.__struct_fields__), row.place))
        bulk.write(
            db,
            "INSERT INTO carillon.channel_past (app, id, name, push, level, kind, privacy, until)"
            " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::boolean[], %b::text[], %b::text[], %b::text[],"
            " %b::bigint[]) ON CONFLICT DO NOTHING",
            past,
        )
        bulk.write(
            db,
            f"INSERT INTO carillon.channels (app, id, {', '.join(Settings._fields)})"
            " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::boolean[], %b::bigint[],"
            " %b::text[], %b::bigint[], %b::text[], %b::bigint[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[])"
            f" ON CONFLICT (app, id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in Settings._fields)}",
            [(*key, *_times(new, stored_time)) for key, new in sorted(now.items()) if new != before.get(key)],
        )

    def forgets(self, days: int) -> Sequence[Forget]:
        return [older("channel_past", "ended_at", PAST_DAYS)]


CHANNELS: Final = Channels()


def read(pool: Pool, keys: Collection[ChannelKey], place: int) -> dict[ChannelKey, Channel]:
    """As they are and were since a place."""
    return bulk.found(pool, reading(keys, place))


def reading(keys: Collection[ChannelKey], place: int) -> bulk.Reading[dict[ChannelKey, Channel]]:
    """`read`, beside others."""
    rows = yield bulk.Query(
        "SELECT c.app, c.id, c.created, c.since, c.name, c.push, c.level, c.kind, c.privacy"
        " FROM unnest(%b::text[], %b::text[]) AS k (app, id) JOIN carillon.channels c USING (app, id)",
        keys,
    )
    found = {(app, id): Channel(created, ChannelRow(*values)) for app, id, created, _, *values in rows}
    past: dict[ChannelKey, list[tuple[int, ChannelRow]]] = {}
    changed = yield bulk.Query(
        "SELECT p.app, p.id, p.until, p.name, p.push, p.level, p.kind, p.privacy"
        " FROM unnest(%b::text[], %b::text[]) AS k (app, id) JOIN carillon.channel_past p USING (app, id)"
        " WHERE p.until > %s ORDER BY p.until",
        [(app, id) for app, id, _, since, *_ in rows if since > place],
        (place,),
    )
    for app, id, until, *values in changed:
        past.setdefault((app, id), []).append((until, ChannelRow(*values)))
    return found | {key: replace(found[key], past=former) for key, former in past.items()}


def _stored(db: Connection, keys: Sequence[ChannelKey]) -> dict[ChannelKey, Settings]:
    rows = db.execute(
        f"SELECT c.app, c.id, {', '.join(f'c.{name}' for name in Settings._fields)}"
        " FROM unnest(%b::text[], %b::text[]) AS k (app, id) JOIN carillon.channels c USING (app, id)".encode(),
        bulk.columns(keys),
    )
    return {(app, id): _times(Settings(*settings), read_time) for app, id, *settings in rows}


def _times(settings: Settings, convert: Callable[[int], int]) -> Settings:
    times: dict[str, Any] = {name: convert(getattr(settings, name)) for name in _TIMES}
    return settings._replace(**times)
