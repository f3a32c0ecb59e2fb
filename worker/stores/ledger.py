"""What became of every member of every message, kept to be looked up; and what could not be processed at all."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from worker.stores.device_upkeep import Use
from worker.stores.journal import Journal
from worker.stores.letter_log import log_letters
from worker.stores.postgres import Connection, Pool
from worker.stores.retention import forget_older


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One part of a message's account: an expanded page or a delivered batch."""

    app: str
    event_id: str
    part: str
    account: msgspec.Raw


class _Batch(msgspec.Struct, frozen=True):
    """As much of a delivered batch's account as tells which devices are in use."""

    accepted: list[tuple[str, int]] = []


_LOCK: Final = 0x6361_726C
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Entry).decode
_decode_batch: Final = msgspec.json.Decoder(_Batch).decode


def account(app: str, event_id: str, part: str, content: object) -> bytes:
    """A part of a message's account as the document that the journal passes on to the ledger."""
    return _encode((app, event_id, part, content))


class DeadLetter(NamedTuple):
    entry: str
    app: str | None
    event_id: str | None
    error: str
    document: bytes


class StoredLetter(NamedTuple):
    id: int
    at: float
    letter: DeadLetter


class Ledger:
    """Writes are repeatable: a part or an entry that is there already stays as it is."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._use = pool, Use()

    def flush(self, journal: Journal, *, limit: int = 2000) -> int:
        """Takes down what the journal accounted for; returns how many parts. One process at a time does it.

        The journal forgets them only when they are committed: a crash in between writes the same parts again, which changes
        nothing. So does another process that reads them before they are forgotten.
        """
        with self._pool.connection() as db:
            with db.transaction():
                row = db.execute("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,)).fetchone()
                if row is None or not row[0]:
                    return 0
                documents = journal.accounts(limit)
                entries = [_decode(document) for document in documents]
                self._write(db, entries)
            batches = (_decode_batch(entry.account) for entry in entries if entry.part.startswith("batch:"))
            self._use.note(db, {device for batch in batches for _, device in batch.accepted})
        journal.forget_accounts(documents)
        return len(documents)

    def _write(self, db: Connection, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        rows = [(e.app, e.event_id, e.part, bytes(e.account).decode()) for e in entries]
        db.execute(
            "INSERT INTO carillon.ledger (app, event_id, part, account)"
            " SELECT app, event_id, part, account::jsonb"
            " FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[]) AS w (app, event_id, part, account)"
            " ON CONFLICT DO NOTHING",
            [list(column) for column in zip(*rows, strict=True)],
        )

    def of_event(self, app: str, event_id: str) -> dict[str, dict[str, Any]]:
        """The parts of a message's account by their names."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT part, account FROM carillon.ledger WHERE app = %s AND event_id = %s ORDER BY at, part",
                (app, event_id),
            ).fetchall()
        return dict(rows)

    def dead_letters(self, limit: int = 100) -> list[StoredLetter]:
        """The newest letters first."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT id, extract(epoch FROM at)::float8, entry, app, event_id, error, document"
                " FROM carillon.dead_letters ORDER BY id DESC LIMIT %s",
                (limit,),
            ).fetchall()
        return [StoredLetter(id, at, DeadLetter(*letter)) for id, at, *letter in rows]

    def dead_letter(self, id: int) -> StoredLetter | None:
        with self._pool.connection() as db:
            row = db.execute(
                "SELECT id, extract(epoch FROM at)::float8, entry, app, event_id, error, document"
                " FROM carillon.dead_letters WHERE id = %s",
                (id,),
            ).fetchone()
        return None if row is None else StoredLetter(row[0], row[1], DeadLetter(*row[2:]))

    def set_aside(self, letter: DeadLetter) -> None:
        """Keeps what cannot be processed, with its error, for a person to look at."""
        with self._pool.connection() as db:
            add_dead_letters(db, [letter])
        log_letters([letter])

    def drop_letter(self, id: int) -> bool:
        """Forgets what was set aside; False where there is no such letter."""
        with self._pool.connection() as db:
            return db.execute("DELETE FROM carillon.dead_letters WHERE id = %s", (id,)).rowcount == 1

    def forget_message(self, app: str, event_id: str) -> None:
        """Makes way for an event that is published once more under its id: what is known of it would refuse it."""
        with self._pool.connection() as db:
            db.execute("DELETE FROM carillon.messages WHERE app = %s AND event_id = %s", (app, event_id))

    def prune(self, days: int, *, bite: int = 10_000, seconds: float = 5.0) -> int:
        """Forgets accounts and messages older than `days`, in bites, until none is left or the time is up; returns how many."""
        tables = {"ledger": "at", "messages": "seen_at"}
        return forget_older(self._pool, tables, days, bite=bite, seconds=seconds)


def add_dead_letters(db: Connection, letters: Sequence[DeadLetter]) -> None:
    """Sets documents aside, inside the caller's transaction."""
    if letters:
        db.execute(
            "INSERT INTO carillon.dead_letters (entry, app, event_id, error, document)"
            " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[]) ON CONFLICT DO NOTHING",
            [list(column) for column in zip(*letters, strict=True)],
        )


def errors_of(db: Connection, entries: Sequence[str]) -> dict[str, str]:
    """Why each of the entries was set aside, for those that were."""
    rows = db.execute("SELECT entry, error FROM carillon.dead_letters WHERE entry = ANY(%s)", (list(entries),))
    return dict(rows.fetchall())
