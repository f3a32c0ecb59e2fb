"""What only a process that has the keys can tell: credentials that they do not open, and when those that it opens end.

Every worker writes it to Redis for everybody.
"""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from worker.core.model import Provider
from worker.database.device_secrets import DeviceSecrets
from worker.providers.kinds import kind_of
from worker.reports.reading import NOTE_SECONDS
from worker.state.partition import Fleet

#: Seconds between two notes of one process.
_EVERY: Final = NOTE_SECONDS / 4
#: Seconds for which the ends of certificates are kept after the last note.
_KEPT: Final = 86_400
#: Seconds for which it is reported that a device's secret could not be opened: pushes may be rare.
_REPORTED: Final = 600


class Notes:
    """`providers` gives what this process knows of them, by id."""

    def __init__(
        self, fleet: Fleet, providers: Callable[[], Mapping[int, Provider]], device_secrets: DeviceSecrets
    ) -> None:
        self._fleet, self._providers, self._device_secrets = fleet, providers, device_secrets
        self._host = socket.gethostname()
        self._next = 0.0
        self._ends: dict[int, tuple[Provider, float | None]] = {}

    def write(self) -> None:
        """Writes them, unless that was done in the last seconds. Nothing to say costs no command."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        providers = self._providers()
        ends = self._credentials(providers)
        unreadable = [id for id, one in providers.items() if not one.readable]
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

    def _credentials(self, providers: Mapping[int, Provider]) -> dict[Any, Any]:
        """By provider. Each is opened once for as long as it stays as it is."""
        before, self._ends = self._ends, {}
        for id, one in providers.items():
            known = before.get(id)
            self._ends[id] = known if known is not None and known[0] == one else (one, kind_of(one).ends_at(one))
        return {id: end for id, (_, end) in self._ends.items() if end is not None}
