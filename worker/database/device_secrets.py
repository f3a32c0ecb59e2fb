"""Seals the secrets and keys of devices in the database. They are opened for each push, so that has to be cheap.

A sealed text is base64 of the id of its key (6 octets) and of the text in AES-256-SIV, so that a text is always sealed to the
same. The keys are derived from those that encrypt credentials. Fernet, which does that, takes five times as long.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from worker.database.postgres import Pool

_ID: Final = 6
#: Characters of base64 that six octets are, whatever follows.
_MARK: Final = 8
#: Rows that are sealed anew in one statement.
_BITE: Final = 5_000
#: Columns of devices that are sealed.
_COLUMNS: Final = ("secret", "keys")


class Rotated(NamedTuple):
    """Secrets and keys of devices that were sealed anew, and those that no key opens."""

    devices: int
    unreadable_devices: int


class DeviceSecrets:
    """`keys` are Fernet keys: the first seals, all open. `repr` shows none. Thread-safe."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ciphers = dict(map(_derived, reversed(keys)))
        self._newest = list(self._ciphers)[-1]
        #: Whether one could not be opened since whoever reports it looked last.
        self.failed = False

    def seal(self, text: str) -> str:
        return self._newest + b64encode(self._ciphers[self._newest].encrypt(text.encode(), None)).decode()

    def unseal(self, sealed: str) -> str | None:
        """The text; None where no key opens it."""
        cipher = self._ciphers.get(sealed[:_MARK])
        try:
            if cipher is not None:
                return cipher.decrypt(b64decode(sealed[_MARK:]), None).decode()
        except (InvalidTag, ValueError):
            pass
        self.failed = True
        return None

    def rotate(self, pool: Pool) -> Rotated:
        """Seals with the first key what other keys have sealed, some rows at a time. May be stopped, and repeated."""
        found = [self._rotate(pool, column) for column in _COLUMNS]
        return Rotated(*map(sum, zip(*found, strict=True)))

    def _rotate(self, pool: Pool, column: str) -> Rotated:
        after, sealed, unreadable = 0, 0, 0
        while True:
            with pool.connection() as db:
                rows = db.execute(
                    f"SELECT id, {column} FROM carillon.devices WHERE id > %s AND {column} <> ''"
                    f" AND NOT starts_with({column}, %s) ORDER BY id LIMIT %s".encode(),
                    (after, self._newest, _BITE),
                ).fetchall()
                if not rows:
                    return Rotated(sealed, unreadable)
                opened = [(id, old, self.unseal(old)) for id, old in rows]
                anew = [(id, old, self.seal(text)) for id, old, text in opened if text is not None]
                # One that was registered again meanwhile has another secret.
                db.execute(
                    f"UPDATE carillon.devices d SET {column} = r.new FROM unnest(%s::bigint[], %s::text[], %s::text[])"
                    f" AS r (id, old, new) WHERE d.id = r.id AND d.{column} = r.old".encode(),
                    [list(column) for column in zip(*anew, strict=True)] or [[], [], []],
                )
            after, sealed, unreadable = rows[-1][0], sealed + len(anew), unreadable + len(rows) - len(anew)


def _derived(key: str) -> tuple[str, AESSIV]:
    """How begins what this key seals, and its cipher."""
    derived = HKDF(SHA256(), _ID + 64, salt=None, info=b"carillon device secrets").derive(key.encode())
    return b64encode(derived[:_ID]).decode(), AESSIV(derived[_ID:])
