"""Warnings about published messages that nobody can be notified of: an unknown channel, no device, no provider."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from producers.events import AnyEvent, MessageNew

if TYPE_CHECKING:
    from worker.database.notifiable import Notifiable

#: Places that are looked at: app, channel, sender, recipients.
_MOST: Final = 20
#: Seconds for earlier events to take effect.
_PATIENCE: Final = 1.0
_PAUSE: Final = 0.1

Place = tuple[str, str, str, tuple[str, ...] | None]


class Messages:
    """The messages of a feed by their places: the first of each, and of so many places."""

    def __init__(self) -> None:
        self._first: dict[Place, str] = {}

    def add(self, events: Sequence[AnyEvent]) -> None:
        for event in events:
            if isinstance(event, MessageNew) and len(self._first) < _MOST:
                recipients = None if event.recipients is None else tuple(event.recipients)
                self._first.setdefault((event.app, event.channel.id, event.sender.id, recipients), event.id)

    def warnings(self, postgres_url: str) -> list[str]:
        """A sentence for each channel or user that cannot be notified. Nothing if Postgres cannot be asked."""
        import psycopg

        from worker.database import postgres
        from worker.database.notifiable import notifiable

        found: dict[Place, str] = {}
        if not self._first:
            return []
        ends = time.monotonic() + _PATIENCE
        try:
            with postgres.connect(postgres_url, connect_timeout=2, autocommit=True) as db:
                while True:
                    found = {place: text for place in self._first for text in _faults(place, notifiable(db, *place))}
                    if not found or time.monotonic() > ends:
                        break
                    time.sleep(_PAUSE)
        except psycopg.Error:
            return []
        return [f"nobody is notified of {self._first[place]}: {text}" for place, text in found.items()]


def _faults(place: Place, there: "Notifiable") -> Iterator[str]:
    """What keeps everybody from being notified, if anything does: the first reason, and what to do."""
    app, channel, sender, recipients = place
    if not there.app:
        yield f"there is no app {app!r}: carillon app create {app}"
    elif not there.pushes:
        yield f"app {app!r} has its pushes switched off: carillon app set {app} --push"
    elif not there.provider:
        from worker.providers.kinds import commands

        yield f"app {app!r} has no provider: {commands(app)}"
    elif recipients is None and not (there.channel or there.people):
        yield f"channel {channel!r} is not known: carillon member add {channel} USER --app {app}"
    elif not there.people:
        place_of = "among the recipients" if recipients is not None else f"in channel {channel!r}"
        yield f"nobody but {sender} is {place_of}: carillon member add {channel} USER --app {app}"
    elif not there.device:
        yield f"none of them has a device: carillon push device add --app {app} --user USER --token TOKEN"
