"""Apps, their providers, and the end of a device's life. Credentials leave Postgres decrypted only here."""

from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from worker.core.model import AppSettings, Provider
from worker.stores.postgres import Pool


class CredentialError(RuntimeError):
    """A stored credential cannot be decrypted with the configured keys."""


class Registry:
    """`keys` are Fernet keys: the first encrypts, all decrypt."""

    def __init__(self, pool: Pool, keys: Sequence[str]) -> None:
        self._pool = pool
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def apps(self) -> dict[str, AppSettings]:
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT name, push_enabled, member_cap, device_cap, push_to_online, max_age FROM carillon.apps"
            ).fetchall()
        return {row[0]: AppSettings(*row) for row in rows}

    def save_app(self, app: AppSettings) -> None:
        """Creates the app, or changes its settings."""
        with self._pool.connection() as db:
            db.execute(
                "INSERT INTO carillon.apps (name, push_enabled, member_cap, device_cap, push_to_online, max_age)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO UPDATE SET push_enabled = excluded.push_enabled,"
                " member_cap = excluded.member_cap, device_cap = excluded.device_cap,"
                " push_to_online = excluded.push_to_online, max_age = excluded.max_age",
                (app.name, app.push_enabled, app.member_cap, app.device_cap, app.push_to_online, app.max_age),
            )

    def providers(self) -> dict[int, Provider]:
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT id, app, name, environment, topic, team_id, key_id, credential, host, port, ca"
                " FROM carillon.providers"
            ).fetchall()
        return {row[0]: self._provider(row) for row in rows}

    def save_provider(self, provider: Provider) -> Provider:
        """Creates or replaces the app's provider of that name; its `id` is given here."""
        with self._pool.connection() as db:
            row = db.execute(
                "INSERT INTO carillon.providers"
                " (app, name, environment, topic, team_id, key_id, credential, host, port, ca)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (app, name) DO UPDATE SET"
                " environment = excluded.environment, topic = excluded.topic, team_id = excluded.team_id,"
                " key_id = excluded.key_id, credential = excluded.credential, host = excluded.host,"
                " port = excluded.port, ca = excluded.ca"
                " RETURNING id, app, name, environment, topic, team_id, key_id, credential, host, port, ca",
                (
                    provider.app,
                    provider.name,
                    provider.environment,
                    provider.topic,
                    provider.team_id,
                    provider.key_id,
                    self._fernet.encrypt(provider.key.encode()),
                    provider.host,
                    provider.port,
                    provider.ca,
                ),
            ).fetchone()
        assert row is not None
        return self._provider(row)

    def retire(self, devices: Sequence[tuple[int, int, str]]) -> int:
        """Ends devices given as (id, time in ms up to which the refusal holds, reason).

        Compare and set: a device that was registered anew after that time, also while the answer was on its way, stays.
        Returns how many were ended.
        """
        if not devices:
            return 0
        with self._pool.connection() as db:
            done = db.execute(
                "UPDATE carillon.devices d SET active = false, retired_reason = r.reason, retired_at = now()"
                " FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS r (id, until, reason)"
                " WHERE d.id = r.id AND d.active AND d.registered_at <= r.until",
                [list(column) for column in zip(*devices, strict=True)],
            )
        return done.rowcount

    def user_devices(self, app: str, users: Sequence[str]) -> list[int]:
        """Ids of the users' active devices."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT id FROM carillon.devices WHERE app = %s AND user_id = ANY(%s) AND active", (app, list(users))
            ).fetchall()
        return [id for (id,) in rows]

    def device_by_token(self, app: str, token: str) -> int | None:
        with self._pool.connection() as db:
            row = db.execute("SELECT id FROM carillon.devices WHERE app = %s AND token = %s", (app, token)).fetchone()
        return None if row is None else int(row[0])

    def _provider(self, row: Sequence[Any]) -> Provider:
        id, app, name, environment, topic, team_id, key_id, credential, host, port, ca = row
        try:
            key = self._fernet.decrypt(bytes(credential)).decode()
        except InvalidToken:
            raise CredentialError(
                f"provider {name!r} of app {app!r}: none of the keys in CARILLON_SECRET_KEYS decrypts its credential;"
                " add the key it was stored with, or store the credential again"
            ) from None
        return Provider(id, app, name, environment, topic, team_id, key_id, key, host, port, ca)
