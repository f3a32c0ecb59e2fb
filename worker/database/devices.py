"""The registered devices: looked up, retired by a provider's answer, restored, and deleted when nobody uses them.

A retired device keeps its row with the time and the reason, so `restore` can undo it until the row is deleted.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from worker.core.outcome import Refusal
from worker.database import bulk, locks
from worker.database.device_writes import end_device, evict
from worker.database.long_tokens import TOKEN, key_of
from worker.database.postgres import Connection, Pool, transaction

#: Reasons that do not come from a provider: such devices are restored only if the reason is named.
OUR_OWN: Final = ("over_device_cap", "stale")
#: Whether a device still belongs to its user. A retired one does: a notification in flight may be refused again.
OWNED: Final = "(active OR retired_reason IS NOT NULL AND NOT coalesce(tombstones ? user_id OR tombstones ? '', false))"
#: How long a device stays although it got a 410, while most devices of its provider get one.
CONFIRM_AFTER: Final = "1 day"
#: How long a provider's fault can last before it is found: with a few pushes an hour it is found late.
REPRIEVE: Final = "7 days"
#: Devices restored in one transaction.
_BITE: Final = 5_000


class StoredDevice(NamedTuple):
    """A device as a person or a program asks for it. Times are UTC; `accepted` is a day."""

    id: int
    app: str
    token: str
    user: str | None
    provider: str | None
    active: bool
    registered_at: datetime
    locale: str | None
    app_version: str | None
    attributes: dict[str, Any] | None
    last_accepted_at: datetime | None
    retired_reason: str | None
    retired_at: datetime | None
    platform: str
    purpose: str = "alert"
    installation: str = ""
    activity: str = ""
    #: As of `model.traits_of`.
    traits: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"StoredDevice(id={self.id}, app={self.app!r}, user={self.user!r}, active={self.active})"


class Line(NamedTuple):
    """One line of a device's history."""

    at: datetime
    what: str
    user: str | None
    detail: str | None


