"""Looks at the running system from outside: the simulators' records, the journal's counts, the length of the queues."""

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from worker.demo.services.base import Content, Service
from worker.process.runtime import Runtime
from worker.simulator import ControlClient

#: Seconds over which the rate and the latency of the moment are taken.
_MOMENT: Final = 2.0
#: Seconds between two looks.
EVERY: Final = 0.25


class Request(NamedTuple):
    """One request as a simulator saw it, `at` in UNIX milliseconds."""

    kind: str
    token: str
    status: int
    reason: str | None
    accepted: bool
    at: float
    #: What its payload says.
    content: Content

    @property
    def message(self) -> str:
        return self.content.message


def request(entry: Mapping[str, Any], service: Service) -> Request:
    """What a simulator's record says of a request."""
    content = service.content(msgspec.json.decode(entry["payload"])) if entry["payload"] else Content()
    return Request(
        service.kind, entry["token"], entry["status"], entry["reason"], entry["accepted"], entry["at"], content
    )


def _reached(counts: Mapping[str, int]) -> list[int]:
    """Messages expanded, jobs made of them, and jobs that ended, by how."""
    return [counts.get(name, 0) for name in ("messages", "jobs", "accepted", "retired", "dropped")]


@dataclass
class Watch:
    """`look` brings everything up to date; it is cheap enough to be called all the time and does little too often."""

    runtime: Runtime
    services: Sequence[Service]
    #: Of the simulators, by kind.
    controls: Mapping[str, ControlClient]
    app: str
    #: Message id -> when it was stamped, in UNIX milliseconds.
    stamps: Mapping[str, float]
    requests: list[Request] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    #: Entries on the stream: messages whose last device has no final outcome yet.
    waiting: int = 0
    accepted: int = 0
    #: Refusals so far by reason.
    refused: Counter[str] = field(default_factory=Counter)
    #: Whether devices were refused about which it is still to be decided.
    deciding: bool = False
    #: By kind, the number of the last request.
    _seen: Counter[str] = field(default_factory=Counter)
    _looked: float = 0.0
    _changed: float = 0.0
    #: Arrival (ms) and latency (s) of the last accepted pushes.
    _recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=20_000))

    def look(self, *, now: bool = False) -> bool:
        """Whether anything was looked at: not more often than every quarter of a second, unless `now`."""
        moment = time.monotonic()
        if not now and moment - self._looked < EVERY:
            return False
        of = self.runtime.of_app(self.app)
        counts = of.journal.counts(self.app)
        if _reached(counts) != _reached(self.counts) or not self._changed:
            self._changed = moment
        self.counts = counts
        self.waiting, _ = of.journal.backlog()
        self.deciding = of.deferred_retirement.waiting()
        for service in self.services:
            for entry in self.controls[service.kind].requests(after=self._seen[service.kind]):
                self._seen[service.kind] = max(self._seen[service.kind], entry["number"])
                self._take(request(entry, service))
        self._looked = time.monotonic()
        return True

    @property
    def targeted(self) -> int:
        """Silent pushes that were begun."""
        return self.counts.get("targeted", 0)

    @property
    def expanded(self) -> int:
        return self.counts.get("messages", 0)

    @property
    def quiet(self) -> float:
        """Seconds since anything got nearer to its end; being tried again and again is no progress."""
        return time.monotonic() - self._changed

    @property
    def done(self) -> bool:
        """Whether every job that was made has its final outcome, and every device that was refused."""
        _, jobs, *final = _reached(self.counts)
        return jobs == sum(final) and not self.deciding

    def rate(self) -> float:
        """Pushes accepted a second, of late."""
        return len(self._latencies()) / _MOMENT

    def latency(self) -> float | None:
        """Median seconds from stamp to arrival, of late."""
        late = sorted(self._latencies())
        return late[len(late) // 2] if late else None

    def _latencies(self) -> list[float]:
        since = (time.time() - _MOMENT) * 1000
        recent = list(self._recent)
        return [latency for _, latency in recent[bisect_left(recent, (since, 0.0)) :]]

    def _take(self, one: Request) -> None:
        self.requests.append(one)
        if one.accepted:
            self.accepted += 1
            stamp = self.stamps.get(one.message)
            if stamp is not None:
                self._recent.append((one.at, (one.at - stamp) / 1000))
        else:
            self.refused[one.reason or str(one.status)] += 1
