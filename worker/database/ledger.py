"""The ledger, with the outcome of every member of every message; and the dead letters."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import psycopg

from producers.events import MAX_DOCUMENT
from worker.core.ledger_entry import Entry
from worker.core.tally import is_tally
from worker.database import ledger_rows, locks, tallies
from worker.database.device_use import Use
from worker.database.letter_log import log_letters
from worker.database.postgres import Connection, Pool
from worker.database.retention import forget, forget_older, in_bites, keep_days, older

log = logging.getLogger(__name__)


class _Batch(msgspec.Struct, frozen=True):
    """The part of a delivered batch's ledger entry that says which devices are in use."""

    accepted: list[tuple[str, int]] = []


#: Bytes of a dead letter's document that are kept. An event may have as many; a larger document is cut.
LARGEST: Final = MAX_DOCUMENT
BEGINNING: Final = 1024
#: Dead letters that an app may have, and bytes of all their documents. Beyond that the oldest are deleted.
PER_APP: Final = 10_000
PER_APP_BYTES: Final = 256 * 1024 * 1024
#: The same for all together: a document may name an app that does not exist.
IN_ALL: Final = 100_000
IN_ALL_BYTES: Final = 2 * 1024 * 1024 * 1024

_decode: Final = msgspec.json.Decoder(Entry).decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode


class DeadLetter(NamedTuple):
    """`size` in bytes of the whole document; `document` may be only its beginning."""

    entry: str
    app: str | None
    event_id: str | None
    error: str
    document: bytes
    size: int | None = None


class StoredLetter(NamedTuple):
    """`at` in UNIX seconds, `size` in bytes of the whole document: beyond `LARGEST` only the beginning is kept."""

    id: int
    at: float
    size: int
    letter: DeadLetter

    @property
    def whole(self) -> bool:
        return self.size <= LARGEST


class Selection(NamedTuple):
    """Selects dead letters of one app or of all, before a time (UNIX seconds) or at any time.

    `error` is a part of the error, `upto` the highest id.
    """

    app: str | None = None
    before: float | None = None
    error: str | None = None
    upto: int | None = None


class Accounts(Protocol):
    """Where ledger entries wait to be written to Postgres: the journal of a partition."""

    @property
    def partition(self) -> int: ...

    def accounts(self, limit: int) -> list[bytes]: ...

    def forget_accounts(self, documents: Sequence[bytes]) -> None: ...


class Ledger:
    """Writes may be repeated: an existing entry stays as it is."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._use = pool, Use()

    def flush(self, journal: Accounts, *, limit: int = 2000) -> int:
        """Writes the journal's ledger entries to Postgres, and counts the tallies among them; returns how many they were.

        One process at a time does it for a partition, and all with the same `limit`. The journal deletes them only after the
        commit. After a crash in between, or if another process reads them before that, the same entries are written again,
        which changes nothing.
        """
        try:
            return self._flush(journal, limit, ledger_rows.copy)
        except psycopg.errors.UniqueViolation:
            return self._flush(journal, limit, ledger_rows.insert)

    def _flush(self, journal: Accounts, limit: int, write: Callable[[Connection, Iterable[Entry]], None]) -> int:
        with self._pool.connection() as db:
            with db.transaction():
                if not locks.try_ledger(db, journal.partition):
                    return 0
                if not (documents := journal.accounts(limit)):
                    return 0
                counted: list[Entry] = []
                used: set[int] = set()
                write(db, _entries(documents, counted, used))
                tallies.count(db, counted, journal.partition)
            self._use.note(db, used)
        journal.forget_accounts(documents)
        return len(documents)

    def of_event(self, app: str, event_id: str) -> dict[str, dict[str, Any]]:
        """A message's ledger entries by their names."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT part, account FROM carillon.ledger WHERE app = %s AND event_id = %s ORDER BY at, part",
                (app, event_id),
            ).fetchall()
        return dict(rows)

    def dead_letters(
        self, limit: int = 100, app: str | None = None, *, which: Selection | None = None
    ) -> list[StoredLetter]:
        """The newest letters first, of one app or of all, or those selected; without their documents."""
        which = which or Selection(app)
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT id, extract(epoch FROM at)::float8, size, entry, app, event_id, error, ''::bytea"
                f" {_selected(which)} ORDER BY id DESC LIMIT %(limit)s".encode(),
                which._asdict() | {"limit": limit},
            ).fetchall()
        return [StoredLetter(id, at, size, DeadLetter(*letter)) for id, at, size, *letter in rows]

    def dead_letter(self, id: int) -> StoredLetter | None:
        with self._pool.connection() as db:
            row = db.execute(
                "SELECT id, extract(epoch FROM at)::float8, size, entry, app, event_id, error, document"
                " FROM carillon.dead_letters WHERE id = %s",
                (id,),
            ).fetchone()
        return None if row is None else StoredLetter(row[0], row[1], row[2], DeadLetter(*row[3:]))

    def select(self, which: Selection, limit: int) -> list[int]:
        """Ids of the oldest letters among those selected."""
        with self._pool.connection() as db:
            rows = db.execute(
                f"SELECT id {_selected(which)} ORDER BY id LIMIT %(limit)s".encode(), which._asdict() | {"limit": limit}
            )
            return [id for (id,) in rows.fetchall()]

    def count(self, which: Selection) -> int:
        with self._pool.connection() as db:
            row = db.execute(f"SELECT count(*) {_selected(which)}".encode(), which._asdict()).fetchone()
        return 0 if row is None else int(row[0])

    def drop_letters(self, which: Selection, *, bite: int = 10_000) -> int:
        """Deletes all selected letters, a bounded number at a time; returns how many."""
        gone = 0
        while ids := self.select(which, bite):
            with self._pool.connection() as db:
                gone += db.execute("DELETE FROM carillon.dead_letters WHERE id = ANY(%s)", (ids,)).rowcount
        return gone

    def forget_letters(self, days: int, *, bite: int = 1_000, seconds: float = 3.0) -> int:
        """Deletes letters older than `days`, and the oldest if there are too many in all; returns how many."""
        with self._pool.connection() as db:
            dropped = _drop_oldest(db, None, IN_ALL, IN_ALL_BYTES)
        return dropped + forget_older(self._pool, {"dead_letters": "at"}, days, bite=bite, seconds=seconds)

    def add_dead_letter(self, letter: DeadLetter) -> None:
        """Keeps documents that cannot be processed, with the error, for a person to look at."""
        with self._pool.connection() as db:
            add_dead_letters(db, [letter])
        log_letters([letter])

    def drop_letter(self, id: int) -> bool:
        """Deletes a dead letter; False if there is none."""
        with self._pool.connection() as db:
            return db.execute("DELETE FROM carillon.dead_letters WHERE id = %s", (id,)).rowcount == 1

    def forget_message(self, app: str, event_id: str) -> None:
        """Deletes the record of an event so that it can be published again under its id."""
        with self._pool.connection() as db:
            db.execute("DELETE FROM carillon.messages WHERE app = %s AND event_id = %s", (app, event_id))

    def prune(self, days: int, *, bite: int = 10_000, seconds: float = 5.0) -> int:
        """Deletes messages older than `days`, and counters of what was removed, until none is left or the time is up.

        Returns how many rows were deleted; each dropped day of the ledger counts as one.
        """
        gone = keep_days(self._pool, "ledger", days)
        forgets = [older("messages", "seen_at", days), forget(tallies.FORGET, days)]
        return gone + in_bites(self._pool, forgets, bite=bite, seconds=seconds)


