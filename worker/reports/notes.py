"""What only a process that has the keys can tell: credentials that they do not open, and when certificates end.

Every worker writes it to Redis for everybody.
"""

import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from worker.core.model import Provider
from worker.providers.apns.certificate import CertificateError, load
from worker.reports.reading import NOTE_SECONDS
from worker.state import keys
from worker.state.redis import Redis

#: Seconds between two notes of one process.
_EVERY: Final = NOTE_SECONDS / 4
#: Seconds for which the ends of certificates are kept after the last note.
_KEPT: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def readable(provider: Provider) -> bool:
    """Whether the keys at hand opened its credential."""
    return bool(provider.key or provider.certificate or provider.secrets)


def certificate_end(provider: Provider) -> float | None:
    """UNIX seconds at which the provider's certificate ends; None where it has none, or one that cannot be used."""
    if provider.certificate is None:
        return None
    try:
        certificate = load(provider.certificate, provider.certificate_password, now=_EPOCH, topic=provider.topic)
    except CertificateError:
        return None
    return certificate.expires_at.timestamp()


class Notes:
    """`providers` gives what this process knows of them, by id."""

    def __init__(self, redis: Redis, providers: Callable[[], Mapping[int, Provider]]) -> None:
        self._redis, self._providers = redis, providers
        self._host = socket.gethostname()
        self._next = 0.0
        self._ends: dict[tuple[int, int], float | None] = {}

    def write(self) -> None:
        """Writes them, unless that was done in the last seconds. Nothing to say costs no command."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY
        providers = self._providers()
        ends = self._certificates(providers)
        unreadable = [id for id, one in providers.items() if not readable(one)]
        with self._redis.pipeline(transaction=False) as pipe:
            if unreadable:
                pipe.hset(keys.UNREADABLE(), mapping=dict.fromkeys(unreadable, f"{time.time():.0f} {self._host}"))
                pipe.expire(keys.UNREADABLE(), int(NOTE_SECONDS * 2))
            if ends:
                pipe.hset(keys.CERTIFICATES(), mapping=ends)
                pipe.expire(keys.CERTIFICATES(), _KEPT)
            if pipe.command_stack:
                pipe.execute()

    def _certificates(self, providers: Mapping[int, Provider]) -> dict[Any, Any]:
        """By provider. Each is opened once for as long as it stays as it is."""
        keys = {(id, hash(one.certificate)): one for id, one in providers.items() if one.certificate is not None}
        self._ends = {key: self._ends[key] if key in self._ends else certificate_end(one) for key, one in keys.items()}
        return {id: end for (id, _), end in self._ends.items() if end is not None}
