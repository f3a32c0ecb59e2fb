"""The order of the streams: round after round, the leader takes some entries of every stream that has unread ones.

All apps share the inlet. Its entries are applied at once while nothing more waits behind them and their apps are within their
share. Otherwise the leader walks over the inlet and moves the entries of all apps but the first to their own streams, in order
and without decoding them: only the app with the backlog waits.

An app's entries are applied in the order of its stream. Its entries on the inlet are moved to the end of its own stream.

A spread app's entries wait until what was published in its home before them is in force (`worker/pipeline/barrier.py`). They are
read from the app's own stream alone: what stands on the inlet is moved there.

An app is *full* while it has its share of `max_open` ready to be expanded or sent; its entries wait on their stream.
"""

import logging
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice, takewhile
from typing import Final

from worker.core.entry import id_key
from worker.core.pace import OCTETS, ROWS, Pace, aim
from worker.database import cursors, lineages
from worker.database.cursors import BEGINNING, Cursor
from worker.database.lease import Lease
from worker.pipeline.apps import Apps
from worker.pipeline.barrier import Barrier
from worker.pipeline.intake import Intake
from worker.state.journal import Journal
from worker.state.streams import Figures, RawEntry, Read, Streams, app_named

log = logging.getLogger(__name__)

#: Seconds between two looks at all streams.
_LOOK: Final = 1.0
#: The same where something has just come: the look waits for a pause of so many seconds, so that it delays no message.
_LOOK_AT_LAST: Final = 1.5
_PAUSE: Final = 0.05
#: Seconds after which it is written again that nothing waits unread. How full Redis is the tick writes each second.
_TELL: Final = 5.0
#: Seconds that a round spends on walking over the inlet at most.
_WALK: Final = 0.1
#: Streams of apps that the leader waits at; it finds entries on the others when it looks.
_AWAITED: Final = 100
#: Streams on which nothing has come for so many seconds are looked at in turn, so many at a time: of 10,000 each after 5 s.
_QUIET: Final = 60.0
_IN_TURN: Final = 2_000
#: Seconds until it looks again whether a full app has room, and for which a leader that finds entries as they come knows that:
#: the second, or the third while it has taken fewer entries than these.
_FULL: Final = 0.02
_ROOM: Final = 0.25
_ROOM_OF_FEW: Final = 2.0
_FEW: Final = 50
#: Seconds that an id may be ahead of the server's clock before that is worth a line, and between two such lines.
_AHEAD: Final = 60.0
_LAST_ID: Final = "18446744073709551615-18446744073709551615"


class _Line:
    """What the leader knows of one stream. Of thousands those that wait, and the last in use, are known as such."""

    def __init__(self, stream: str, app: str | None, cursor: Cursor, pace: Pace, lines: "_Lines") -> None:
        self.stream, self.app, self.cursor, self.pace = stream, app, cursor, pace
        #: Up to which entry it is noted that all are done; only of spread apps.
        self.noted = BEGINNING
        self.active_at = time.monotonic()
        self.warned_at = float("-inf")
        self._lines = lines

    @property
    def after(self) -> str:
        return self.cursor.id

    @property
    def waits(self) -> bool:
        """Whether entries wait behind the cursor, as far as is known."""
        return self.stream in self._lines.waiting

    @waits.setter
    def waits(self, waits: bool) -> None:
        if waits:
            self._lines.waiting[self.stream] = self
        else:
            self._lines.waiting.pop(self.stream, None)

    @property
    def direct(self) -> bool:
        """Whether it is an app's and producers write to it: only of what the leader moved itself does it know without looking."""
        return self.stream in self._lines.direct

    def found_direct(self) -> None:
        """Something was found on it that the leader did not move there."""
        if self.app is not None:
            self._lines.direct.add(self.stream)

    def in_use(self) -> None:
        """Something has come on it."""
        self.active_at = time.monotonic()
        self._lines.by_use.move_to_end(self.stream)


class _Lines(dict[str, _Line]):
    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[str, _Line] = {}
        self.direct: set[str] = set()
        #: The last in use comes last.
        self.by_use: OrderedDict[str, _Line] = OrderedDict()

    def add(self, stream: str, app: str | None, cursor: Cursor, pace: Pace) -> _Line:
        made = self[stream] = self.by_use[stream] = _Line(stream, app, cursor, pace, self)
        return made

    def of_apps(self) -> list[_Line]:
        """Those of apps that wait."""
        return [line for line in self.waiting.values() if line.app is not None]

    def latest(self) -> Iterator[_Line]:
        """The last in use first."""
        return reversed(self.by_use.values())


