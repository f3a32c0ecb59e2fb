"""Whether the engines answer a process, and how fast. Asked for scrapes and probes alike, once a second at most."""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from worker.database import postgres
from worker.database.migrate import pending
from worker.metrics.cached import Cached
from worker.reports.faults import sentence
from worker.state import redis

#: Seconds to connect, and to answer.
TIMEOUT: Final = 2
#: Seconds for which an answer is good, and for which a scrape or probe waits for one.
_FRESH: Final = 1.0
_PATIENCE: Final = 4.0


class Asked(NamedTuple):
    #: A sentence; None: it answered.
    fault: str | None
    #: Seconds that it took.
    seconds: float


class Engines:
    """By name: what asks an engine once, and raises where it cannot be used. Each engine is asked in a thread of its own."""

    def __init__(self, ways: Mapping[str, Callable[[], None]]) -> None:
        self._asking = {
            name: Cached(lambda ask=ask: _timed(ask), seconds=_FRESH, patience=_PATIENCE)  # type: ignore[misc]
            for name, ask in ways.items()
        }

    def ask(self) -> dict[str, Asked]:
        for asking in self._asking.values():
            asking.begin()
        return {name: _answer(asking) for name, asking in self._asking.items()}

    def faults(self) -> dict[str, str | None]:
        """By engine: why it cannot be used, None where it can."""
        return {name: asked.fault for name, asked in self.ask().items()}


def of_carillon(redis_url: str, postgres_url: str | None) -> Engines:
    """Redis and, but for a process that needs none, Postgres with this release's schema."""
    ways: dict[str, Callable[[], None]] = {"redis": lambda: _ask_redis(redis_url)}
    if postgres_url is not None:
        ways["postgres"] = lambda: _ask_schema(postgres_url)
    return Engines(ways)


def of_relay(redis_url: str, outbox_url: str) -> Engines:
    """Redis, and the database of the outbox."""
    ways: dict[str, Callable[[], None]] = {"redis": lambda: _ask_redis(redis_url)}
    return Engines(ways | {"postgres": lambda: postgres.ask(outbox_url, timeout=TIMEOUT)})


def _ask_redis(url: str) -> None:
    with redis.connect(url, timeout=TIMEOUT, retries=0) as client:
        client.ping()


class _BehindError(Exception):
    """The schema is of an earlier release."""


def _ask_schema(url: str) -> None:
    if behind := pending(url, timeout=TIMEOUT):
        raise _BehindError(f"{', '.join(behind)} not applied: run carillon migrate")


def _timed(ask: Callable[[], None]) -> Asked:
    began = time.monotonic()
    try:
        ask()
        fault = None
    except _BehindError as behind:
        fault = str(behind)
    except Exception as refused:  # noqa: BLE001 - whatever it was, the engine cannot be used
        fault = sentence(refused)
    return Asked(fault, time.monotonic() - began)


def _answer(asking: Cached[Asked]) -> Asked:
    try:
        return asking.get()
    except TimeoutError:
        return Asked(f"no answer within {_PATIENCE:g} s", _PATIENCE)
