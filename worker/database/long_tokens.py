"""What a device's token is stored as: the index over tokens has no room for the longest ones."""

import hashlib
from typing import Final

#: Characters of a token that is stored as it is.
SHORT: Final = 512
#: A device's token in a statement that calls the devices `d`.
TOKEN: Final = "coalesce(d.long_token, d.token)"


def key_of(token: str) -> str:
    """What the column `token` has: the token, or the hash of a long one."""
    return token if len(token) <= SHORT else f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def long_token(token: str) -> str | None:
    """What the column `long_token` has."""
    return token if len(token) > SHORT else None
