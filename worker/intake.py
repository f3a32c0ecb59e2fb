"""Takes events off the stream in their order, applies what they say, and hands the messages on.

1. `stores.lease`: of all workers one at a time reads, the owner of a row in Postgres. Each of its transactions checks that it
   still is, and moves the cursor by compare-and-set: two leaders cannot both apply an entry.
2. `Intake.take`: one transaction applies a stretch of the stream and moves the cursor past it. It is there whole or not at all.
3. What was recorded is opened in the journal and rung for. A leader that died in between is made up for by `Intake.recover`,
   the first thing that the next leader does.

Order: everything before a message on the stream is committed before the message is opened, so it is in force when any worker
expands it.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import psycopg

from producers import events
from producers.errors import EventError
from worker.apps import Apps
from worker.core import entry as names
from worker.core.admission import Refused, check_time, token_forms, unknown_app
from worker.core.envelope import identify
from worker.core.ownership import Superseded, microseconds
from worker.registrations import Call, answer, apply, counts, read_call, reply_id, superseded
from worker.stores import cursors, writes
from worker.stores.badges import Clearing, clearings
from worker.stores.clocks import Clocks
from worker.stores.journal import Cleared, Journal, Push, Recorded
from worker.stores.lease import Lease
from worker.stores.ledger import DeadLetter, add_dead_letters
from worker.stores.letter_log import log_letters
from worker.stores.postgres import Connection
from worker.stores.redis import Redis
from worker.stores.replies import Replies
from worker.targeted import BEGINNING

log = logging.getLogger(__name__)

#: Entries looked at in one step of the recovery.
_RECOVERY_PAGE: Final = 1000

#: Events of which the latest by its own time wins.
_BY_TIME: Final = (
    *(events.DeviceRegistered, events.DeviceUnregistered, events.MemberAdded, events.MemberRemoved),
    *(events.ChannelUpdated, events.UserMuted, events.UserUnmuted),
)

RawEntry = tuple[str, bytes]


@dataclass
class _Stretch:
    """What a stretch of the stream asks for, by kind, each in the order of the stream."""

    members: list[writes.MemberWrite] = field(default_factory=list)
    mutes: list[writes.MuteWrite] = field(default_factory=list)
    channels: list[writes.ChannelWrite] = field(default_factory=list)
    devices: list[Call] = field(default_factory=list)
    messages: list[writes.MessageRow] = field(default_factory=list)
    #: entry -> UNIX seconds at which it is to begin, for those of the messages that are targeted pushes
    targeted: dict[str, float] = field(default_factory=dict)
    badges: list[Clearing] = field(default_factory=list)
    refused: list[DeadLetter] = field(default_factory=list)
    #: entry -> the id under which its author waits for an answer
    asked: dict[str, str] = field(default_factory=dict)

    def asking(self, errors: Mapping[str, str]) -> list[Call]:
        """Device events whose authors wait for an answer and that were not refused."""
        return [call for call in self.devices if call.entry in self.asked and call.entry not in errors]


class _Applied(NamedTuple):
    """What the transaction of a stretch found out."""

    #: Entries that messages are recorded under -> their places.
    recorded: Mapping[str, int]
    cleared: Sequence[Cleared]
    #: Why an entry was refused.
    errors: Mapping[str, str]
    #: Which write was newer than an entry's.
    newer: Mapping[str, Superseded]


class Intake:
    """Reads the stream on behalf of the leader. `ring` is told how many messages became ready."""

    def __init__(self, redis: Redis, journal: Journal, apps: Apps, *, batch: int, ring: Callable[[int], None]) -> None:
        self._redis, self._journal, self._apps = redis, journal, apps
        self._batch, self._ring, self._replies, self._clocks = batch, ring, Replies(redis), Clocks(redis)

    def cursor(self, lease: Lease) -> str:
        with lease.transaction() as db:
            return cursors.read(db)[events.STREAM].id

    def step(self, lease: Lease, cursor: str, *, wait: float) -> str:
        """Takes what is waiting behind `cursor`, for which it waits up to `wait` seconds; returns the new cursor."""
        answer: Any = self._redis.xread({events.STREAM: cursor}, count=self._batch, block=max(1, int(wait * 1000)))
        entries = _entries(answer[0][1]) if answer else []
        if not entries:
            return cursor
        self._take_or_isolate(lease, cursor, entries)
        return entries[-1][0]

    def recover(self, lease: Lease, cursor: str) -> int:
        """Opens or removes what a leader left between its transaction and the journal; returns how many."""
        found, start = 0, "-"
        with lease.transaction() as db:
            places = cursors.read(db)[events.STREAM].taken
        while page := self._stretch(start, cursor):
            lost = set(self._journal.missing([entry for entry, _ in page]))
            found += len(lost)
            self._take_again(lease, places, [(entry, document) for entry, document in page if entry in lost])
            start = f"({page[-1][0]}"
        return found

    def _stretch(self, first: str, last: str) -> list[RawEntry]:
        found: Any = self._redis.xrange(events.STREAM, first, last, count=_RECOVERY_PAGE)
        return _entries(found)

    def _take_or_isolate(self, lease: Lease, cursor: str, entries: Sequence[RawEntry]) -> None:
        """An event that Postgres will not have must not stop its neighbours: it is found by halves, in the stream's order."""
        try:
            self._take(lease, cursor, entries)
        except (psycopg.DataError, psycopg.IntegrityError) as fault:
            if len(entries) > 1:
                half = len(entries) // 2
                self._take_or_isolate(lease, cursor, entries[:half])
                self._take_or_isolate(lease, entries[half - 1][0], entries[half:])
                return
            [(entry, document)] = entries
            letter = DeadLetter(entry, *identify(document), f"cannot be stored: {type(fault).__name__}", document)
            with lease.transaction() as db:
                cursors.move(db, events.STREAM, cursor, [entry])
                add_dead_letters(db, [letter])
            log_letters([letter])
            self._answer(self._sort(entries, [0]), {entry: letter.error}, {})
            self._journal.drop([entry])

    def _take(self, lease: Lease, cursor: str, entries: Sequence[RawEntry]) -> None:
        self._clocks.look(lease.transaction)
        with lease.transaction() as db:
            first = cursors.move(db, events.STREAM, cursor, [names.id_of(entry) for entry, _ in entries])
            stretch = self._sort(entries, range(first, first + len(entries)))
            applied = self._apply(db, stretch)
        self._finish(stretch, entries, applied)

    def _take_again(self, lease: Lease, places: Mapping[str, int], entries: Sequence[RawEntry]) -> None:
        """Entries up to the cursor that the journal does not know: their leader died before it handed them on.

        All that a transaction writes may be written twice. They keep the places that they had.
        """
        self._clocks.look(lease.transaction)
        with lease.transaction() as db:
            unknown = sum(names.id_of(entry) not in places for entry, _ in entries)
            drawn = iter(
                range(first, first + unknown) if unknown and (first := cursors.draw_places(db, unknown)) else ()
            )
            stretch = self._sort(entries, [places.get(names.id_of(entry)) or next(drawn) for entry, _ in entries])
            applied = self._apply(db, stretch)
        self._finish(stretch, entries, applied)

    def _apply(self, db: Connection, stretch: _Stretch) -> _Applied:
        """Inside the caller's transaction."""
        writes.write_members(db, stretch.members)
        writes.write_channels(db, stretch.channels)
        writes.write_mutes(db, stretch.mutes)
        recorded = writes.write_messages(db, stretch.messages)
        writes.count_repeats(db, [row for row in stretch.messages if row.entry not in recorded])
        stretch.refused += apply(db, stretch.devices, self._apps)
        errors = {letter.entry: letter.error for letter in stretch.refused}
        newer = superseded(db, stretch.asking(errors))
        cleared = clearings(db, stretch.badges)
        add_dead_letters(db, stretch.refused)
        return _Applied(recorded, cleared, errors, newer)

    def _finish(self, stretch: _Stretch, entries: Sequence[RawEntry], applied: _Applied) -> None:
        """What follows the commit."""
        told = self._journal.clear_badges(applied.cleared)
        self._answer(stretch, applied.errors, applied.newer)
        self._hand_on(stretch, [entry for entry, _ in entries], applied.recorded, told)
        log_letters(stretch.refused)

    def _answer(self, stretch: _Stretch, errors: Mapping[str, str], newer: Mapping[str, Superseded]) -> None:
        """Tells those who asked. Before the entry goes, so that the next leader answers what this one could not."""
        anonymous = {call.entry for call in stretch.devices if not call.writes}
        self._replies.send(
            [
                (id, answer(errors.get(entry), newer.get(entry), anonymous=entry in anonymous))
                for entry, id in stretch.asked.items()
            ],
            counts(stretch.devices, stretch.refused),
        )

    def _hand_on(
        self, stretch: _Stretch, entries: Sequence[str], recorded: Mapping[str, int], told: Collection[str]
    ) -> None:
        """Opens the messages that are recorded, and deletes every entry that needs no further work."""
        rows = [row for row in stretch.messages if row.entry in recorded]
        messages = [
            Recorded(row.entry, row.app, recorded[row.entry]) for row in rows if row.entry not in stretch.targeted
        ]
        self._journal.open(messages)
        self._journal.open_targeted(
            [
                Push(row.entry, row.app, recorded[row.entry], BEGINNING, stretch.targeted[row.entry])
                for row in rows
                if row.entry in stretch.targeted
            ]
        )
        kept = recorded.keys() | told
        self._journal.drop([entry for entry in entries if entry not in kept])
        if messages or told:
            self._ring(len(messages) + len(told))

    def _sort(self, entries: Sequence[RawEntry], places: Sequence[int]) -> _Stretch:
        stretch = _Stretch()
        for (entry, document), place in zip(entries, places, strict=True):
            event = None
            if (asked := reply_id(document)) is not None:
                stretch.asked[entry] = asked
            try:
                event = events.decode(document)
                if self._apps.app(event.app) is None:
                    raise unknown_app(event.app)
                if isinstance(event, _BY_TIME):
                    check_time(event.at, self._clocks.now())
                self._add(stretch, entry, place, event, document)
            except (EventError, Refused) as fault:
                app, id = (event.app, event.id) if event else identify(document)
                stretch.refused.append(DeadLetter(entry, app, id, str(fault), document))
        return stretch

    def _add(self, stretch: _Stretch, entry: str, place: int, event: events.AnyEvent, document: bytes) -> None:
        at = microseconds(event.at)
        match event:
            case events.MessageNew(message=m):
                stretch.messages.append(
                    writes.MessageRow(
                        event.app,
                        event.id,
                        entry,
                        m.id,
                        m.parent_id,
                        event.channel.id,
                        event.sender.id,
                        m.mentioned,
                        place,
                        m.parent_sender,
                        event.recipients,
                    )
                )
            case events.MemberAdded() | events.MemberRemoved():
                present = isinstance(event, events.MemberAdded)
                stretch.members += (
                    writes.MemberWrite(event.app, event.channel.id, user, at, present, place) for user in event.users
                )
            case events.DeviceRegistered() | events.DeviceUnregistered():
                stretch.devices.append(read_call(entry, event, document, self._apps))
            case events.ChannelUpdated(channel=c):
                stretch.channels.append(writes.ChannelWrite(event.app, c.id, c.name, c.push_notifications, at, place))
            case events.UserMuted() | events.UserUnmuted():
                muted = isinstance(event, events.UserMuted)
                stretch.mutes.append(writes.MuteWrite(event.app, event.user, event.target, at, muted, place))
            case events.BadgeCleared(device=named):
                forms = None if named is None else token_forms(named.token, self._apps.providers_of(event.app))
                stretch.badges.append(Clearing(entry, event.app, event.user, forms, event.others, place))
            case events.PushSend(send_at=send_at):
                # No channel and no sender; recorded like a message, so that its id is taken once.
                stretch.messages.append(writes.MessageRow(event.app, event.id, entry, "", None, "", "", (), place))
                stretch.targeted[entry] = send_at.timestamp() if send_at is not None else 0.0


def _entries(raw: Sequence[tuple[bytes, dict[bytes, bytes] | None]]) -> list[RawEntry]:
    """Entry id and document of each; an entry without the field is an empty document, which is refused like any other."""
    return [(id.decode(), (fields or {}).get(events.FIELD.encode(), b"")) for id, fields in raw]
