"""How messages were changed since they were written. It counts as it is when a message is expanded, and when it is delivered.

Of edits the latest by its own time counts. A deletion is final. Either may come before its message.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from producers import events
from producers.events import MessageDeleted, MessageUpdated
from worker.core.edits import content_of, newly_named
from worker.core.entry import ms_of
from worker.database import bulk
from worker.database.postgres import Connection, Pool
from worker.database.retention import DAY, Forget, older
from worker.facts import used
from worker.facts.base import Fact, Origin
from worker.facts.channels import ChannelKey
from worker.facts.standings import PAST_DAYS

#: app, channel, message
MessageKey = tuple[str, str, str]

#: Days for which deletions are kept: longer than a digest counts messages.
DELETED_DAYS: Final = 10
#: Deleted messages of a channel that are looked at.
MOST_DELETED: Final = 1_000

#: Messages that are looked up at once without another question before.
FEW: Final = 20


class ChangeWrite(NamedTuple):
    key: MessageKey
    #: Microseconds, the event's own time.
    at: int
    place: int
    #: None: it was deleted.
    edit: MessageUpdated | None


class Change(NamedTuple):
    """The latest edit of a message, or its deletion."""

    at: int
    place: int
    deleted: bool
    #: Whether the message was recorded before it.
    known: bool
    #: ms since the epoch: the message's own time; 0: not known.
    written: int
    #: The event of the edit; None for a deletion.
    document: str | None
    #: As of `edits.content_of`.
    content: str
    #: Users whom an edit named first -> the place of that edit, which notifies them.
    named: Mapping[str, int]

    @property
    def edit(self) -> MessageUpdated | None:
        """None for a deletion, and for an edit that only another release can read."""
        event = events.accepted(self.document.encode()) if self.document else None
        return event if isinstance(event, MessageUpdated) else None


class _Known(NamedTuple):
    """A message as it was recorded."""

    mentioned: Collection[str]
    written: int


class Changes(Fact[ChangeWrite]):
    changed_by = (MessageUpdated, MessageDeleted)
    of_messages = True

    def rows(self, event: MessageUpdated | MessageDeleted, origin: Origin) -> Sequence[ChangeWrite]:
        key = (event.app, event.channel.id, event.message.id)
        return [ChangeWrite(key, origin.at, origin.place, event if isinstance(event, MessageUpdated) else None)]

    def size(self, event: MessageUpdated | MessageDeleted) -> int:
        return 1 + (len(event.message.mentioned) if isinstance(event, MessageUpdated) else 0)

    def write(self, db: Connection, rows: Sequence[ChangeWrite]) -> None:
        keys = sorted({row.key for row in rows})
        before = _stored(db, keys)
        now, messages = dict(before), _messages(db, keys)
        for row in rows:
            now[row.key] = _changed(now.get(row.key), row, messages.get(row.key))
        changed = [(*key, *one) for key, one in sorted(now.items()) if one != before.get(key)]
        bulk.write(
            db,
            "INSERT INTO carillon.message_changes (app, channel, message_id, at, place, deleted, known, written, document,"
            " content, named) SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[],"
            " %b::boolean[], %b::boolean[], %b::bigint[], %b::text[], %b::text[], %b::text[]::jsonb[])"
            " ON CONFLICT (app, channel, message_id) DO UPDATE SET at = excluded.at, place = excluded.place,"
            " deleted = excluded.deleted, known = excluded.known, written = excluded.written, document = excluded.document,"
            " content = excluded.content, named = excluded.named, changed_on = excluded.changed_on",
            [(*row[:-1], msgspec.json.encode(row[-1]).decode()) for row in changed],
        )

    def forgets(self, days: int) -> Sequence[Forget]:
        edits = older("message_changes", "changed_on", PAST_DAYS, before=DAY, where="NOT deleted")
        return [edits, older("message_changes", "changed_on", DELETED_DAYS, before=DAY, where="deleted")]


CHANGES: Final = Changes()


def _changed(old: Change | None, row: ChangeWrite, message: _Known | None) -> Change:
    """What is so after an edit or a deletion."""
    if old is not None and (old.deleted or (row.edit is not None and (row.at, row.place) <= (old.at, old.place))):
        return old
    known, written = message is not None, 0 if message is None else message.written
    named = {} if old is None else dict(old.named)
    if row.edit is None:
        return Change(row.at, row.place, True, known, written, None, "", named)
    if message is not None:
        named |= dict.fromkeys(newly_named(row.edit, {*message.mentioned, *named}), row.place)
    document, content = events.encode(row.edit).decode(), content_of(row.edit.message)
    return Change(row.at, row.place, False, known, written, document, content, named)


def deleted_in(pool: Pool, channels: Collection[ChannelKey]) -> dict[ChannelKey, list[str]]:
    """Ids of messages that were deleted, by channel: the latest `MOST_DELETED` of each."""
    rows = bulk.read(
        pool,
        "SELECT k.app, k.channel, c.ids FROM unnest(%b::text[], %b::text[]) AS k (app, channel),"
        " LATERAL (SELECT array_agg(m.message_id) AS ids FROM (SELECT message_id FROM carillon.message_changes"
        " WHERE app = k.app AND channel = k.channel AND deleted ORDER BY place DESC LIMIT %s) m) c WHERE c.ids IS NOT NULL",
        channels,
        MOST_DELETED,
    )
    return {(app, channel): ids for app, channel, ids in rows}


def read(pool: Pool, keys: Collection[MessageKey]) -> dict[MessageKey, Change]:
    """Those of the messages that were changed."""
    return _by_key(bulk.read(pool, _READ, keys))


def read_of_app(pool: Pool, app: str, keys: Collection[MessageKey]) -> dict[MessageKey, Change]:
    """The same for messages of one app. Many are looked up only if the app has any that were changed."""
    if len(keys) > FEW and "changes" not in used.of_app(pool, app):
        return {}
    return read(pool, keys)


_READ: Final = (
    "SELECT c.app, c.channel, c.message_id, c.at, c.place, c.deleted, c.known, c.written, c.document, c.content, c.named"
    " FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, channel, message_id),"
    # A step in the index for each message, whatever the planner knows of the table.
    " LATERAL (SELECT * FROM carillon.message_changes c WHERE c.app = k.app AND c.channel = k.channel"
    " AND c.message_id = k.message_id OFFSET 0) c"
)


def _stored(db: Connection, keys: Sequence[MessageKey]) -> dict[MessageKey, Change]:
    return _by_key(db.execute(_READ.encode(), bulk.columns(keys)).fetchall())


def _by_key(rows: Sequence[tuple[Any, ...]]) -> dict[MessageKey, Change]:
    return {(app, channel, id): Change(*change) for app, channel, id, *change in rows}


def _messages(db: Connection, keys: Sequence[MessageKey]) -> dict[MessageKey, _Known]:
    """Those that were recorded; of one that was recorded twice, under two event ids, the first."""
    rows = db.execute(
        b"SELECT m.app, m.channel, m.message_id, m.mentioned, m.written, m.entry"
        b" FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, channel, message_id)"
        b" JOIN carillon.messages m USING (app, channel, message_id) ORDER BY m.position DESC",
        bulk.columns(keys),
    )
    return {
        (app, channel, id): _Known(mentioned or (), written or (ms_of(entry) if entry else 0))
        for app, channel, id, mentioned, written, entry in rows
    }
