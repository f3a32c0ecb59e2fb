"""Encrypts a message for one browser, as `worker/core/sealing.py` does, with what is random for it."""

import os
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import ec

from worker.core import sealing
from worker.core.receiver_keys import Keys
from worker.core.sealing import CURVE, SALT, seal


def salts(count: int) -> Iterator[bytes]:
    """New ones, each for one message. Another thread runs while the system is asked, so it is asked once for all."""
    return sealing.salts(os.urandom(SALT * count))


def encrypt(message: bytes, keys: Keys, salt: bytes) -> bytes:
    """The body of a request, with a key pair of its own, and a salt of `salts`."""
    return seal(message, keys, ec.generate_private_key(CURVE), salt)
