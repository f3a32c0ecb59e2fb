"""Folds registrations and unregistrations into the devices, in bulk, inside the caller's transaction.

Each writer of devices holds `lock` until its transaction ends. So the rows that a fold read do not change before it writes,
and two writers of the same rows in different orders cannot deadlock.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

import msgspec

from worker.core.ownership import (
    NO_DETAILS,
    Details,
    Registration,
    Superseded,
    end,
    register,
    unmet_registration,
    unmet_unregistration,
    unregister,
)
from worker.database import locks
from worker.database.long_tokens import key_of, long_token
from worker.database.postgres import Connection

#: App, and a token as it is in its column.
Key = tuple[str, str]

#: The columns of what a registration says of its device, and their types.
_DETAILS: Final = {one.name: "jsonb" if one.name in ("attributes", "traits") else "text" for one in fields(Details)}
#: All that a fold changes.
_STATE: Final = {
    "user_id": "text",
    "provider_id": "int",
    "registered_at": "bigint",
    "registered_us": "smallint",
    "active": "boolean",
    "tombstones": "jsonb",
    "refusals": "jsonb",
    "seen": "bigint[]",
    **_DETAILS,
}


class DeviceWrite(NamedTuple):
    """A registration, or with `provider_id` None an unregistration (`user` None: any owner's). `at` in microseconds."""

    app: str
    token: str
    user: str | None
    at: int
    provider_id: int | None = None
    details: Details = NO_DETAILS
    #: `ownership.mark` of the event's id; 0: none.
    event: int = 0
    #: The event's place in the order of intake; 0: it has none.
    place: int = 0

    def __repr__(self) -> str:
        return f"DeviceWrite(app={self.app!r}, user={self.user!r}, at={self.at}, provider_id={self.provider_id})"

    @property
    def key(self) -> Key:
        return self.app, key_of(self.token)


class Begun(NamedTuple):
    """A device starts again at a place: its owner ended, changed or came back there."""

    app: str
    device: int
    place: int


class Happened(NamedTuple):
    """A line of a device's history. `what`: registered, taken_over, unregistered, refused, evicted, stale, restored."""

    device: int
    what: str
    user: str | None
    detail: str | None = None


def write_devices(db: Connection, writes: Sequence[DeviceWrite]) -> list[Begun]:
    """Applies the writes in their order, then evicts devices beyond an owner's device cap (S6)."""
    if not writes:
        return []
    locks.acquire(db, locks.DEVICES)
    states = _registrations(db, {write.key for write in writes})
    before = dict(states)
    happened: list[tuple[Key, tuple[str, str | None, str | None]]] = []
    begun: dict[Key, int] = {}
    for write in writes:
        key = write.key
        old = states.get(key)
        new = states[key] = _applied(old, write)
        if (what := _happened(old, new)) is not None:
            happened.append((key, what))
        if old is not None and (old.user, old.active) != (new.user, new.active):
            begun[key] = write.place
    changed = {key: state for key, state in states.items() if state is not before.get(key)}
    if not changed:
        return []
    ids = _upsert(db, changed, {write.key: write.token for write in writes})
    remember(db, [Happened(ids[key], *what) for key, what in happened])
    evict(db, {(app, s.user) for (app, _), s in changed.items() if s.active and s.user is not None})
    return [Begun(key[0], ids[key], place) for key, place in begun.items() if key in ids]


def recently_begun(db: Connection, writes: Sequence[DeviceWrite]) -> list[Begun]:
    """The devices of these writes, which a dead leader had applied, that started again within the last hour."""
    if not writes:
        return []
    places = {write.key: write.place for write in writes}
    rows = db.execute(
        "SELECT d.app, d.token, d.id FROM unnest(%s::text[], %s::text[]) AS k (app, token)"
        " JOIN carillon.devices d USING (app, token) WHERE EXISTS (SELECT FROM carillon.device_history h"
        " WHERE h.device = d.id AND h.what IN ('registered', 'taken_over', 'unregistered') AND h.at > now() - interval '1 hour')",
        [list(column) for column in zip(*places, strict=True)],
    )
    return [Begun(app, id, places[app, token]) for app, token, id in rows]


def unmet(db: Connection, writes: Sequence[DeviceWrite]) -> list[Superseded | None]:
    """For each of the applied writes: the newer write that overrides it, or None if the write is in force."""
    if not writes:
        return []
    states = _registrations(db, {write.key for write in writes})
    return [_unmet(states.get(write.key), write) for write in writes]


def end_device(db: Connection, app: str, tokens: Collection[str], user: str | None) -> tuple[str, str | None]:
    """Ends a device by an operator's command, whatever the time of its registration; with `user` only if it is theirs.

    `tokens`: the forms in which the one token may be stored. Returns what was found and whose device it is or was:
    `deleted`, `ended` (it was nobody's by then), `not theirs` or `unknown`; only `deleted` changed something.
    """
    locks.acquire(db, locks.DEVICES)
    states = _registrations(db, {(app, key_of(token)) for token in tokens})
    owned = {key: state for key, state in states.items() if state.active}
    theirs = {key: state for key, state in owned.items() if user in (None, state.user)}
    if not theirs:
        owner = next((state.user for state in (owned or states).values()), None)
        return ("not theirs" if owned else "ended" if states else "unknown"), owner
    [(now,)] = db.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchall()
    ids = _upsert(db, {key: end(state, at=now) for key, state in theirs.items()}, {})
    remember(db, [Happened(ids[key], "unregistered", state.user, "by hand") for key, state in theirs.items()])
    return "deleted", next(iter(theirs.values())).user


def remember(db: Connection, happened: Sequence[Happened]) -> None:
    """Adds to the devices' histories."""
    if happened:
        db.execute(
            "INSERT INTO carillon.device_history (device, what, user_id, detail)"
            " SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[])",
            [list(column) for column in zip(*happened, strict=True)],
        )


def evict(db: Connection, owners: Collection[Key]) -> None:
    """Evicts devices of these (app, user) beyond their app's cap for each purpose, the oldest registrations first."""
    if owners:
        db.execute(
            # Forces an index scan for each owner: the planner may have statistics from when this table was empty.
            "WITH gone AS (UPDATE carillon.devices SET active = false, retired_reason = 'over_device_cap',"
            " retired_at = now(), changed_at = now()"
            " WHERE id = ANY(ARRAY(SELECT of_user.id FROM unnest(%s::text[], %s::text[]) AS k (app, user_id)"
            " JOIN carillon.apps a ON a.name = k.app CROSS JOIN LATERAL (SELECT d.id, row_number() OVER (PARTITION BY d.purpose"
            " ORDER BY d.registered_at DESC, d.registered_us DESC, d.id DESC) AS n FROM carillon.devices d"
            " WHERE d.app = k.app AND d.user_id = k.user_id AND d.active) of_user WHERE of_user.n > a.device_cap))"
            " RETURNING id, user_id)"
            " INSERT INTO carillon.device_history (device, what, user_id, detail)"
            " SELECT id, 'evicted', user_id, 'over_device_cap' FROM gone",
            [list(column) for column in zip(*sorted(owners), strict=True)],
        )


def _applied(state: Registration | None, write: DeviceWrite) -> Registration:
    if write.provider_id is None or write.user is None:
        return unregister(state, user=write.user, at=write.at, event=write.event)
    return register(
        state, user=write.user, provider_id=write.provider_id, at=write.at, event=write.event, details=write.details
    )


def _unmet(state: Registration | None, write: DeviceWrite) -> Superseded | None:
    if write.provider_id is None or write.user is None:
        return unmet_unregistration(state, user=write.user, at=write.at)
    return unmet_registration(state, user=write.user, provider_id=write.provider_id, at=write.at, details=write.details)


def _happened(old: Registration | None, new: Registration) -> tuple[str, str | None, str | None] | None:
    """The line of history for a step. A registration that changes nothing has none."""
    if old is new:
        return None
    was = old.user if old is not None and old.active else None
    if new.active and new.user != was:
        return ("registered", new.user, None) if was is None else ("taken_over", new.user, f"from {was}")
    if new.active and old is not None and new.provider_id != old.provider_id:
        return "registered", new.user, "with another provider"
    return ("unregistered", was, None) if was is not None and not new.active else None


def _registrations(db: Connection, keys: Iterable[Key]) -> dict[Key, Registration]:
    rows = db.execute(
        f"SELECT d.app, d.token, {', '.join(f'd.{column}' for column in _STATE)}"
        " FROM unnest(%s::text[], %s::text[]) AS k (app, token) JOIN carillon.devices d USING (app, token)".encode(),
        [list(column) for column in zip(*sorted(keys), strict=True)],
    )
    return {(app, token): _registration(*row) for app, token, *row in rows}


def _registration(*row: Any) -> Registration:
    user, provider, ms, us, active, stones, refusals, seen, *details = row
    stones = stones and {key: round(ms * 1000) for key, ms in stones.items()}
    refusals = refusals and {key: ms * 1000 + 999 for key, ms in refusals.items()}
    at = ms * 1000 + us
    return Registration(user, provider, at, active, Details(*details), stones, refusals, tuple(seen or ()))


def _upsert(db: Connection, states: dict[Key, Registration], tokens: Mapping[Key, str]) -> dict[Key, int]:
    """Returns the ids. `tokens`: those of devices that may be new."""
    rows = [(*_row(key, state), long_token(tokens.get(key, ""))) for key, state in sorted(states.items())]
    made = db.execute(_UPSERT, [list(column) for column in zip(*rows, strict=True)])
    return {(app, token): id for app, token, id in made}


def _upserting() -> bytes:
    written = {"app": "text", "token": "text", **_STATE, "long_token": "text"}
    # Lists and documents are texts on their way: they stand in a list.
    texts = {column for column, of in written.items() if of in ("jsonb", "bigint[]")}
    names = ", ".join(written)
    given = ", ".join(f"{column}::{of}" if column in texts else column for column, of in written.items())
    lists = ", ".join(f"%s::{'text' if column in texts else of}[]" for column, of in written.items())
    changes = ", ".join(f"{column} = excluded.{column}" for column in _STATE)
    return (
        f"INSERT INTO carillon.devices AS d ({names}) SELECT {given} FROM unnest({lists}) AS w ({names})"
        f" ON CONFLICT (app, token) DO UPDATE SET {changes}, changed_at = now(),"
        " retired_reason = CASE WHEN excluded.active THEN NULL ELSE d.retired_reason END,"
        " retired_at = CASE WHEN excluded.active THEN NULL ELSE d.retired_at END,"
        " doubted_at = CASE WHEN (excluded.registered_at, excluded.registered_us) > (d.registered_at, d.registered_us)"
        " THEN NULL ELSE d.doubted_at END"
        " RETURNING app, token, id"
    ).encode()


def _row(key: Key, s: Registration) -> tuple[Any, ...]:
    seen = "{" + ",".join(map(str, s.seen)) + "}" if s.seen else None
    # Milliseconds, as in every release; microseconds are in a column of their own, or in the fraction of a number.
    ms, us = divmod(s.registered_at, 1000)
    stones = {name: at / 1000 if at % 1000 else at // 1000 for name, at in (s.tombstones or {}).items()}
    refusals = {provider: until // 1000 for provider, until in (s.refusals or {}).items()}
    said = (getattr(s.details, column) for column in _DETAILS)
    details = (_json(value) if of == "jsonb" else value for value, of in zip(said, _DETAILS.values(), strict=True))
    return (*key, s.user, s.provider_id, ms, us, s.active, _json(stones), _json(refusals), seen, *details)


def _json(value: object) -> str | None:
    return msgspec.json.encode(value).decode() if value else None


_UPSERT: Final = _upserting()