class Rounds:
    """One leader's reading of all streams; `paces` outlives it, by stream. `batch`: entries in the largest step.

    `urgent`: around the taking of what comes where nothing waited.
    """

    def __init__(
        self,
        streams: Streams,
        intake: Intake,
        journal: Journal,
        apps: Apps,
        lease: Lease,
        *,
        batch: int,
        max_open: int,
        paces: dict[str, Pace],
        barrier: Barrier,
        urgent: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._barrier = barrier
        self._streams, self._intake, self._journal, self._apps = streams, intake, journal, apps
        self._names, self._urgent = streams.names, urgent
        self._lease, self._batch, self._max_open, self._paces = lease, batch, max_open, paces
        self._lines = _Lines()
        self._cursors: Mapping[str, Cursor] = {}
        self._known: set[str] = set()
        #: Up to which id the inlet was walked over, and whose entries were left there; all other apps' were moved.
        self._walked = BEGINNING
        self._head: str | None = None
        self._looked_at = float("-inf")
        #: Whether the last round took all that there was.
        self._just_taken = False
        #: Whether entries that wait unread were written down for publishers, and when anything was.
        self._written, self._written_at = False, float("-inf")
        #: The last of the quiet apps that was looked at.
        self._looked_to = ""
        #: Apps that have their share of what may be ready.
        self._full: Collection[str] = ()
        self._full_at = float("-inf")
        #: Entries that were taken since.
        self._taken = 0
        self._lineage = ""
        #: Whether another server has the streams by now. It may have them as they were a moment before: of what this leader has
        #: opened some may not be open there, behind the cursor. A leader that begins takes it again.
        self.replaced = False
        #: What came with the news that there is something, by stream.
        self._found: dict[str, Read] = {}

    def begin(self) -> int:
        """Reads the cursors, and takes again what a leader before left; returns how many entries that were."""
        self._lineage = self._streams.lineage()
        self._barrier.begin()
        self._streams.lead(self._lease.token)
        with self._lease.transaction() as db:
            self._cursors = cursors.read(db, self._names)
            replaced = lineages.note(db, self._names.inlet, self._lineage)
        self._intake.begin(self._lease.token, replaced, self._has_moved)
        for stream, pace in self._paces.items():
            self._paces[stream] = min(pace, Pace())
        self._line(self._names.inlet)
        self._known = self._streams.known()
        self.look(every=True)
        for app in self._known.intersection(self._barrier.spread):
            self._line(self._names.stream_for(app))  # its first entry is awaited: it never comes by the inlet
        found = sum(self._take_again(line) for line in list(self._lines.values()))
        self._note_finished()
        return found

    def _has_moved(self) -> bool:
        """Whether another server has the streams since this leader began."""
        return self._streams.lineage() != self._lineage

    def step(self, wait: float) -> int:
        """One round: a stretch of every stream that has something. Waits up to `wait` seconds where none has.

        Returns how many entries were applied.
        """
        since = time.monotonic() - self._looked_at
        looks = since >= _LOOK_AT_LAST or (since >= _LOOK and not self._just_taken)
        if looks:
            self.look()
            self._note_finished()
        elif since >= _LOOK:
            wait = min(wait, _PAUSE)
        self._just_taken = False
        self._found.clear()
        came = self.idle
        if not came:
            if not looks:  # that has just found it
                self._look_for_room()
        elif not self._wait(wait):
            return 0
        with self._urgent() if came else nullcontext():
            taken = self._take_inlet()
            for line in self._lines.of_apps():
                if line.app is not None and line.app not in self._full:
                    taken += self._take_own(line, line.app)
        self._taken += taken
        if came and time.monotonic() - self._full_at >= (_ROOM if self._full or self._taken > _FEW else _ROOM_OF_FEW):
            self._look_for_room()
        if not taken and not self.idle:
            self._wait_for_others(min(wait, _FULL))
        self._just_taken = bool(taken) and self.idle
        return taken

    @property
    def idle(self) -> bool:
        """Whether no stream has unread entries, as far as is known."""
        return not self._lines.waiting

    def _look_for_room(self) -> None:
        """Finds the apps that have their share of what may be ready."""
        self._note_load(self._journal.load())

    def _note_load(self, load: Mapping[str, tuple[int, int]]) -> None:
        share = self._max_open / max(1, len(load))
        self._full, self._full_at = {app for app, ready in load.items() if max(ready) >= share}, time.monotonic()
        self._taken = 0

    def _wait(self, seconds: float) -> bool:
        """Whether a stream has something within so many seconds. The first entries of those that have come with the answer."""
        lines = {self._names.inlet: self._lines[self._names.inlet].after}
        lines |= {line.stream: line.after for line in islice(self._lines.latest(), _AWAITED)}
        found = self._streams.wait(lines, seconds)
        for stream in found:
            line = self._lines[stream]
            line.found_direct()
            line.waits = True
        if found:
            # Where there is more than came, all is read at once.
            whole = {stream: read for stream, read in found.items() if not read.more}
            if self._names.inlet not in found:
                whole[self._names.inlet] = Read((), self._lines[self._names.inlet].after, more=False)
            self._found = whole
        return bool(found)

    def _wait_for_others(self, seconds: float) -> None:
        """What waits cannot be taken now: its app is full, or waits for its home. Something may come for others meanwhile."""
        lines = (self._lines[self._names.inlet], *islice(self._lines.latest(), _AWAITED))
        if not (awaited := {line.stream: line.after for line in lines if not line.waits}):
            time.sleep(seconds)
            return
        for stream in self._streams.wait(awaited, seconds):
            line = self._lines[stream]
            line.found_direct()
            line.waits = True

    # the inlet

    def _take_inlet(self) -> int:
        inlet = self._lines[self._names.inlet]
        blocked = {*self._full, *(line.app for line in self._lines.of_apps())}
        # Only whether it is still the first app's turn to wait is to be seen then.
        most = 1 if self._head in blocked else inlet.pace.of(self._batch)
        read = self._found_or_read(inlet, most)
        if not read.entries:
            inlet.waits = False
            return 0
        entries = self._without_spread(read.entries)
        if not entries:
            inlet.waits = read.more
            return 0
        blocked |= self._found_direct(entries)
        if blocked:
            owners = [self._owner(entry) for entry in entries]
            if owners[0] in blocked:
                inlet.waits = True
                self._walk(owners[0])
                return 0
            behind = [(e.id, app) for e, app in zip(entries, owners, strict=True) if app is not None and app in blocked]
            self._move(behind)
            moved = {id for id, _ in behind}
            entries = [entry for entry in entries if entry.id not in moved]
        taken = self._apply(inlet, entries)
        inlet.waits = read.more or taken < len(entries)
        # Where rows or octets ended the step, the number of the others says little.
        of_number = taken == len(entries) and len(read.entries) >= most
        if inlet.waits and not (of_number and self._next_step_takes_rest(inlet)):
            self._walk(self._owner(entries[min(taken, len(entries) - 1)]))
        return taken

    def _next_step_takes_rest(self, inlet: _Line) -> bool:
        """Whether what is left on the inlet is no backlog: nobody waits there for longer than the next step takes."""
        figures = self._streams.figures({inlet.stream: inlet.after}).get(inlet.stream)
        return figures is not None and figures.behind(inlet.cursor.read) <= inlet.pace.of(self._batch)

    def _without_spread(self, entries: Sequence[RawEntry]) -> Sequence[RawEntry]:
        """Those of other apps. What producers have put here of a spread one is moved to its own stream."""
        if not self._barrier.spread:
            return entries
        owners = [self._owner(entry) for entry in entries]
        strays = [(e.id, app) for e, app in zip(entries, owners, strict=True) if app in self._barrier.spread]
        self._move([(id, app) for id, app in strays if app is not None])
        moved = {id for id, _ in strays}
        return [entry for entry in entries if entry.id not in moved]

    def _walk(self, head: str | None) -> None:
        """Moves what other apps than `head` have on the inlet behind the cursor.

        Whose entries an earlier walk has left, those it leaves: an app's later entries must not pass its earlier ones.
        """
        after = self._lines[self._names.inlet].after
        if id_key(after) < id_key(self._walked):
            after, head = self._walked, self._head
        self._head, ends = head, time.monotonic() + _WALK
        if self._known <= {head}:  # nobody else is there
            return
        while True:
            walked = self._streams.walk(after, head)
            for app in walked.moved:
                self._moved_to(app)
            if walked.unclear:
                named = [(id, app or app_named(document)) for id, app, document in walked.unclear]
                self._move([(id, app) for id, app in named if app is not None and app != head and app in self._known])
            after = self._walked = walked.last
            if not walked.more or time.monotonic() > ends:
                return

    def _move(self, entries: Sequence[tuple[str, str]]) -> None:
        if entries:
            self._streams.move(entries)
            for app in {app for _, app in entries}:
                self._moved_to(app)

    def _moved_to(self, app: str) -> None:
        line = self._line(self._names.stream_for(app))
        line.waits = True
        line.in_use()
        # What was found on it ends before what was moved behind it.
        self._found.pop(line.stream, None)

    def _owner(self, entry: RawEntry) -> str | None:
        """The app of an entry of the inlet, where it is one that there is."""
        app = None if entry.fault else app_named(entry.document)
        return app if app in self._known else None

    def _found_direct(self, entries: Sequence[RawEntry]) -> set[str]:
        """Those of the entries' apps whose producers have put something on the app's own stream."""
        if not self._lines.direct:
            return set()
        lines = (
            self._lines.get(self._names.stream_for(app)) for app in {*map(self._owner, entries)} if app is not None
        )
        asked = [line for line in lines if line is not None and line.direct and not line.waits]
        figures = self._streams.figures({line.stream: line.after for line in asked}) if asked else {}
        for line in asked:
            line.waits = line.stream in figures and figures[line.stream].unread is not None
        return {line.app for line in asked if line.waits and line.app is not None}

    # any stream

    def _line(self, stream: str) -> _Line:
        line = self._lines.get(stream)
        if line is None:
            cursor, pace = self._cursors.get(stream, Cursor(read=0)), self._paces.get(stream, Pace())
            line = self._lines.add(stream, self._names.app_of(stream), cursor, pace)
        return line

    def _found_or_read(self, line: _Line, most: int | None = None) -> Read:
        found = self._found.pop(line.stream, None)
        if found is not None:
            return found
        most = most or line.pace.of(self._batch)
        return self._streams.read(line.stream, line.after, entries=most, octets=line.pace.of(OCTETS))

    def _take_own(self, line: _Line, app: str) -> int:
        """Of the app's own stream."""
        if not self._barrier.concerns(app):
            taken = self._take(line, self._found_or_read(line))
            self._note_finished()
            return taken
        if self._barrier.holds(app):
            return 0
        read = self._found_or_read(line)
        if not read.entries:
            line.waits = False
            return 0
        entries = self._barrier.let(app, read.entries)
        if not entries:
            return 0
        return self._take(line, Read(entries, entries[-1].id, read.more or len(entries) < len(read.entries)))

    def _note_finished(self) -> None:
        """Leaders of other partitions wait for this of spread apps whose home this is."""
        for app in self._barrier.at_home:
            line = self._lines.get(self._names.stream_for(app))
            if line is not None and line.noted != line.after:
                self._streams.note_finished(line.stream, line.after)
                line.noted = line.after

    def _take(self, line: _Line, read: Read) -> int:
        if not read.entries:
            line.waits = False
            return 0
        line.in_use()
        taken = self._apply(line, read.entries)
        line.waits = read.more or taken < len(read.entries)
        return taken

    def _apply(self, line: _Line, entries: Sequence[RawEntry]) -> int:
        """Applies the first of the entries; returns how many."""
        began, before = time.monotonic(), line.pace
        # If this process dies or fails here, the next step is small.
        self._paces[line.stream] = before.failed()
        line.cursor, taken = self._intake.take(line.stream, line.cursor, entries, rows=line.pace.of(ROWS))
        waiting = len(self._lines.waiting)
        line.pace = self._paces[line.stream] = before.after(time.monotonic() - began, aim(waiting))
        self._lease.renew()
        return taken

    def _take_again(self, line: _Line) -> int:
        """Takes entries up to the cursor that are not open; returns how many."""
        after, found = BEGINNING, 0
        while line.after != BEGINNING:
            read = self._streams.unopened(line.stream, after, line.after)
            self._intake.take_again(line.stream, line.cursor, read.entries)
            self._lease.renew()
            found += len(read.entries)
            after = read.last
            if not read.more:
                break
        return found

    # what others do to the streams

    def look(self, *, every: bool = False) -> None:
        """Finds streams with unread entries, compares them with what was read of them, and tells publishers how many wait.

        With very many apps, of those on whose streams nothing comes only a part, unless `every` one is wanted.
        """
        self._looked_at = time.monotonic()
        self._lease.tell()
        self._intake.look_ahead()
        apps = {app for app in self._apps.names() if self._streams.owns(app)}
        if apps != self._known:
            self._streams.know(apps, self._known)
            self._known = set(apps)
        after = {self._names.inlet: self._lines[self._names.inlet].after}
        for app in apps if every else self._in_turn(apps):
            stream = self._names.stream_for(app)
            line = self._lines.get(stream)
            after[stream] = line.after if line is not None else self._cursors.get(stream, Cursor()).id
        looked = self._streams.look(after)
        self.replaced = looked.lineage != self._lineage
        self._note_load(looked.load)
        found = dict(looked.figures)
        if self._names.inlet not in found and self._lines[self._names.inlet].after != BEGINNING:
            found[self._names.inlet] = Figures(0, BEGINNING, 0, 0, None)
        unread: dict[str, int] = {}
        for stream, of in found.items():
            line = self._line(stream)
            self._compare(line, of)
            if of.unread is not None and not line.waits:
                line.found_direct()
            line.waits = of.unread is not None
            whose = self._head if line.app is None else line.app
            if line.waits and whose is not None:
                unread[whose] = unread.get(whose, 0) + of.behind(line.cursor.read)
        now = time.monotonic()
        if unread or self._written or now - self._written_at >= _TELL:
            self._streams.tell_pressure(unread)
            self._written, self._written_at = bool(unread), now

    def _in_turn(self, apps: Collection[str]) -> Iterable[str]:
        """Those whose streams are looked at now: all that are in use, and a part of the others."""
        if len(apps) <= _IN_TURN:
            return apps
        since = time.monotonic() - _QUIET
        busy = {line.app for line in self._lines.waiting.values()}
        busy |= {line.app for line in takewhile(lambda line: line.active_at > since, self._lines.latest())}
        quiet = sorted(apps)
        first = bisect_right(quiet, self._looked_to)
        turn = [*quiet[first : first + _IN_TURN], *quiet[: max(0, first + _IN_TURN - len(quiet))]]
        self._looked_to = turn[-1]
        return {*turn, *(app for app in busy if app is not None)} & {*apps}

    def _compare(self, line: _Line, figures: Figures) -> None:
        before, counted = line.cursor.read, None if figures.added is None else figures.added - figures.moved
        lost = 0 if counted is None or before is None else before - counted
        if lost > 0 or id_key(figures.last) < id_key(line.after):
            self._has_gone_back(line, figures, max(1, lost))
        elif figures.unread is None and counted is not None:
            missing = -lost
            if missing > 0:
                log.error(
                    "entries were taken off the stream before they were read: find the producer that trims it"
                    " (XADD with MAXLEN or MINID, XTRIM, XDEL); or Postgres came back from an older copy",
                    extra={"stream": line.stream, "entries": missing},
                )
                self._streams.note_trimmed(line.stream, missing)
            if before != counted:
                self._correct(line, line.cursor._replace(id=figures.last, read=counted))
        self._warn_of_ids(line, figures)

    def _has_gone_back(self, line: _Line, figures: Figures, lost: int) -> None:
        """Redis came back empty, from an older copy, or with an older clock: what it has now may never have been read."""
        log.error(
            "the stream ends before what was read of it, or has had fewer entries: Redis has lost entries, or came back from an"
            " older copy or with an older clock; what it has now is read, what it lost is lost",
            extra={"stream": line.stream, "cursor": line.after, "last": figures.last, "entries": lost},
        )
        self._streams.note_trimmed(line.stream, lost)
        ends = min(line.after, figures.last, key=id_key)
        self._correct(line, line.cursor._replace(id=ends, read=None))
        self._walked, self._head = BEGINNING, None
        self._streams.know(self._known, ())
        self._take_again(line)

    def _correct(self, line: _Line, cursor: Cursor) -> None:
        with self._lease.transaction() as db:
            cursors.move(db, line.stream, line.cursor, cursor)
        line.cursor = cursor

    def _warn_of_ids(self, line: _Line, figures: Figures) -> None:
        ahead = id_key(figures.last)[0] / 1000 - time.time()
        if ahead < _AHEAD or time.monotonic() - line.warned_at < _AHEAD:
            return
        line.warned_at = time.monotonic()
        if figures.last == _LAST_ID:
            log.error(
                "the stream has the last id that there is, nothing more can be added: once nothing is left on it, delete the key",
                extra={"stream": line.stream},
            )
        else:
            log.warning(
                "ids of the stream are ahead of the clock: a producer chose one, or the clock of Redis was ahead",
                extra={"stream": line.stream, "last": figures.last, "seconds": round(ahead)},
            )