class Devices:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def user_devices(self, app: str, users: Sequence[str]) -> list[int]:
        """Ids of the users' active devices, whatever they are for."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT id FROM carillon.devices WHERE app = %s AND user_id = ANY(%s) AND active", (app, list(users))
            ).fetchall()
        return [id for (id,) in rows]

    def device_by_token(self, app: str, tokens: Collection[str]) -> int | None:
        """The id of the device with one of these tokens: the forms that one token may be stored in."""
        with self._pool.connection() as db:
            row = db.execute(
                "SELECT id FROM carillon.devices WHERE app = %s AND token = ANY(%s)"
                " ORDER BY active DESC, registered_at DESC LIMIT 1",
                (app, [key_of(token) for token in tokens]),
            ).fetchone()
        return None if row is None else int(row[0])

    def are_owned(self, owners: Mapping[int, str]) -> bool:
        """Whether each of these devices belongs to this user, by the words of `owners`. Postgres compares: no row is fetched."""
        ids = sorted(owners)
        with self._pool.connection() as db:
            rows = db.execute(
                "WITH owned AS (SELECT user_id FROM carillon.devices"
                f" WHERE id = ANY(%b) AND {OWNED} ORDER BY id)"
                " SELECT array_agg(user_id) = %b::text[] FROM owned".encode(),
                (bulk.numbers(ids), bulk.texts([owners[id] for id in ids])),
                prepare=True,
            ).fetchall()
        [(are_owned,)] = rows
        return bool(are_owned)

    def owners(self, ids: Collection[int]) -> dict[int, str]:
        """By device the user to whom it belongs; one that belongs to nobody, or is unregistered, is left out.

        A device that was retired meanwhile counts as theirs: a notification in flight may be refused again.
        """
        with self._pool.connection() as db:
            rows = db.execute(
                f"SELECT id, user_id FROM carillon.devices WHERE id = ANY(%b) AND {OWNED}".encode(),
                (bulk.numbers(ids),),
                prepare=True,
            ).fetchall()
        return dict(rows)

    def keys(self, devices: Collection[int]) -> dict[int, tuple[str, str]]:
        """By device, the id of its keys, and the keys, sealed. A device without any is left out."""
        with self._pool.connection() as db:
            rows = db.execute(
                b"SELECT id, traits->>'key', keys FROM carillon.devices WHERE id = ANY(%s) AND keys <> ''",
                (list(devices),),
                prepare=True,
            ).fetchall()
        return {device: (key, sealed) for device, key, sealed in rows}

    def end(self, app: str, tokens: Collection[str], user: str | None) -> tuple[str, str | None]:
        """Ends a device by an operator's command: see `end_device`."""
        with transaction(self._pool) as db:
            return end_device(db, app, tokens, user)

    def of_user(self, app: str, user: str, *, retired: bool = False) -> list[StoredDevice]:
        """A user's devices, the newest registration first; with `retired` also those that are retired."""
        return self._stored("d.app = %s AND d.user_id = %s" + ("" if retired else " AND d.active"), app, user)

    def get(self, id: int) -> StoredDevice | None:
        found = self._stored("d.id = %s", id)
        return found[0] if found else None

    def history(self, device: int, limit: int = 100) -> list[Line]:
        """What happened to a device, the newest first."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT at, what, user_id, detail FROM carillon.device_history WHERE device = %s"
                " ORDER BY id DESC LIMIT %s",
                (device, limit),
            ).fetchall()
        return [Line(*row) for row in rows]

    def retire(self, provider: int, refusals: Sequence[Refusal]) -> int:
        """Retires devices that this provider refused; returns how many.

        Compare-and-set: a device stays if it was registered after the refusal's time, or with another provider. The
        refusal is kept for older registrations that arrive later.
        """
        return self._refuse(provider, refusals, proven=True)

    def note_mass_unregister(self, provider: int, refusals: Sequence[Refusal]) -> int:
        """The same for a time when so many of the provider's devices are refused that the provider may be at fault.

        A device is retired only when it is refused again a day after the first time, with no push accepted in between.
        """
        return self._refuse(provider, refusals, proven=False)

    def restore(
        self,
        since: datetime,
        *,
        until: datetime | None = None,
        app: str | None = None,
        reason: str | None = None,
        provider: int | None = None,
        dry_run: bool = False,
    ) -> dict[str, int]:
        """Restores devices that were retired since then; returns how many by reason. Idempotent.

        A device that was registered or unregistered since then is not touched.
        Without `reason`: all devices that providers refused, but not evicted or stale ones.
        """
        found: dict[str, int] = {}
        after = 0
        while True:
            with transaction(self._pool) as db:
                locks.acquire(db, locks.DEVICES)
                rows = _restorable(db, after, since, until, app, reason, provider)
                if rows and not dry_run:
                    _revive(db, [id for id, *_ in rows])
                    evict(db, {(app, user) for _, app, user, _ in rows})
            if not rows:
                return found
            for _, _, _, why in rows:
                found[why] = found.get(why, 0) + 1
            after = rows[-1][0]

    def restore_one(self, app: str, id: int) -> bool:
        """Restores a retired device, whatever it was retired for; False if it is active, or unregistered by its owner."""
        with transaction(self._pool) as db:
            locks.acquire(db, locks.DEVICES)
            row = db.execute(
                "SELECT user_id FROM carillon.devices WHERE app = %s AND id = %s AND NOT active"
                " AND user_id IS NOT NULL AND NOT coalesce(tombstones ? user_id OR tombstones ? '', false)",
                (app, id),
            ).fetchone()
            if row is not None:
                _revive(db, [id])
                evict(db, {(app, row[0])})
        return row is not None

    def reprieve(self, provider: int, reasons: Collection[str]) -> int:
        """Restores the devices that this provider's refusals for these reasons retired in the last days; returns how many."""
        with self._pool.connection() as db:
            rows = db.execute(f"SELECT now() - interval '{REPRIEVE}'".encode()).fetchall()
        [(since,)] = rows
        return sum(sum(self.restore(since, provider=provider, reason=reason).values()) for reason in reasons)

    def _refuse(self, provider: int, refusals: Sequence[Refusal], *, proven: bool) -> int:
        if not refusals:
            return 0
        latest: dict[int, Refusal] = {}
        for one in refusals:
            known = latest.get(one[0])
            if known is None or one[1] > known[1]:
                latest[one[0]] = one
        with transaction(self._pool) as db:
            locks.acquire(db, locks.DEVICES)
            if not proven:
                latest = _confirmed(db, latest)
            ended = db.execute(
                "WITH hit AS (SELECT d.id, d.user_id, r.until, r.reason, d.active AND d.provider_id = %(provider)s AS ends"
                " FROM unnest(%(ids)s::bigint[], %(untils)s::bigint[], %(reasons)s::text[]) AS r (id, until, reason)"
                " JOIN carillon.devices d USING (id) WHERE d.registered_at <= r.until),"
                " updated AS (UPDATE carillon.devices d SET active = d.active AND NOT h.ends, changed_at = now(),"
                " retired_reason = CASE WHEN h.ends THEN h.reason ELSE d.retired_reason END,"
                " retired_at = CASE WHEN h.ends THEN now() ELSE d.retired_at END,"
                " refusals = coalesce(d.refusals, '{}') || jsonb_build_object(%(key)s::text,"
                " greatest(h.until, (d.refusals->>%(key)s::text)::bigint)) FROM hit h WHERE d.id = h.id)"
                " INSERT INTO carillon.device_history (device, what, user_id, detail)"
                " SELECT id, 'refused', user_id, reason FROM hit WHERE ends",
                {
                    "provider": provider,
                    "key": str(provider),
                    "ids": list(latest),
                    "untils": [until for _, until, _ in latest.values()],
                    "reasons": [reason for _, _, reason in latest.values()],
                },
            )
        return ended.rowcount

    def _stored(self, condition: str, *arguments: object) -> list[StoredDevice]:
        with self._pool.connection() as db:
            rows = db.execute(
                (
                    f"SELECT d.id, d.app, {TOKEN}, d.user_id, p.name, d.active, to_timestamp(d.registered_at / 1000.0),"
                    " d.locale, d.app_version, d.attributes, u.accepted::timestamp AT TIME ZONE 'UTC',"
                    " d.retired_reason, d.retired_at, d.platform, d.purpose, d.installation, d.activity, d.traits"
                    " FROM carillon.devices d"
                    " LEFT JOIN carillon.providers p ON p.id = d.provider_id"
                    " LEFT JOIN carillon.device_use u ON u.device = d.id"
                    f" WHERE {condition} ORDER BY d.registered_at DESC, d.registered_us DESC, d.id DESC"
                ).encode(),
                arguments,
            ).fetchall()
        return [StoredDevice(*row) for row in rows]