def _entries(documents: Sequence[bytes], counted: list[Entry], used: set[int]) -> Iterator[Entry]:
    """Those that the ledger keeps. Once all are read, `counted` has the tallies, and `used` the devices that accepted a push."""
    for entry in map(_decode, documents):
        if is_tally(entry):
            counted.append(entry)
            continue
        if entry.part.startswith("batch:"):
            for _, device in _decode_batch(entry.account).accepted:
                used.add(device)
        yield entry


def add_dead_letters(db: Connection, letters: Sequence[DeadLetter]) -> None:
    """Dead-letters documents, inside the caller's transaction. If an app has too many, its oldest are deleted."""
    if not letters:
        return
    sizes = [len(letter.document) if letter.size is None else letter.size for letter in letters]
    rows = [
        (*letter[:4], letter.document if size <= LARGEST else letter.document[:BEGINNING], size)
        for letter, size in zip(letters, sizes, strict=True)
    ]
    db.execute(
        "INSERT INTO carillon.dead_letters (entry, app, event_id, error, document, size)"
        " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %b::bytea[], %s::bigint[])"
        " ON CONFLICT DO NOTHING",
        [list(column) for column in zip(*rows, strict=True)],
    )
    for app in sorted({letter.app or "" for letter in letters}):
        _drop_oldest(db, app, PER_APP, PER_APP_BYTES)


def _drop_oldest(db: Connection, app: str | None, number: int, octets: int) -> int:
    """Deletes a tenth of an app's letters (None: of all together) if they are more than `number`, or more than `octets`."""
    of_app = "" if app is None else " WHERE coalesce(app, '') = %(app)s"
    sizes = f"SELECT id, least(size, {LARGEST}) AS size FROM carillon.dead_letters{of_app}"
    found = db.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM ({sizes}) s".encode(), {"app": app}).fetchone()
    if found is None or (found[0] <= number and found[1] <= octets):
        return 0
    # Two processes that do this at once do not wait for each other.
    dropped = db.execute(
        "DELETE FROM carillon.dead_letters WHERE id IN (SELECT id FROM carillon.dead_letters WHERE id IN ("
        f" SELECT id FROM (SELECT id, row_number() OVER newest AS n, sum(size) OVER newest AS total FROM ({sizes}) s"
        " WINDOW newest AS (ORDER BY id DESC)) t WHERE n > %(number)s OR total > %(octets)s)"
        " ORDER BY id FOR UPDATE SKIP LOCKED)".encode(),
        {"app": app, "number": number * 9 // 10, "octets": octets * 9 // 10},
    ).rowcount
    log.warning(
        "the oldest dead letters were dropped, there are too many: carillon dead-letters list says why",
        extra={"app": "all" if app is None else app or None, "dropped": dropped},
    )
    return dropped


def _selected(which: Selection) -> str:
    """Only the conditions that are asked for, so that the index of an app's letters is used."""
    conditions = {
        "app": "coalesce(app, '') = %(app)s",
        "before": "at < to_timestamp(%(before)s)",
        "error": "strpos(error, %(error)s) > 0",
        "upto": "id <= %(upto)s",
    }
    asked = [condition for name, condition in conditions.items() if getattr(which, name) is not None]
    return f"FROM carillon.dead_letters{' WHERE ' * bool(asked)}{' AND '.join(asked)}"
