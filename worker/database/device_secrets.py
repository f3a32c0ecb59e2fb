"""Seals what of a device only its provider's client may read. That is opened for each push, so it has to be cheap.

A sealed text is base64 of the id of its key (6 octets), a nonce (12), and the text in AES-256-GCM. The keys are derived from
those that encrypt credentials. Fernet, which does that, takes five times as long.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_ID: Final = 6
#: Characters of base64 that six octets are, whatever follows.
_MARK: Final = 8
_NONCE: Final = 12


class DeviceSecrets:
    """`keys` are Fernet keys: the first seals, all open. `repr` shows none. Thread-safe."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._ciphers = dict(map(_derived, reversed(keys)))
        #: How everything begins that the first key has sealed.
        self.mark = list(self._ciphers)[-1]

    def seal(self, text: str) -> str:
        nonce = os.urandom(_NONCE)
        return self.mark + b64encode(nonce + self._ciphers[self.mark].encrypt(nonce, text.encode(), None)).decode()

    def unseal(self, sealed: str) -> str | None:
        """The text; None where no key opens it."""
        cipher = self._ciphers.get(sealed[:_MARK])
        if cipher is None:
            return None
        octets = b64decode(sealed[_MARK:])
        try:
            return cipher.decrypt(octets[:_NONCE], octets[_NONCE:], None).decode()
        except InvalidTag:
            return None


def _derived(key: str) -> tuple[str, AESGCM]:
    """The mark of the key that this one derives, and its cipher."""
    derived = HKDF(SHA256(), _ID + 32, salt=None, info=b"carillon device secrets").derive(key.encode())
    return b64encode(derived[:_ID]).decode(), AESGCM(derived[_ID:])