def _confirmed(db: Connection, refusals: dict[int, Refusal]) -> dict[int, Refusal]:
    """The refusals of devices that were also refused a day ago, with no accepted push since. Notes the time for the others."""
    rows = db.execute(
        "SELECT d.id FROM carillon.devices d LEFT JOIN carillon.device_use u ON u.device = d.id"
        f" WHERE d.id = ANY(%s) AND d.doubted_at < now() - interval '{CONFIRM_AFTER}'"
        " AND (u.accepted IS NULL OR u.accepted <= (d.doubted_at AT TIME ZONE 'UTC')::date)".encode(),
        (list(refusals),),
    ).fetchall()
    proven = {id: refusals[id] for (id,) in rows}
    db.execute(
        "UPDATE carillon.devices d SET doubted_at = now() FROM unnest(%s::bigint[]) AS r (id)"
        " LEFT JOIN carillon.device_use u ON u.device = r.id WHERE d.id = r.id"
        " AND (d.doubted_at IS NULL OR u.accepted > (d.doubted_at AT TIME ZONE 'UTC')::date)",
        ([id for id in refusals if id not in proven],),
    )
    return proven


def _restorable(
    db: Connection,
    after: int,
    since: datetime,
    until: datetime | None,
    app: str | None,
    reason: str | None,
    provider: int | None,
) -> list[tuple[Any, ...]]:
    # A kept tombstone is not older than the registration: its author unregistered this device.
    return db.execute(
        "SELECT id, app, user_id, retired_reason FROM carillon.devices WHERE id > %(after)s AND NOT active"
        " AND retired_at >= %(since)s AND (%(until)s::timestamptz IS NULL OR retired_at < %(until)s)"
        " AND (%(app)s::text IS NULL OR app = %(app)s)"
        " AND (%(provider)s::bigint IS NULL OR provider_id = %(provider)s)"
        " AND CASE WHEN %(reason)s::text IS NULL THEN retired_reason <> ALL(%(ours)s)"
        " ELSE retired_reason = %(reason)s END"
        " AND user_id IS NOT NULL AND NOT coalesce(tombstones ? user_id OR tombstones ? '', false)"
        " ORDER BY id LIMIT %(bite)s",
        {
            "after": after,
            "since": since,
            "until": until,
            "app": app,
            "provider": provider,
            "reason": reason,
            "ours": list(OUR_OWN),
            "bite": _BITE,
        },
    ).fetchall()


def _revive(db: Connection, ids: Sequence[int]) -> None:
    db.execute(
        "WITH back AS (UPDATE carillon.devices d SET active = true, retired_reason = NULL, retired_at = NULL,"
        " doubted_at = NULL, refusals = d.refusals - d.provider_id::text, changed_at = now() WHERE id = ANY(%s)"
        " RETURNING id, user_id)"
        " INSERT INTO carillon.device_history (device, what, user_id) SELECT id, 'restored', user_id FROM back",
        (list(ids),),
    )
