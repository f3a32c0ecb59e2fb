"""Who may come in: passwords, sessions and tokens against requests from elsewhere. Keeps no state but the last tries.

A session is a signed cookie, so it also holds while Postgres and Redis are away. It ends after 12 h, when its user's line of
CARILLON_DASHBOARD_USERS changes, and, without CARILLON_SECRET_KEYS, when the process ends.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from worker.dashboard.page import ROLES, Role, User

#: Seconds.
SESSION: Final = 12 * 3_600
#: Tries of an address in so many seconds.
TRIES: Final = 5
_WINDOW: Final = 60.0
#: Addresses that are remembered.
_ADDRESSES: Final = 1_000
#: Cost, block size and parallelism of scrypt: 32 MiB and some 80 ms.
_COST: Final = (1 << 15, 8, 1)
_MEMORY: Final = 64 << 20
_LONGEST: Final = 1_000


class Account(NamedTuple):
    """`hash` is empty for somebody whom only a proxy signs in."""

    role: Role
    hash: str = ""


class Session(NamedTuple):
    """`id` is what tokens are bound to."""

    user: User
    id: str


def parse_users(text: str) -> dict[str, Account]:
    """The accounts of CARILLON_DASHBOARD_USERS, `name:role:hash` or `name:role`, comma separated. Raises `ValueError`."""
    found: dict[str, Account] = {}
    for number, entry in enumerate(text.replace(",", " ").split(), 1):
        name, _, rest = entry.partition(":")
        role, _, hashed = rest.partition(":")
        if not name or len(name) > 64 or not name.isprintable() or role not in ROLES or name in found:
            raise ValueError(f"entry {number}: name:role:hash is needed, with a role of {', '.join(ROLES)}")
        if hashed and _parts(hashed) is None:
            raise ValueError(f"entry {number}: not a hash as carillon dashboard-user prints it")
        found[name] = Account(role, hashed)
    return found


def hash_password(password: str) -> str:
    """The password as scrypt's hash with its salt, of letters, digits, `.`, `-` and `_`."""
    salt = secrets.token_bytes(16)
    return f"scrypt.{_text(salt)}.{_text(_scrypt(password, salt))}"


class Access:
    """`secret` signs sessions: whoever has it comes in as anybody. `now` gives UNIX seconds."""

    def __init__(
        self, accounts: Mapping[str, Account], secret: bytes | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._accounts, self._now = accounts, now
        derived = HKDF(SHA256(), 64, None, b"carillon dashboard").derive(secret or secrets.token_bytes(32))
        self._key, self._token_key = derived[:32], derived[32:]
        self._tries: dict[str, deque[float]] = {}
        #: One hash at a time, so that guesses cost memory once.
        self._hashing = threading.Lock()
        #: Of nobody's password: an unknown name takes as long as a wrong password.
        self._decoy = hash_password(secrets.token_hex(16))

    @property
    def has_passwords(self) -> bool:
        return any(account.hash for account in self._accounts.values())

    def user(self, name: str) -> User:
        """Somebody whom a proxy names. Who has no account is a viewer."""
        return User(name, self._accounts[name].role if name in self._accounts else "viewer")

    # passwords

    def may_try(self, address: str) -> bool:
        """Counts a try of this address; False if it had too many within the last minute."""
        now = self._now()
        tries = self._tries.pop(address, deque(maxlen=TRIES))
        allowed = len(tries) < TRIES or now - tries[0] > _WINDOW
        if allowed:
            tries.append(now)
        while len(self._tries) >= _ADDRESSES:
            del self._tries[next(iter(self._tries))]
        self._tries[address] = tries
        return allowed

    def sign_in(self, address: str, name: str, password: str) -> str | None:
        """The cookie of a new session, or None. Takes some 80 ms: not for an event loop."""
        account = self._accounts.get(name)
        known = account.hash if account is not None and account.hash else self._decoy
        parts = _parts(known)
        assert parts is not None
        salt, expected = parts
        with self._hashing:
            found = _scrypt(password[:_LONGEST], salt)
        if not hmac.compare_digest(found, expected) or known is self._decoy:
            return None
        self._tries.pop(address, None)
        document = {"user": name, "ends": int(self._now()) + SESSION, "id": secrets.token_urlsafe(12)}
        payload = _text(json.dumps(document, separators=(",", ":")).encode())
        return f"{payload}.{self._mac(payload, known)}"

    # sessions

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie, or None if it is not ours or has ended. The role is that of now."""
        payload, _, mac = cookie.partition(".")
        try:
            document: Any = json.loads(_bytes(payload))
            name, ends, id = document["user"], document["ends"], document["id"]
        except (ValueError, KeyError, TypeError):
            return None
        account = self._accounts.get(name) if isinstance(name, str) else None
        if account is None or not hmac.compare_digest(mac.encode(), self._mac(payload, account.hash).encode()):
            return None
        return Session(User(name, account.role), id) if self._now() < ends else None

    def token(self, session: Session) -> str:
        """What each form of the session carries."""
        return _text(hmac.digest(self._token_key, f"{session.user.name}\0{session.id}".encode(), "sha256"))

    def is_token(self, session: Session, given: str) -> bool:
        return hmac.compare_digest(self.token(session).encode(), given.encode())

    def _mac(self, payload: str, hashed: str) -> str:
        return _text(hmac.digest(self._key, f"{payload}\0{hashed}".encode(), "sha256"))


def _scrypt(password: str, salt: bytes) -> bytes:
    n, r, p = _COST
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY)


def _parts(hashed: str) -> tuple[bytes, bytes] | None:
    """Salt and hash."""
    name, _, rest = hashed.partition(".")
    try:
        salt, expected = map(_bytes, rest.split("."))
    except ValueError:
        return None
    return (salt, expected) if name == "scrypt" and len(salt) == 16 and len(expected) == 64 else None


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as fault:
        raise ValueError(str(fault)) from None
