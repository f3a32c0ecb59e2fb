"""Apps, their providers and templates. Only this module decrypts credentials from Postgres.

A removed provider keeps its row without its credential. Its devices are skipped until a provider of that name is stored again.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from psycopg.types.json import Jsonb

from worker.core.attention import Attention, attention
from worker.core.model import AppSettings, Provider, StoredSettings
from worker.database.device_secrets import DeviceSecrets
from worker.database.fleet import recorded
from worker.database.postgres import Connection, Pool
from worker.database.vault import CredentialError, Vault

log = logging.getLogger(__name__)

# A setting is a column of the same name.
_SETTINGS: Final = tuple(field.name for field in fields(AppSettings))
#: Settings of providers with a column of their own, and the column's value for kinds without that setting. A kind's other
#: settings that are not secret are in the column `settings`.
_OWN_COLUMNS: Final[Mapping[str, Any]] = {
    "topic": "",
    "team_id": "",
    "key_id": "",
    "host": "",
    "port": 0,
    "ca": None,
    "url": "",
    "signing": "hmac",
}
_CLEAR: Final = ("id", "app", "name", "environment", "kind", "settings", *_OWN_COLUMNS)
_PROVIDER_COLUMNS: Final = ", ".join((*_CLEAR, "credential", "password"))


class Codec(Protocol):
    """Converts between a provider's settings and its row: see `worker/providers/kinds.py`."""

    def store(self, settings: Any, /) -> StoredSettings: ...
    def load(self, stored: StoredSettings, /) -> Any:
        """None if the row is of a later release that knows more kinds."""
        ...


class StoredTemplate(NamedTuple):
    """A template as it was uploaded. `kind` '' means every kind, `locale` '' every language."""

    provider: int
    kind: str
    locale: str
    document: str


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """A provider as it is stored; `Registry.open` decrypts its credential, which costs some 30 µs."""

    id: int
    app: str
    row: Sequence[Any] = field(repr=False)


class Snapshot(NamedTuple):
    """What workers know about apps: all apps, or those that changed."""

    #: The version of the newest change in it. Later commits may be in it too.
    version: int
    #: The apps that it covers, deleted ones included; None: all.
    changed: frozenset[str] | None
    apps: Mapping[str, AppSettings]
    providers: Mapping[int, Sealed]
    templates: Sequence[StoredTemplate]
    #: The highest provider id ever given, also to a removed provider.
    newest: int
    #: The fleet that owns the database; empty: none was set.
    fleet: str = ""


