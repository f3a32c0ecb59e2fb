"""The record of a simulator's requests and answers: a bounded number of entries, and counts of all."""

import sys
from collections import Counter, deque
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final, Literal

Mode = Literal["full", "compact", "counters"]


#: An entry is a tuple whose first fields are those of each kind: number, token, id, status, reason, at, connection, answered,
#: processed. Its last field is the payload.
_TOKEN: Final = 1
_STATUS: Final = 3
_REASON: Final = 4
_PROCESSED: Final = 8


def is_accepted(entry: tuple[Any, ...]) -> bool:
    """Whether the device shows the notification of an entry."""
    return entry[_STATUS] // 100 == 2 and entry[_REASON] is None and bool(entry[_PROCESSED])


class Record:
    """Entries in the order of the answers. The oldest are deleted beyond `limit` entries or `octets` of memory for payloads."""

    def __init__(self, entry: type[Any], mode: Mode = "full", limit: int = 1_000_000, octets: int = 256 << 20) -> None:
        self.mode = mode
        #: The NamedTuple of an entry, and the index of the payload in it.
        self._entry, self._payload = entry, len(entry._fields) - 1
        # Plain tuples of atoms, which the garbage collector does not track.
        self._rows: deque[tuple[Any, ...]] = deque()
        self._limit, self._most = limit, octets
        #: Of the payloads that are kept.
        self._octets = 0
        #: Requests decided, and accepted.
        self.total = 0
        self.accepted_total = 0
        self.unanswered = 0
        self.unprocessed = 0
        #: By status and reason; the answered 2xx only in `accepted_total`.
        self.answers: Counter[tuple[int, str | None]] = Counter()

    def add(self, row: tuple[Any, ...]) -> None:
        """Keep one entry, as the values of `Entry`; the last ones may be absent."""
        self._rows.append(row)
        self._octets += self._size(row)
        self._trim()

    def _trim(self) -> None:
        while len(self._rows) > self._limit or self._octets > self._most:
            self._octets -= self._size(self._rows.popleft())

    def accept(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Count accepted requests, and keep their entries unless only counts are kept. Row numbers begin at `total`."""
        self.total += len(rows)
        self.accepted_total += len(rows)
        if self.mode == "counters":
            return
        self._rows.extend(rows)
        if self.mode == "full":
            self._octets += sum(map(self._size, rows))
        self._trim()

    @property
    def entries(self) -> list[Any]:
        """All stored entries."""
        return [self._entry(*row) for row in tuple(self._rows)]

    @property
    def accepted(self) -> list[Any]:
        """The entries of accepted notifications."""
        return [entry for entry in self.entries if entry.accepted]

    @property
    def refused(self) -> list[Any]:
        """The entries of all others."""
        return [entry for entry in self.entries if not entry.accepted]

    def count(self, status: int, reason: str | None, answered: bool, processed: bool) -> None:
        """Count one decided request."""
        self.total += 1
        shown = status // 100 == 2 and reason is None
        if answered and shown:
            self.accepted_total += 1
            return
        self.answers[status, reason] += 1
        self.unanswered += not answered
        self.unprocessed += not processed
        self.accepted_total += shown and processed

    def since(self, number: int, limit: int, beginning: str = "") -> list[Any]:
        """Up to `limit` entries after the one of that number, only those of tokens with this beginning."""
        skipped = max(0, len(self._rows) - (self.total - number)) if number else 0
        rows = islice(self._rows, skipped, None)
        return [self._entry(*row) for row in islice((r for r in rows if r[_TOKEN].startswith(beginning)), limit)]

    def counts(self) -> dict[str, object]:
        """Totals, and the answers by reason (accepted ones as `200`)."""
        answers: dict[str, int] = {"200": self.accepted_total}
        for (status, reason), count in sorted(self.answers.items(), key=str):
            if status // 100 != 2 or reason is not None:
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

    def _size(self, row: tuple[Any, ...]) -> int:
        """Octets of memory that the payload of an entry takes."""
        return sys.getsizeof(row[self._payload]) if len(row) > self._payload else 0
