"""Publishes the world's messages: first at a pace, as on a quiet evening, then all that is left at once."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from producers.events import AnyEvent
from producers.publisher import Publisher
from worker.demo.history import deletion, edit, message, silent
from worker.demo.world import Line, World

#: Seconds between two handfuls of the steady traffic.
_BEAT: Final = 0.05
_SLICE: Final = 200


class Traffic:
    """`at[message id]` is the UNIX time in ms of the stamp that its event bore, for all that are not late on purpose."""

    def __init__(self, world: World, publisher: Publisher) -> None:
        self._world, self._publisher = world, publisher
        self.at: dict[str, float] = {}
        self.published = 0
        self._readers = sorted(pair for pair in world.readers if pair[0] in world.active)

    def steady(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        """The world's steady lines, spread evenly over so many seconds."""
        lines = self._world.lines[: self._world.steady]
        began = time.monotonic()
        while self.published < len(lines):
            passed = time.monotonic() - began
            due = min(len(lines), 1 + int(len(lines) * passed / seconds)) if seconds else len(lines)
            self._publish(lines[self.published : due])
            meanwhile()
            time.sleep(max(0.0, min(_BEAT, seconds)))

    def burst(self, meanwhile: Callable[[], None]) -> None:
        """All other lines, as fast as they are taken."""
        lines = self._world.lines
        while self.published < len(lines):
            self._publish(lines[self.published : self.published + _SLICE])
            meanwhile()

    def edits(self) -> None:
        """All edits, of messages that were expanded."""
        now = datetime.now(UTC)
        if self._world.edits:
            self._publisher.publish_many([edit(self._world, one, now) for one in self._world.edits])

    def silent(self) -> None:
        """All silent pushes."""
        now = datetime.now(UTC)
        if self._world.syncs:
            self._publisher.publish_many([silent(self._world.app, sync, now) for sync in self._world.syncs])

    def _publish(self, lines: Sequence[Line]) -> None:
        now = datetime.now(UTC)
        events: list[AnyEvent] = []
        for line in lines:
            event = message(self._world, line, now)
            if line.deleted:
                events.append(deletion(self._world, line, now))
            events += [event, event] if line.repeated else [event]
            if not line.late:
                self.at[line.id] = now.timestamp() * 1000
        if events:
            self._publisher.publish_many(events)
        self._read(lines, now)
        self.published += len(lines)

    def _read(self, lines: Sequence[Line], until: datetime) -> None:
        """Whoever is at a desktop and reads along says so now, long before they are looked at again."""
        rooms = {line.room for line in lines}
        for user, room in self._readers:
            if room in rooms:
                self._publisher.mark_read(self._world.app, user, room, until)
