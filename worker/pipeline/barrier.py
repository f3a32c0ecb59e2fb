"""Holds a spread app's entries back until what was published before them is in force.

A spread app has users, devices and preferences in its home, and each channel in a partition of its own (`producers/routing.py`).
A leader that has read entries of a channel's partition then looks at the end of the app's stream in the home, and takes them
once the home's leader has committed up to there, and has carried out in Redis what it committed. So what was published before
a message is in force when it is expanded: the look comes after the read, and the read after the publishing. Something that
was published later may be in force as well.

Only the entries of that app wait, and they wait for as long as it takes: a killed leader is replaced within ten seconds. While
the home's Redis is away they wait too, and other apps go on.
"""

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

from config.seldom import Seldom
from worker.core.entry import id_key
from worker.database import cursors
from worker.database.cursors import BEGINNING
from worker.database.postgres import Pool
from worker.state import redis
from worker.state.partition import Keyspace, Partition
from worker.state.parts import Parts
from worker.state.streams import Figures, RawEntry, Streams

log = logging.getLogger(__name__)

#: Seconds for which entries wait before that is worth a line in the log.
LONG: Final = 10.0
#: Seconds until a home is asked again after a fault.
_AGAIN: Final = 1.0


class _Ticket:
    """Entries up to `last` wait for the home to be committed up to `tail`; None: nobody knows how far that is."""

    def __init__(self, last: str) -> None:
        self.last, self.since = last, time.monotonic()
        self.tail: str | None = None
        self.reached = False
        self.asked_at = float("-inf")


class Barrier:
    """Of one partition, for the leaders that this process has of it. Not safe for threads."""

    def __init__(self, keyspace: Keyspace, partition: Partition, pool: Pool) -> None:
        self._keyspace, self._partition, self._pool = keyspace, partition, pool
        self._tickets: dict[str, _Ticket] = {}
        #: App -> up to where its home's stream was known to be committed.
        self._committed: dict[str, str] = {}
        self._homes: dict[str, _Home] = {}
        self._apart = Parts(passing=redis.Unavailable)
        self._at_home: Collection[str] | None = None
        self._seldom = Seldom(log)

    def begin(self) -> None:
        """A leader begins: what another one has read is nothing to it."""
        self._tickets.clear()

    @property
    def spread(self) -> Collection[str]:
        """The spread apps."""
        return self._keyspace.layout.spread

    @property
    def at_home(self) -> Collection[str]:
        """Those of them whose home is here."""
        if self._at_home is None:
            self._at_home = [app for app in self.spread if self._partition.is_home(app)]
        return self._at_home

    def concerns(self, app: str) -> bool:
        """Whether entries of the app wait for another partition."""
        return app in self.spread and not self._partition.is_home(app)

    def holds(self, app: str) -> bool:
        """Whether entries of the app that were read before wait still."""
        ticket = self._tickets.get(app)
        return ticket is not None and not self._has_reached(app, ticket)

    def let(self, app: str, entries: Sequence[RawEntry]) -> Sequence[RawEntry]:
        """The first of these entries of the app, which were read just now, that may be taken."""
        ticket = self._tickets.get(app)
        if ticket is None:
            ticket = self._tickets[app] = _Ticket(entries[-1].id)
        if not self._has_reached(app, ticket):
            return ()
        del self._tickets[app]
        end = id_key(ticket.last)
        return [entry for entry in entries if id_key(entry.id) <= end]

    def _has_reached(self, app: str, ticket: _Ticket) -> bool:
        if ticket.reached:
            return True
        home, now = self._home(app), time.monotonic()
        if ticket.tail is None:
            if now - ticket.asked_at < _AGAIN:
                return False
            found = home.look(self._committed.get(app, BEGINNING))
            ticket.asked_at = now
            if found is None:
                self._tell(app, ticket, "its server does not answer")
                return False
            ticket.tail = found.last
            if _is_committed(found, self._committed.get(app, BEGINNING), found.last):
                ticket.reached = True
                return True
        with self._pool.connection() as db:
            cursor = cursors.committed(db, home.stream)
        if cursor != self._committed.get(app) or now - ticket.asked_at >= _AGAIN:
            # Behind it there is nothing up to the tail, or something was lost, which the leader of the home has still to notice.
            ticket.asked_at = now
            found = home.look(cursor)
            if found is None or home.has_finished(cursor):
                self._committed[app] = cursor
            if found is not None:
                ticket.tail = min(ticket.tail, found.last, key=id_key)
                ticket.reached = _is_committed(found, cursor, ticket.tail)
        if not ticket.reached:
            self._tell(app, ticket, f"it has to be committed up to {ticket.tail}, and is up to {cursor}")
        return ticket.reached

    def _home(self, app: str) -> "_Home":
        if app not in self._homes:
            home = self._keyspace.of_app(app)
            self._homes[app] = _Home(app, home, None if home.redis is self._partition.redis else self._apart)
        return self._homes[app]

    def _tell(self, app: str, ticket: _Ticket, why: str) -> None:
        if time.monotonic() - ticket.since >= LONG:
            home = self._keyspace.layout.home_of(app)
            self._seldom.warning(
                "messages of a spread app wait for its home partition",
                extra={"app": app, "home": home, "partition": self._partition.index, "why": why},
            )


def _is_committed(found: Figures, cursor: str, tail: str) -> bool:
    """Whether nothing up to `tail` waits where the leader has committed up to `cursor`.

    A stream that ends before the cursor has lost entries.
    """
    if found.last == BEGINNING:
        return True
    if id_key(cursor) > id_key(found.last):
        return False
    return found.unread is None or id_key(found.unread) > id_key(tail)


class _Home:
    """An app's own stream in its home.

    Where that is another server's, it is asked `apart`: one that is away may be slow to say so.
    """

    def __init__(self, app: str, home: Partition, apart: Parts | None) -> None:
        self.stream = home.names.stream_for(app)
        self._streams, self._apart, self._part = Streams(home), apart, f"home-{home.index}"
        self._finished = BEGINNING

    def look(self, cursor: str) -> Figures | None:
        """The stream as it is now; None where its server does not answer."""
        if self._apart is None:
            with suppress(*redis.Unavailable):
                return self._ask(cursor)
            return None
        outcome = self._apart.call(self._part, lambda: self._ask(cursor))
        if outcome is None:
            return None
        if outcome.fault is not None and not isinstance(outcome.fault, redis.Unavailable):
            log.error("the home of a spread app cannot be asked", exc_info=outcome.fault)
        found: Figures | None = outcome.value
        return found

    def _ask(self, cursor: str) -> Figures:
        found = self._streams.figures({self.stream: cursor}).get(self.stream)
        if found is None:
            return Figures(0, BEGINNING, 0, 0, None)
        if not self.has_finished(cursor):
            self._finished = self._streams.finished(self.stream)
            if not self.has_finished(cursor):
                # Committed, and not yet carried out in Redis: a badge may still have the number from before its clearing.
                ms, n = id_key(self._finished)
                return found._replace(unread=f"{ms}-{n + 1}")
        return found

    def has_finished(self, cursor: str) -> bool:
        """Whether its leader has carried out all up to there, as far as is known."""
        return id_key(cursor) <= id_key(self._finished)
