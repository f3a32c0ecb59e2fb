"""Passwords that change: a function is asked for the user and password of each new connection.

Managed servers with IAM give tokens that are good for some minutes, and end a connection whose token is long over.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final

from redis import exceptions
from redis.credentials import CredentialProvider

#: Called from any thread at each new connection; returns the user and the password. It may keep an answer while that is good.
Credentials = Callable[[], tuple[str, str]]
#: Seconds that it may take.
PATIENCE: Final = 10.0


class CredentialsError(Exception):
    """The function gave no user and password. The text says why, without what it returned or said."""


def ask(credentials: Credentials, seconds: float = PATIENCE) -> tuple[str, str]:
    """The user and the password. Raises `CredentialsError`, also where there is no answer within so many seconds."""
    answer: list[Any] = []

    def call() -> None:
        try:
            answer.append(credentials())
        except Exception as fault:  # noqa: BLE001 it is somebody else's function
            answer.append(fault)

    # A thread of its own, for a call that never returns must not keep ours.
    thread = threading.Thread(target=call, name="carillon-credentials", daemon=True)
    thread.start()
    thread.join(seconds)
    return _checked(answer, seconds)


def _checked(answer: list[Any], seconds: float) -> tuple[str, str]:
    if not answer:
        raise CredentialsError(f"the function for credentials did not return within {seconds:g} s")
    match answer[0]:
        case Exception() as fault:
            # What it says may be secret.
            raise CredentialsError(f"the function for credentials raised {type(fault).__name__}")
        case (str() as user, str() as password) if password:
            return user, password
    raise CredentialsError("the function for credentials returned no (user, password)")


class Provider(CredentialProvider):
    """The same for redis-py. A fault is one of the connection, so that it is tried again."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """The user and the password, or the password alone for a server without users."""
        try:
            user, password = ask(self._credentials)
        except CredentialsError as fault:
            raise exceptions.ConnectionError(str(fault)) from None
        return (user, password) if user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same, without keeping the event loop."""
        return await asyncio.to_thread(self.get_credentials)
