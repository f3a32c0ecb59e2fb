"""Applies the entries of a stream in their order, and opens the messages.

1. `database.lease`: one worker at a time leads, the owner of a row in Postgres. Each of its transactions checks the ownership and
   moves the cursor by compare-and-set: two leaders cannot both apply an entry.
2. `Intake.take`: one transaction applies a stretch of a stream and moves the cursor past it. An entry that
   makes it fail is found by halves and dead-lettered.
3. Recorded messages are opened in the journal, and workers are woken. If the leader dies in between, the next leader first
   takes these entries again: all of these writes may be repeated.

Order: everything before a message on its stream is committed before the message is opened, so it is in force when any worker
expands it. `worker/pipeline/rounds.py` decides how much is read of which stream.
"""

import logging
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from producers import events
from producers.errors import EventError
from producers.routing import channel_in
from worker.core.admission import check_time, unknown_app
from worker.core.badges import Cleared, Clearing
from worker.core.envelope import identify
from worker.core.errors import LeaseLost
from worker.core.ledger_entry import beginning
from worker.core.model import AppSettings
from worker.core.ownership import Superseded, microseconds
from worker.core.refusal import Refusal, Refused, refusal_of
from worker.core.trace_context import sampled
from worker.database import cursors, lineages, messages, plain_stretch, postgres, tallies
from worker.database.accepted import edits_of
from worker.database.badges import beginning as beginning_of_badges
from worker.database.badges import clearings
from worker.database.cursors import Cursor
from worker.database.ledger import DeadLetter, add_dead_letters
from worker.database.letter_log import log_letters
from worker.database.messages import MessageRow
from worker.database.plain_stretch import AtOnce
from worker.database.postgres import Connection
from worker.facts import FACTS
from worker.facts.base import Fact, Origin, is_reply
from worker.facts.threads import taking_part
from worker.pipeline.apps import Apps
from worker.pipeline.clocks import Clocks
from worker.pipeline.expansion.retract import AFTER
from worker.pipeline.provider_choice import choose_broadcaster
from worker.pipeline.registrations import (
    Call,
    DeviceEvent,
    answer,
    apply,
    begun_before,
    counts,
    read_call,
    reply_id,
    superseded,
)
from worker.pipeline.spans import Export, Span, span
from worker.pipeline.targeted import BEGINNING
from worker.providers.kinds import token_forms
from worker.state import missed, redis
from worker.state.journal import Journal, Opened, Push, Recorded
from worker.state.partition import Partition
from worker.state.replies import Replies
from worker.state.streams import RawEntry

log = logging.getLogger(__name__)

#: Faults that are no entry's: an engine is away, another process leads, the schema is of another release.
_PASSING: Final = (postgres.Unavailable, *redis.Unavailable, LeaseLost, *postgres.Unready)
#: Places that a leader draws at once. Unused ones are skipped.
_PLACES: Final = 1_000_000
#: Octets of a device event that cost as much as a row: attributes of a megabyte are a stretch of their own.
_OCTETS: Final = 50
#: Seconds after which a leader that has nothing else to do asks for the time again.
_AHEAD: Final = 5.0
#: Seconds after a failover before an event that was recorded counts as lost: by then no worker uses the server that was replaced,
#: and the ledger has what they had done there.
_SURE: Final = 5.0

#: Gives who expands so many messages at once, where somebody has nothing else to do. Whoever is given is called once.
Idle = Callable[[int], Callable[[Sequence[Opened]], None] | None]

_T = TypeVar("_T", Cleared, Recorded, Push)
#: What became of an event that was taken.
_TAKEN: Final = "taken"
_TYPES: Final = {kind: name for name, kind in events.TYPES.items()}


class _Placed(msgspec.Struct, frozen=True):
    """An entry with its name, and its place in the order of intake."""

    name: str
    place: int
    raw: RawEntry
    #: Whose stream it is on; None: the inlet, which is everybody's.
    app: str | None


