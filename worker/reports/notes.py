"""What only a process that has the keys can tell: credentials that they do not open, and when those that it opens end.

Every worker writes it to Redis for everybody.
"""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from worker.core.model import Provider
from worker.database.device_secrets import DeviceSecrets
from worker.providers.kinds import kind_of
from worker.reports.reading import NOTE_SECONDS
from worker.state.partition import Fleet

#: Seconds between two notes of one process.
_EVERY: Final = NOTE_SECONDS / 4
#: Providers that one note opens: with more than these it takes several notes until each was tried.
_AT_ONCE: Final = 500
#: Seconds for which the ends of certificates are kept after the last note.
_KEPT: Final = 86_400
#: Seconds for which it is reported that a device's secret could not be opened: pushes may be rare.
_REPORTED: Final = 600


class _Seen(NamedTuple):
    """What is known of a provider while it is stored so."""

    stored: Any
    readable: bool
    ends: float | None


class Notes:
    """`providers` gives what this process knows of them, by id; `opened` makes a provider of one."""

    def __init__(
        self,
        fleet: Fleet,
        providers: Callable[[], Mapping[int, Any]],
        opened: Callable[[Any], Provider | None],
        device_secrets: DeviceSecrets,
    ) -> None:
        self._fleet, self._providers, self._device_secrets = fleet, providers, device_secrets
        self._opened = opened
        self._host = socket.gethostname()
        self._next = 0.0
        self._seen: Mapping[int, _Seen] = {}

    def write(self) -> None:
        """Writes them, unless that was done in the last seconds. Nothing to say costs no command."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        self._seen = self._look()
        ends: dict[Any, Any] = {id: one.ends for id, one in self._seen.items() if one.ends is not None}
        unreadable = [id for id, one in self._seen.items() if not one.readable]
        keys = self._fleet.keys
        with self._fleet.redis.pipeline(transaction=False) as pipe:
            if unreadable:
                pipe.hset(keys.UNREADABLE(), mapping=dict.fromkeys(unreadable, f"{time.time():.0f} {self._host}"))
                pipe.expire(keys.UNREADABLE(), int(NOTE_SECONDS * 2))
            if self._device_secrets.failed:
                self._device_secrets.failed = False
                pipe.set(keys.UNREADABLE_DEVICES(), self._host, ex=_REPORTED)
            if ends:
                pipe.hset(keys.CERTIFICATES(), mapping=ends)
                pipe.expire(keys.CERTIFICATES(), _KEPT)
            if pipe.command_stack:
                pipe.execute()

    def _look(self) -> dict[int, _Seen]:
        """By provider. Each is opened once for as long as it stays as it is."""
        found: dict[int, _Seen] = {}
        left = _AT_ONCE
        for id, stored in self._providers().items():
            known = self._seen.get(id)
            if (known is None or known.stored is not stored) and left:
                left -= 1
                known = self._open(stored)
            if known is not None:
                found[id] = known
        return found

    def _open(self, stored: Any) -> _Seen:
        provider = self._opened(stored)
        if provider is None:  # of a kind that this release does not know
            return _Seen(stored, True, None)
        return _Seen(stored, provider.readable, kind_of(provider).ends_at(provider))
