"""Encrypts credentials for Postgres and decrypts them. Owns no row."""

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from worker.core.errors import WorkerError


class CredentialError(WorkerError):
    """Something stored cannot be decrypted with the configured keys."""


class Vault:
    """`keys` are Fernet keys: the first encrypts, all decrypt. `repr` shows none."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def seal(self, secret: bytes) -> bytes:
        """The secret, encrypted with the first key."""
        return self._fernet.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """The secret; raises `CredentialError` if none of the keys fits."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise CredentialError("none of the keys in CARILLON_SECRET_KEYS decrypts it") from None