@dataclass
class _Stretch:
    """What a stretch of a stream asks for, by kind, each in the order of the stream."""

    entries: list[_Placed] = field(default_factory=list)
    facts: defaultdict[Fact[Any], list[Any]] = field(default_factory=lambda: defaultdict(list))
    devices: list[Call] = field(default_factory=list)
    messages: list[MessageRow] = field(default_factory=list)
    #: entry -> UNIX seconds at which it is to begin, for those of the messages that are targeted pushes
    targeted: dict[str, float] = field(default_factory=dict)
    badges: list[Clearing] = field(default_factory=list)
    #: Users, by app, whose quiet time was set.
    quiet: set[tuple[str, str]] = field(default_factory=set)
    refused: list[DeadLetter] = field(default_factory=list)
    #: entry -> the refusal in its reply
    refusals: dict[str, Refusal] = field(default_factory=dict)
    #: entry -> the id under which its author waits for an answer
    asked: dict[str, str] = field(default_factory=dict)
    #: Rows that the entries become in Postgres.
    rows: int = 0
    #: Of each entry: its app ('': none that there is), and its type ('unknown': it cannot be read).
    about: list[tuple[str, str]] = field(default_factory=list)
    #: Apps of its entries, as they are while it is read.
    apps: dict[str, AppSettings] = field(default_factory=dict)
    #: Traced events: the publisher's span, the entry, the event.
    traced: list[tuple[str, str, events.AnyEvent]] = field(default_factory=list)
    #: UNIX seconds.
    began: float = field(default_factory=time.time)

    def refuse(self, one: _Placed, refusal: Refusal, app: str | None, id: str | None) -> None:
        self.refusals[one.name] = refusal
        self.refused.append(DeadLetter(one.name, app, id, refusal.error, one.raw.document, one.raw.size))

    def is_plain(self) -> bool:
        """Whether every entry is a message that mentions nobody and changes nothing else: no row but its own."""
        return 0 < len(self.messages) == len(self.entries) == self.rows and not (
            self.devices or self.badges or self.quiet or self.refused or self.facts
        )

    def asking(self, refusals: Mapping[str, Refusal]) -> list[Call]:
        """Device events whose authors wait for an answer and that were not refused."""
        return [call for call in self.devices if call.entry in self.asked and call.entry not in refusals]


class _Applied(NamedTuple):
    """What the transaction of a stretch found out."""

    #: Entries that messages are recorded under -> their places.
    recorded: Mapping[str, int] = {}
    cleared: Sequence[Cleared] = ()
    #: By entry.
    refusals: Mapping[str, Refusal] = {}
    #: Which write was newer than an entry's.
    newer: Mapping[str, Superseded] = {}
    #: Registrations over their app's rate.
    over_rate: Sequence[Call] = ()

    def outcome(self, entry: str, *, repeatable: bool) -> str:
        """What became of an event: taken, repeat, refused, over_rate, superseded. `repeatable`: it is a message or a push.

        Whether a registration is superseded is known only if its author waits for an answer.
        """
        if (refusal := self.refusals.get(entry)) is not None:
            return "over_rate" if refusal.code == "rate_limit" else "refused"
        if repeatable and entry not in self.recorded:
            return "repeat"
        return "superseded" if entry in self.newer else _TAKEN


