"""What a simulator has received and decided: entries, bounded, and counts, never bounded."""

import sys
from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

from worker.http2.server.request import Request
from worker.simulator.judge import refill

Mode = Literal["full", "compact", "counters"]


class Entry(NamedTuple):
    """One request. `at` is its arrival in milliseconds since the epoch. In compact mode the fields from `topic` on are absent."""

    number: int
    token: str
    apns_id: str
    status: int
    reason: str | None
    at: float
    connection: int
    #: False where a fault or the client withheld the answer.
    answered: bool = True
    #: False where a GOAWAY or REFUSED_STREAM promised that nothing was done.
    processed: bool = True
    topic: str | None = None
    push_type: str | None = None
    priority: int | None = None
    expiration: int | None = None
    collapse_id: str | None = None
    payload: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the phone shows the notification."""
        return self.status == 200 and self.processed


_PAYLOAD: Final = Entry._fields.index("payload")


class Record:
    """Entries in the order of their decision, the oldest dropped beyond `limit` of them or `octets` of memory for payloads."""

    def __init__(self, mode: Mode = "full", limit: int = 1_000_000, octets: int = 256 << 20) -> None:
        self.mode = mode
        # Plain tuples of atoms: the garbage collector does not follow them.
        self._rows: deque[tuple[Any, ...]] = deque()
        self._limit, self._most = limit, octets
        #: Of the payloads that are kept.
        self._octets = 0
        #: Requests decided, and accepted.
        self.total = 0
        self.accepted_total = 0
        self.unanswered = 0
        self.unprocessed = 0
        #: By status and reason; the answered 200s only in `accepted_total`.
        self.answers: Counter[tuple[int, str | None]] = Counter()

    def add(self, row: tuple[Any, ...]) -> None:
        """Keep one entry, as the values of `Entry`; the last ones may be absent."""
        self._rows.append(row)
        self._octets += _octets(row)
        self._trim()

    def _trim(self) -> None:
        while len(self._rows) > self._limit or self._octets > self._most:
            self._octets -= _octets(self._rows.popleft())

    def accept(self, requests: Sequence[Request], now: float, connection: int) -> None:
        """Count, and keep as the mode says, accepted requests of known shapes. `now` is in seconds since the epoch."""
        first, about = self.total + 1, (200, None, now * 1000, connection)
        self.total += len(requests)
        self.accepted_total += len(requests)
        if self.mode == "compact":
            for number, (_, shape, values, _) in enumerate(requests, first):
                note = shape.note
                self._rows.append((number, values[note.token].decode(), values[note.apns_id].decode(), *about))
        elif self.mode == "full":
            for number, (_, shape, values, body) in enumerate(requests, first):
                token, apns_id, *rest = refill(shape.note, values)
                self._rows.append((number, token, apns_id, *about, True, True, *rest, body.decode("utf-8", "replace")))
            for place in range(-len(requests), 0):
                self._octets += _octets(self._rows[place])
        self._trim()

    @property
    def entries(self) -> list[Entry]:
        """All entries that are kept."""
        return [Entry(*row) for row in tuple(self._rows)]

    @property
    def accepted(self) -> list[Entry]:
        """The entries of accepted notifications."""
        return [entry for entry in self.entries if entry.accepted]

    @property
    def refused(self) -> list[Entry]:
        """The entries of all others."""
        return [entry for entry in self.entries if not entry.accepted]

    def count(self, status: int, reason: str | None, answered: bool, processed: bool) -> None:
        """Count one decided request."""
        self.total += 1
        if answered and status == 200:
            self.accepted_total += 1
            return
        self.answers[status, reason] += 1
        self.unanswered += not answered
        self.unprocessed += not processed
        self.accepted_total += status == 200 and processed

    def since(self, number: int, limit: int) -> list[Entry]:
        """Up to `limit` entries after the one of that number."""
        skipped = max(0, len(self._rows) - (self.total - number)) if number else 0
        return [Entry(*row) for row in islice(self._rows, skipped, skipped + limit)]

    def counts(self) -> dict[str, object]:
        """Totals, and the answers by reason (accepted ones as `200`)."""
        answers: dict[str, int] = {"200": self.accepted_total}
        for (status, reason), count in sorted(self.answers.items(), key=str):
            if status != 200:
                answers[reason or str(status)] = count
        return {
            "total": self.total,
            "accepted": self.accepted_total,
            "unanswered": self.unanswered,
            "unprocessed": self.unprocessed,
            "answers": answers,
        }

    def clear(self) -> None:
        """Forget everything."""
        self._rows.clear()
        self._octets = 0
        self.answers.clear()
        self.total = self.accepted_total = self.unanswered = self.unprocessed = 0


def _octets(row: tuple[Any, ...]) -> int:
    """Of memory that the payload of an entry takes."""
    return sys.getsizeof(row[_PAYLOAD]) if len(row) > _PAYLOAD else 0