class Registry:
    """`keys` are Fernet keys: the first encrypts, all decrypt."""

    def __init__(self, pool: Pool, keys: Sequence[str], codec: Codec) -> None:
        self._pool, self._codec = pool, codec
        self._vault, self.device_secrets = Vault(keys), DeviceSecrets(keys)
        self._logged: set[int] = set()

    def snapshot(self, since: int | None = None) -> Snapshot:
        """Everything, or what changed after the version `since`. If nothing changed, this costs one statement."""
        with self._pool.connection() as db:
            rows = db.execute(
                "SELECT app, version FROM carillon.registry_changes WHERE app = '' OR version > %s", (since or 0,)
            ).fetchall()
            versions = dict(rows)
            latest = versions.pop("", 0)
            # A version that decreased comes from a server that lost commits.
            if since is None or latest < since:
                return self._snapshot(db, latest, None)
            if not versions:
                return Snapshot(since, frozenset(), {}, {}, [], 0)
            return self._snapshot(db, latest, frozenset(versions))

    def _snapshot(self, db: Connection, version: int, changed: frozenset[str] | None) -> Snapshot:
        only = None if changed is None else sorted(changed)
        with db.transaction():
            apps, providers = self._apps(db, only), {one.id: one for one in self._sealed(db, only)}
            templates = _templates(db, only)
            fleet = recorded(db)
            newest = db.execute("SELECT coalesce(max(id), 0) FROM carillon.providers").fetchone()
        assert newest is not None
        return Snapshot(version, changed, apps, providers, templates, newest[0], fleet)

    # apps

    def apps(self) -> dict[str, AppSettings]:
        with self._pool.connection() as db:
            return self._apps(db)

    def create_app(self, app: AppSettings) -> bool:
        """False if the name is taken; then nothing changes."""
        with self._pool.connection() as db:
            return self._insert_app(db, app, "ON CONFLICT DO NOTHING")

    def save_app(self, app: AppSettings) -> None:
        """Creates the app, or changes its settings."""
        changed = ", ".join(f"{name} = excluded.{name}" for name in _SETTINGS)
        with self._pool.connection() as db:
            self._insert_app(db, app, f"ON CONFLICT (name) DO UPDATE SET {changed}")

    def _insert_app(self, db: Connection, app: AppSettings, conflict: str) -> bool:
        places = ", ".join(["%s"] * len(_SETTINGS))
        statement = f"INSERT INTO carillon.apps ({', '.join(_SETTINGS)}) VALUES ({places}) {conflict}"
        return db.execute(statement.encode(), [_column(getattr(app, name)) for name in _SETTINGS]).rowcount == 1

    def _apps(self, db: Connection, only: list[str] | None = None) -> dict[str, AppSettings]:
        rows = db.execute(
            f"SELECT {', '.join(_SETTINGS)} FROM carillon.apps WHERE %(only)s::text[] IS NULL OR name = ANY(%(only)s)".encode(),
            {"only": only},
        ).fetchall()
        return {app.name: app for app in (AppSettings(*map(_setting, row)) for row in rows)}

    # providers

    def providers(self) -> dict[int, Provider]:
        """Every provider that was not removed. One whose credential cannot be decrypted has none, and can send nothing."""
        with self._pool.connection() as db:
            return self._providers(db)

    def save_provider(self, provider: Provider) -> Provider:
        """Creates or replaces the app's provider of that name; its `id` is given here."""
        row = {"app": provider.app, "name": provider.name, "environment": provider.environment}
        row |= self._row(self._codec.store(provider.settings))
        changed = ", ".join(f"{name} = excluded.{name}" for name in row)
        with self._pool.connection() as db:
            saved = db.execute(
                f"INSERT INTO carillon.providers ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"
                f" ON CONFLICT (app, name) DO UPDATE SET {changed}, removed_at = NULL"
                f" RETURNING {_PROVIDER_COLUMNS}".encode(),
                list(row.values()),
            ).fetchone()
        assert saved is not None
        made = self._provider(saved)
        assert made is not None
        return made

    def remove_provider(self, app: str, name: str) -> bool:
        """Deletes the credential and the templates; the devices stay and are skipped. False: there is no such provider."""
        with self._pool.connection() as db, db.transaction():
            row = db.execute(
                "UPDATE carillon.providers SET credential = '', password = NULL, removed_at = now()"
                " WHERE app = %s AND name = %s AND removed_at IS NULL RETURNING id",
                (app, name),
            ).fetchone()
            if row is not None:
                db.execute("DELETE FROM carillon.templates WHERE provider_id = %s", row)
        return row is not None

    def named(self, app: str, name: str) -> Provider | None:
        """The app's provider of that name, also a removed one, without its credential."""
        with self._pool.connection() as db:
            row = db.execute(
                f"SELECT {', '.join(_CLEAR)} FROM carillon.providers WHERE app = %s AND name = %s".encode(),
                (app, name),
            ).fetchone()
        return None if row is None else self._loaded(row)

    def devices_of(self, provider: int) -> int:
        """How many devices the provider has."""
        with self._pool.connection() as db:
            row = db.execute(
                "SELECT count(*) FROM carillon.devices WHERE provider_id = %s AND active", (provider,)
            ).fetchone()
        assert row is not None
        return int(row[0])

    def rotate(self) -> int:
        """Encrypts every credential again with the first key; returns how many. `CredentialError` names one that no key decrypts.

        All or nothing: if one row cannot be decrypted, no row changes.
        """
        with self._pool.connection() as db, db.transaction():
            rows = db.execute(
                f"SELECT {_PROVIDER_COLUMNS} FROM carillon.providers WHERE removed_at IS NULL ORDER BY id FOR UPDATE".encode()
            ).fetchall()
            for *clear, credential, password in rows:
                of = dict(zip(_CLEAR, clear, strict=True))
                try:
                    opened = self._opened(credential, password)
                except CredentialError as fault:
                    raise CredentialError(f"provider {of['name']!r} of app {of['app']!r}: {fault}; {_ADVICE}") from None
                stored = _stored(of, *opened)
                settings = self._codec.load(stored)
                row = self._row(stored if settings is None else self._codec.store(settings))
                changes = ", ".join(f"{name} = %s" for name in row)
                db.execute(f"UPDATE carillon.providers SET {changes} WHERE id = %s".encode(), [*row.values(), of["id"]])
        return len(rows)

    def unreadable(self) -> list[tuple[str, str]]:
        """App and name of each provider whose credential none of the keys decrypts."""
        return [(p.app, p.name) for p in self.providers().values() if not p.readable]

    def open(self, sealed: Sealed) -> Provider | None:
        """The provider. None: its row is of a later release. One whose credential cannot be decrypted has none."""
        return self._provider(sealed.row)

    def _providers(self, db: Connection) -> dict[int, Provider]:
        found = ((one.id, self.open(one)) for one in self._sealed(db))
        return {id: provider for id, provider in found if provider is not None}

    def _sealed(self, db: Connection, only: list[str] | None = None) -> Iterator[Sealed]:
        rows = db.execute(
            f"SELECT {_PROVIDER_COLUMNS} FROM carillon.providers WHERE removed_at IS NULL"
            " AND (%(only)s::text[] IS NULL OR app = ANY(%(only)s)) ORDER BY id".encode(),
            {"only": only},
        ).fetchall()
        return (Sealed(row[0], row[1], row) for row in rows)

    def _provider(self, row: Sequence[Any]) -> Provider | None:
        *clear, sealed, sealed_password = row
        try:
            return self._loaded(clear, *self._opened(sealed, sealed_password))
        except CredentialError as fault:
            # One unreadable credential must not stop other providers: only this provider's notifications wait.
            found = self._loaded(clear)
            if found is not None and found.id not in self._logged:
                self._logged.add(found.id)
                log.error("provider cannot be used: %s", fault, extra={"app": found.app, "provider": found.name})
            return found

    def _loaded(
        self, clear: Sequence[Any], credential: bytes | None = None, password: bytes | None = None
    ) -> Provider | None:
        """The provider of a row. Without a credential it is unreadable. None: the row is of a later release."""
        row = dict(zip(_CLEAR, clear, strict=True))
        settings = self._codec.load(_stored(row, credential or b"", password))
        if settings is None:
            if row["id"] not in self._logged:
                self._logged.add(row["id"])
                log.error(
                    "provider left out: this release does not know its kind",
                    extra={"app": row["app"], "provider": row["name"], "kind": row["kind"]},
                )
            return None
        return Provider(row["id"], row["app"], row["name"], row["environment"], settings, credential is not None)

    def _opened(self, credential: bytes, password: bytes | None) -> tuple[bytes, bytes | None]:
        opened = self._vault.open(bytes(credential))
        return opened, None if password is None else self._vault.open(bytes(password))

    def _row(self, stored: StoredSettings) -> dict[str, Any]:
        """The columns of the settings."""
        others = {name: value for name, value in stored.fields.items() if name not in _OWN_COLUMNS}
        return {
            **{name: stored.fields.get(name, default) for name, default in _OWN_COLUMNS.items()},
            "kind": stored.form,
            "settings": Jsonb(others),
            "credential": self._vault.seal(stored.credential),
            "password": None if stored.password is None else self._vault.seal(stored.password),
        }

    # templates

    def templates(self) -> list[StoredTemplate]:
        with self._pool.connection() as db:
            return _templates(db, None)

    def save_template(self, template: StoredTemplate) -> None:
        """Creates or replaces the provider's template of that kind and locale."""
        with self._pool.connection() as db:
            db.execute(
                "INSERT INTO carillon.templates (provider_id, kind, locale, document) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (provider_id, kind, locale) DO UPDATE"
                " SET document = excluded.document, updated_at = now()",
                template,
            )

    def remove_template(self, provider: int, kind: str, locale: str) -> bool:
        with self._pool.connection() as db:
            gone = db.execute(
                "DELETE FROM carillon.templates WHERE provider_id = %s AND kind = %s AND locale = %s",
                (provider, kind, locale),
            )
        return gone.rowcount == 1


def _stored(row: Mapping[str, Any], credential: bytes, password: bytes | None) -> StoredSettings:
    return StoredSettings(
        row["kind"], {name: row[name] for name in _OWN_COLUMNS} | row["settings"], credential, password
    )


def _templates(db: Connection, only: list[str] | None) -> list[StoredTemplate]:
    rows = db.execute(
        "SELECT t.provider_id, t.kind, t.locale, t.document FROM carillon.templates t JOIN carillon.providers p"
        " ON p.id = t.provider_id WHERE %(only)s::text[] IS NULL OR p.app = ANY(%(only)s) ORDER BY 1, 2, 3",
        {"only": only},
    )
    return [StoredTemplate(*row) for row in rows]


_ADVICE: Final = "add the key it was stored with, or store the credential again: carillon push --help lists how"


def _column(setting: Any) -> Any:
    if isinstance(setting, Attention):
        return Jsonb(msgspec.to_builtins(setting))
    return list(setting) if isinstance(setting, tuple) else setting


def _setting(column: Any) -> Any:
    if isinstance(column, dict):
        return attention(column)
    return tuple(column) if isinstance(column, list) else column