class Intake:
    """`transaction` opens one of the leader's, `at_once` runs a statement of its own, `clock` gives the time by Postgres' clock,
    `draw` draws so many places.

    `wake` gets the number of messages that became ready. `idle` gives who expands so many at once, if anybody has nothing else
    to do; that is called once, with those that were taken for it.

    `export` takes the spans of traced events, if they are exported.
    """

    def __init__(
        self,
        partition: Partition,
        journal: Journal,
        apps: Apps,
        *,
        transaction: Callable[[], AbstractContextManager[Connection]],
        clock: Callable[[], float],
        at_once: AtOnce | None = None,
        draw: Callable[[int], int] | None = None,
        wake: Callable[[int], None],
        idle: Idle = lambda _: None,
        facts: Sequence[Fact[Any]] = FACTS,
        export: Export | None = None,
    ) -> None:
        self._partition, self._names = partition, partition.names
        self._journal, self._apps, self._transaction, self._wake = journal, apps, transaction, wake
        self._export, self._at_once, self._idle = export, at_once, idle
        self._draw_now = draw or self._draw_within
        self._of_messages = [fact for fact in facts if fact.of_messages]
        self._facts = [fact for fact in facts if not fact.of_messages]
        self._changed_by = {
            event: [f for f in facts if event in f.changed_by] for fact in facts for event in fact.changed_by
        }
        #: Those that also messages outside of threads change.
        self._of_all_messages = [f for f in self._changed_by.get(events.MessageNew, ()) if not f.of_replies]
        #: Events of which the latest by its own time wins.
        self._by_time = frozenset(
            {events.DeviceRegistered, events.DeviceUnregistered, *self._changed_by} - {events.MessageNew}
        )
        self._replies, self._clocks = Replies(partition), Clocks(partition.redis, clock)
        #: When the entries were taken that it works on, by `time.monotonic()`: what was stored before they were published was
        #: stored before that.
        self._taken_at = 0.0
        #: The place to give next, and the one that is not ours any more.
        self._next = self._end = 0
        self._token = 0
        #: When another server's data took the place of what was there, by `time.monotonic()`; None: not as far as is known.
        self._replaced_at: float | None = None
        self._moved: Callable[[], bool] = lambda: False

    def begin(self, token: int, replaced: float | None, moved: Callable[[], bool]) -> None:
        """This process leads from now on. `token`: that of its lease.

        `replaced`: the seconds since another server has the streams, as of `lineages.note`; `moved` asks whether one has them
        since this leader began.
        """
        self._moved = moved
        self._token = token
        self._replaced_at = None if replaced is None else time.monotonic() - replaced

    def take(self, stream: str, cursor: Cursor, entries: Sequence[RawEntry], *, rows: int) -> tuple[Cursor, int]:
        """Applies the first of the entries, as many as become `rows` rows and at least one.

        Returns the cursor behind them, and how many they were.
        """
        self._clocks.look()
        self._taken_at = time.monotonic()
        placed = self._placed(stream, entries)
        stretch = self._sort(placed, rows=rows)
        placed = placed[: len(stretch.entries)]
        return self._take(stream, cursor, placed, stretch), len(placed)

    def look_ahead(self) -> None:
        """Asks the engines for the time before an entry has to wait for it."""
        self._clocks.look(kept=_AHEAD)

    def take_again(self, stream: str, cursor: Cursor, entries: Sequence[RawEntry]) -> None:
        """Entries up to the cursor that are not open: their leader died before it handed them on, or Redis forgot them.

        Those of the last transaction keep the places that they had.
        """
        if not entries:
            return
        self._clocks.look()
        self._taken_at = time.monotonic()
        placed = self._placed(stream, entries)
        placed = [replace(one, place=cursor.taken.get(one.raw.id, one.place)) for one in placed]
        self._take(stream, cursor, placed, self._sort(placed), again=True)

    def _placed(self, stream: str, entries: Sequence[RawEntry]) -> list[_Placed]:
        app = self._names.app_of(stream)
        first = self._draw(len(entries), fresh=app is not None and self._partition.is_spread(app))
        suffix = self._names.entry(stream, "")
        return [_Placed(raw.id + suffix, first + n, raw, app) for n, raw in enumerate(entries)]

    def _draw(self, n: int, *, fresh: bool) -> int:
        """The first of `n` places. `fresh`: of now, so that they are above all that another leader has committed."""
        if fresh:
            return self._draw_now(n)
        if self._end - self._next < n:
            self._next = self._draw_within(_PLACES)
            self._end = self._next + _PLACES
        first = self._next
        self._next += n
        return first

    def _draw_within(self, n: int) -> int:
        with self._transaction() as db:
            return cursors.draw_places(db, n)

    def _take(
        self, stream: str, cursor: Cursor, placed: Sequence[_Placed], stretch: _Stretch, *, again: bool = False
    ) -> Cursor:
        """Returns the cursor behind them; `again`: it stays where it is."""
        after = cursor if again else _behind(cursor, placed)
        if not again and self._take_plain(stream, cursor, after, stretch):
            return after
        try:
            lost = self._lost(stretch)
            with self._transaction() as db:
                if not again:
                    cursors.move(db, stream, cursor, after)
                applied = self._apply(db, stretch, lost, again=again)
        except _PASSING:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever the bug is, it stays with its entry
            if len(placed) > 1:
                for half in (placed[: len(placed) // 2], placed[len(placed) // 2 :]):
                    cursor = self._take(stream, cursor, half, self._sort(half), again=again)
                return cursor
            [one] = placed
            stretch, refusal = (
                _Stretch([one], about=stretch.about),
                Refusal(f"cannot be stored: {type(fault).__name__}"),
            )
            if isinstance(fault, EventError):
                refusal = refusal_of(fault)
            _log_fault("event cannot be stored, it is dead-lettered", one.name, fault)
            if (asked := reply_id(one.raw.document)) is not None:
                stretch.asked[one.name] = asked
            stretch.refuse(one, refusal, *identify(one.raw.document))
            with self._transaction() as db:
                if not again:
                    cursors.move(db, stream, cursor, after)
                    tallies.count_events(db, _counted(stretch, _outcomes(stretch, _Applied(refusals=stretch.refusals))))
                add_dead_letters(db, stretch.refused)
            applied = _Applied(refusals=stretch.refusals)
        self._finish(stretch, applied)
        return after

    def _take_plain(self, stream: str, cursor: Cursor, after: Cursor, stretch: _Stretch) -> bool:
        """Takes the stretch in one statement if it has nothing but messages; whether it did."""
        if self._at_once is None or not stretch.is_plain():
            return False
        applied = _Applied({row.entry: row.place for row in stretch.messages})
        counted = {app: of for (app, _), of in _counted(stretch, repeat(_TAKEN)).items()}
        try:
            if not plain_stretch.take(self._at_once, stream, cursor, after, stretch.messages, counted):
                return False
        except _PASSING:
            raise
        except Exception:  # noqa: BLE001 - the transaction has it again, and finds the entry
            return False
        self._finish(stretch, applied)
        return True

    def _lost(self, stretch: _Stretch) -> Mapping[str, str]:
        """Entries of events that a failover has lost after they were recorded, so that nothing became of them: the first entry of
        each, by the new one.

        What became of an event is in Redis first, and in the ledger before it leaves Redis: so Redis is asked first, and the
        ledger where the event is recorded anew.
        """
        replaced = self._replaced_at
        if replaced is None or not stretch.messages or time.monotonic() - replaced > lineages.AFTER:
            return {}
        with self._transaction() as db:
            repeated = lineages.repeated(db, self._names.inlet, stretch.messages)
        if not repeated:
            return {}
        while (left := replaced + _SURE - time.monotonic()) > 0:
            time.sleep(min(left, 1.0))
            with self._transaction():  # goes on leading
                pass
        unknown = self._journal.unknown(
            {entry: beginning(*key) for key, entry in repeated.items() if self._names.has_entry(entry)}
        )
        firsts = {(row.app, row.event_id): row.entry for row in reversed(stretch.messages)}
        lost = {firsts[key]: entry for key, entry in repeated.items() if entry in unknown}
        if lost:
            log.warning(
                "events that a failover had lost were published again, they are taken in place of the first",
                extra={"events": len(lost), "entry": next(iter(lost))},
            )
        return lost

    def _apply(self, db: Connection, stretch: _Stretch, lost: Mapping[str, str], *, again: bool) -> _Applied:
        """Inside the caller's transaction. `lost` as of `_lost`."""
        _write(db, stretch, self._facts)
        rows = taking_part(db, stretch.messages)
        recorded = messages.record(db, rows)
        recorded |= messages.take_over(db, rows, lost, partition=self._partition.index)
        repeats = [row for row in stretch.messages if row.entry not in recorded]
        if repeats and self._moved():  # nothing is committed: whoever leads next knows what was lost
            raise redis.Replaced("another server has the partition by now")
        messages.count_repeats(db, repeats)
        _write(db, stretch, self._of_messages)
        over_rate, begun = apply(db, stretch.devices, self._apps)
        if again:
            begun += begun_before(db, stretch.devices)
        refusals = stretch.refusals | over_rate
        newer = superseded(db, stretch.asking(refusals))
        cleared = [*clearings(db, stretch.badges), *map(beginning_of_badges, begun)]
        add_dead_letters(db, stretch.refused)
        limited = [call for call in stretch.devices if call.entry in over_rate]
        applied = _Applied(recorded, cleared, refusals, newer, limited)
        if not again:
            tallies.count_events(db, _counted(stretch, _outcomes(stretch, applied)))
        return applied

    def _finish(self, stretch: _Stretch, applied: _Applied) -> None:
        """The writes to Redis that follow the commit. A failure for one entry is logged, and the others go on."""
        pushed = {entry for some in _each(applied.cleared, self._journal.clear_badges, "badges") for entry in some}
        missed.look_again(self._partition, stretch.quiet)
        self._answer(stretch, applied)
        self._hand_on(stretch, applied.recorded, pushed)
        log_letters(stretch.refused)
        if stretch.traced and self._export is not None:
            self._export(_spans(stretch, applied))

    def _answer(self, stretch: _Stretch, applied: _Applied) -> None:
        """Replies to producers that wait. Done before the entry is deleted, so the next leader can still reply."""
        anonymous = {call.entry for call in stretch.devices if not call.writes}
        self._replies.send(
            [
                (id, answer(applied.refusals.get(entry), applied.newer.get(entry), anonymous=entry in anonymous))
                for entry, id in stretch.asked.items()
            ],
            counts(stretch.devices, applied.over_rate),
        )

    def _hand_on(self, stretch: _Stretch, recorded: Mapping[str, int], pushed: Collection[str]) -> None:
        """Opens the messages that are recorded, and deletes every entry that needs no further work."""
        opened, pushes = [], []
        for row in stretch.messages:
            if (place := recorded.get(row.entry)) is None:
                continue
            if (begins := stretch.targeted.get(row.entry)) is None:
                opened.append(Recorded(row.entry, row.app, place, row.channel))
            else:
                pushes.append(Push(row.entry, row.app, place, BEGINNING, begins))
        ready = self._open(opened, stretch)
        _each(pushes, self._journal.open_targeted, "pushes")
        if len(recorded) < len(stretch.entries):
            entries = (one.name for one in stretch.entries)
            self._journal.drop([entry for entry in entries if entry not in recorded and entry not in pushed])
        if ready or pushed:
            self._wake(ready + len(pushed))

    def _open(self, opened: Sequence[Recorded], stretch: _Stretch) -> int:
        """Opens the messages. Returns how many can be taken that were not handed to somebody who is idle."""
        open_them = partial(self._journal.open, token=self._token)
        take = self._idle(len(opened)) if opened else None
        if take is None:
            return sum(_each(opened, open_them, "messages"))
        taken: Sequence[Opened] = ()
        try:
            documents = {one.name: one.raw.document for one in stretch.entries}
            ready, taken = self._journal.open_and_take(opened, documents, token=self._token)
        except _PASSING:
            raise
        except Exception:  # noqa: BLE001 - one by one it is found which has it
            return sum(_each(opened, open_them, "messages"))
        finally:
            take(taken)
        return ready

    def _sort(self, placed: Sequence[_Placed], *, rows: float = float("inf")) -> _Stretch:
        """The first of the entries, as many as become so many rows and at least one."""
        stretch = _Stretch()
        for one in placed:
            if stretch.rows >= rows:
                break
            stretch.entries.append(one)
            stretch.rows += 1
            self._read(stretch, one)
        return stretch

    def _read(self, stretch: _Stretch, one: _Placed) -> None:
        event, document = None, one.raw.document
        try:
            event = _decoded(one)
            if event.traceparent and (parent := sampled(event.traceparent)):
                stretch.traced.append((parent, one.name, event))
            app = self._checked(stretch, event)
            self._add(stretch, one, event, app)
        except EventError as fault:
            refusal = refusal_of(fault)
        except _PASSING:
            raise
        except Exception as fault:  # noqa: BLE001 - whatever the bug is, it stays with its entry
            _log_fault("event cannot be read, it is dead-lettered", one.name, fault)
            refusal = Refusal(f"cannot be read: {type(fault).__name__}")
        else:
            stretch.about.append((event.app, _type(event)))
            return
        if (asked := reply_id(document)) is not None:
            stretch.asked[one.name] = asked
        name, id = (event.app, event.id) if event else identify(document)
        known = name if name is not None and self._apps.app(name) is not None else ""
        stretch.about.append((known, "unknown" if event is None else _type(event)))
        stretch.refuse(one, refusal, name, id)

    def _checked(self, stretch: _Stretch, event: events.AnyEvent) -> AppSettings:
        """The event's app. Raises `Refused` for what cannot be taken."""
        app = stretch.apps.get(event.app)
        if app is None:
            app = stretch.apps[event.app] = self._app(event.app)
        if self._partition.is_spread(event.app) and not self._partition.is_right(event.app, channel_in(event)):
            raise Refused(
                f"channel: {event.app!r} is spread, and this event belongs to another partition: its producer has"
                " another hash, or does not know spread apps"
            )
        if type(event) in self._by_time:
            check_time(event.at, self._clocks.now())
        if isinstance(event, events.ActivityUpdated) and event.channel is not None:
            self._check_broadcast(event)
        return app

    def _app(self, name: str) -> AppSettings:
        if not self._partition.owns(name):
            raise Refused(f"app: {name!r} lives in another partition: its producer has another hash or layout")
        app = self._apps.app(name)
        if app is None:
            self._apps.look(since=self._taken_at)
            app = self._apps.app(name)
        if app is None:
            raise unknown_app(name)
        return app

    def _check_broadcast(self, event: events.ActivityUpdated) -> None:
        """Refuses it, as a registration, only after a look at the app's providers."""
        try:
            choose_broadcaster(event, self._apps.providers_of(event.app))
        except Refused:
            if not self._apps.look(since=self._taken_at):
                raise
            choose_broadcaster(event, self._apps.providers_of(event.app))

    def _facts_of(self, event: events.AnyEvent) -> Sequence[Fact[Any]]:
        """Those that the event changes."""
        if isinstance(event, events.MessageNew) and not is_reply(event):
            return self._of_all_messages
        return self._changed_by.get(type(event), ())

    def _add_facts(self, stretch: _Stretch, one: _Placed, event: events.AnyEvent, facts: Sequence[Fact[Any]]) -> None:
        origin = Origin(one.name, one.place, microseconds(event.at) if type(event) in self._by_time else 0)
        for fact in facts:
            if rows := fact.rows(event, origin):
                stretch.facts[fact] += rows
                stretch.rows += fact.size(event)

    def _add_device(self, stretch: _Stretch, one: _Placed, event: DeviceEvent) -> None:
        stretch.rows += len(one.raw.document) // _OCTETS
        stretch.devices.append(self._call(one, event))
        if event.reply is not None:
            stretch.asked[one.name] = event.reply

    def _call(self, one: _Placed, event: DeviceEvent) -> Call:
        """Refuses a registration only after a look at the app's providers: the first may have been stored just now."""
        try:
            return read_call(one.name, event, one.raw.document, self._apps, one.place)
        except Refused:
            if not self._apps.look(since=self._taken_at):
                raise
        return read_call(one.name, event, one.raw.document, self._apps, one.place)

    def _begins_at(self, event: events.PushSend | events.MessageDeleted) -> float:
        """UNIX seconds; 0: at once."""
        if isinstance(event, events.MessageDeleted):
            return self._clocks.now()["Redis"] + AFTER
        return event.send_at.timestamp() if event.send_at is not None else 0.0

    def _add(self, stretch: _Stretch, one: _Placed, event: events.AnyEvent, app: AppSettings) -> None:
        if facts := self._facts_of(event):
            self._add_facts(stretch, one, event, facts)
        if (row := _recorded_as(one, event, app)) is not None:
            stretch.rows += len(row.mentioned)
            stretch.messages.append(row)
        match event:
            case events.MessageNew():
                pass  # nearly all are
            case events.DeviceRegistered() | events.DeviceUnregistered():
                self._add_device(stretch, one, event)
            case events.QuietUpdated():
                stretch.quiet.add((event.app, event.user))
            case events.BadgeCleared(device=named):
                forms = None if named is None else token_forms(named.address, self._apps.providers_of(event.app))
                stretch.badges.append(Clearing(one.name, event.app, event.user, forms, event.others, one.place))
            case events.PushSend() | events.MessageDeleted():
                stretch.targeted[one.name] = self._begins_at(event)
            case _ if row is None and type(event) not in self._changed_by:
                raise Refused(f"type: {_type(event)!r} is not taken by this release")


def _recorded_as(one: _Placed, event: events.AnyEvent, app: AppSettings) -> MessageRow | None:
    """What is recorded of an event that is opened, so that its id is taken once; None where that is nothing."""
    match event:
        case events.MessageNew(message=m):
            return MessageRow(
                event.app,
                event.id,
                one.name,
                m.id,
                event.channel.id,
                event.sender.id,
                m.mentioned,
                one.place,
                event.recipients,
                microseconds(event.at) // 1000,
            )
        case events.MessageUpdated() if event.message.mentioned or app.attention.edits == "replace":
            # For whom it names first, and for those who are shown the message.
            return MessageRow(
                event.app, event.id, one.name, edits_of(event.message.id), event.channel.id, "", (), one.place
            )
        case (
            events.PushSend()
            | events.CallStarted()
            | events.CallEnded()
            | events.ActivityUpdated()
            | events.PttSpeaking()
            | events.ChannelRead()
            | events.MessageDeleted()
        ):
            # No channel and no sender. A call is in the line of no channel, and so goes before every message.
            return MessageRow(event.app, event.id, one.name, "", "", "", (), one.place)
    return None


def _write(db: Connection, stretch: _Stretch, facts: Sequence[Fact[Any]]) -> None:
    for fact in facts:
        if rows := stretch.facts.get(fact):
            fact.write(db, rows)


def _decoded(one: _Placed) -> events.AnyEvent:
    if one.raw.fault:
        raise Refused(one.raw.fault)
    event = events.decode(one.raw.document)
    if one.app is not None and event.app != one.app:
        raise Refused(f"app: {event.app!r}, but this is the stream of {one.app!r}")
    return event


def _behind(cursor: Cursor, placed: Sequence[_Placed]) -> Cursor:
    read = None if cursor.read is None else cursor.read + len(placed)
    return Cursor(placed[-1].raw.id, {one.raw.id: one.place for one in placed}, read)


def _type(event: events.AnyEvent) -> str:
    return _TYPES[type(event)]


def _counted(stretch: _Stretch, outcomes: Iterable[str]) -> Mapping[tuple[str, int], Mapping[str, int]]:
    """The events by app, type and outcome, for the counters. `outcomes`: what became of each entry."""
    found: defaultdict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for ((app, kind), outcome), n in Counter(zip(stretch.about, outcomes, strict=False)).items():
        found[app, 0][f"events.{outcome}.{kind}"] = n
    return found


def _outcomes(stretch: _Stretch, applied: _Applied) -> Iterator[str]:
    repeatable = {row.entry for row in stretch.messages}
    return (applied.outcome(one.name, repeatable=one.name in repeatable) for one in stretch.entries)


def _spans(stretch: _Stretch, applied: _Applied) -> list[Span]:
    repeatable, ended = {row.entry for row in stretch.messages}, time.time()
    spans = []
    for parent, entry, event in stretch.traced:
        outcome = applied.outcome(entry, repeatable=entry in repeatable)
        about = {"carillon.event.type": _type(event), "carillon.outcome": outcome}
        count = {"messaging.batch.message_count": len(stretch.entries)}
        spans.append(span("intake", parent, (stretch.began, ended), event.app, event.id, {**about, **count}))
    return spans


def _each(items: Sequence[_T], effect: Callable[[Sequence[_T]], object], what: str) -> list[Any]:
    """Does it for all at once; an item at which it fails is found by halves, and logged. Returns the answers."""
    if not items:
        return []
    try:
        return [effect(items)]
    except _PASSING:
        raise
    except Exception as fault:  # noqa: BLE001 - whatever the bug is, it stays with its entry
        if len(items) == 1:
            _log_fault(f"{what} cannot be written to Redis; the next leader tries again", items[0].entry, fault)
            return []
        middle: int = len(items) // 2
        return [*_each(items[:middle], effect, what), *_each(items[middle:], effect, what)]


def _log_fault(what: str, entry: str, fault: Exception) -> None:
    """Without the fault's own text, which may quote the document."""
    frames = traceback.extract_tb(fault.__traceback__)
    at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    log.error(what, extra={"entry": entry, "fault": type(fault).__name__, "at": at})
