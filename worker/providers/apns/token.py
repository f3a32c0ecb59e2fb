"""Provider tokens (JWT): made from a team's key, shared by the whole fleet, renewed inside Apple's window.

Apple asks that a token be 20 to 60 minutes old when it is replaced and answers 429 to those who mint more. So one process
mints, under a lease, and all others take its token. Only the token is shared, never the key.
"""

import base64
import binascii
import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import Final, Literal

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from worker.providers.apns.settings import Key
from worker.providers.base import SettingsError, TokenAgeError, TokenKey, TokenStore

#: Seconds after which a token is renewed, and after which it is not used any more; Apple refuses at 3600.
DUE_AGE: Final = 50 * 60
STALE_AGE: Final = 58 * 60
#: A token younger than this is not replaced, in seconds.
LEAST_AGE: Final = 20 * 60
#: Seconds that `iat` lies in the past, for servers whose clock is behind ours.
ISSUED_BACK: Final = 5
#: Seconds for which a process believes its own copy before it looks at the fleet's again.
LOCAL_SECONDS: Final = 30.0
#: Seconds a minting process has before another one may take over.
LEASE_SECONDS: Final = 5.0
_POLL: Final = 0.02

log: Final = logging.getLogger(__name__)


class ProviderKeyError(SettingsError):
    """The provider's key cannot sign; the text says what it is and where the right one comes from."""


def mint(team_id: str, key_id: str, key_pem: str, now: float) -> str:
    """A provider token issued at `now` (UNIX seconds), ES256. Raises `ProviderKeyError` for a key that is not Apple's kind."""
    return jwt.encode(
        {"iss": team_id, "iat": int(now)}, _load(key_pem), algorithm="ES256", headers={"kid": key_id, "typ": None}
    )


def check_key(key_pem: str) -> None:
    """Raises `ProviderKeyError` unless this is the content of an Apple `.p8` file."""
    _load(key_pem)


def token_state(issued_at: float, now: float) -> Literal["fresh", "due", "stale"]:
    """`fresh`: use it; `due`: use it, somebody should renew it; `stale`: APNs would refuse it.

    A token from the future comes of two clocks that differ; by more than a minute APNs would refuse it as well.
    """
    age = now - issued_at
    if age >= STALE_AGE or age < -60:
        return "stale"
    return "due" if age >= DUE_AGE else "fresh"


def issued_at(token: str) -> float:
    """The `iat` of a provider token, UNIX seconds."""
    return float(jwt.decode(token, options={"verify_signature": False})["iat"])


@dataclass(slots=True)
class _Local:
    token: str
    issued_at: float
    #: When it was last compared with the fleet's.
    looked_at: float


class TokenSource:
    """The fleet's provider tokens as one process sees them. Thread-safe.

    Raises only where the store is away and no usable token is known.
    """

    def __init__(self, store: TokenStore) -> None:
        self._store = store
        self._local: dict[TokenKey, _Local] = {}
        self._locks: dict[TokenKey, threading.Lock] = {}
        self._guard = threading.Lock()

    def current(self, key: Key, now: float) -> str:
        """The token to send with at `now` (UNIX seconds): from memory, from the fleet's store, or minted for everybody."""
        name = shared_name(key)
        local = self._local.get(name)
        if local and now - local.looked_at < LOCAL_SECONDS and token_state(local.issued_at, now) == "fresh":
            return local.token
        with self._lock(name):
            try:
                return self._renewed(name, key, now)
            except self._store.away:
                local = self._local.get(name)
                if local is None or token_state(local.issued_at, now) == "stale":
                    raise
                log.warning("provider token not compared with the fleet's, redis is away", extra={"key_id": key.key_id})
                return local.token

    def refuse(self, key: Key, token: str, now: float) -> str:
        """The token to use after APNs called `token` expired.

        The fleet's, where it is another one by now; a new one, where the refused one is old enough to be replaced; else
        `TokenAgeError`, because a second young token would be refused as well and end in 429.
        """
        name = shared_name(key)
        with self._lock(name):
            shared = self._look(name, now)
            if shared and shared.token != token and token_state(shared.issued_at, now) != "stale":
                return shared.token
            age = now - issued_at(token)
            if age < LEAST_AGE:
                log.error(
                    "provider token called expired while young: set this machine's clock",
                    extra={"key_id": key.key_id, "age_seconds": int(age)},
                )
                raise TokenAgeError(
                    f"APNs calls a provider token of key {key.key_id} expired that is {int(age)} s old by our clock: "
                    "check the clock (NTP) of every machine that runs a worker"
                )
            return self._minted(name, key, now, instead_of=token)

    def _renewed(self, name: TokenKey, key: Key, now: float) -> str:
        shared = self._look(name, now)
        state = token_state(shared.issued_at, now) if shared else "stale"
        if shared and state == "fresh":
            return shared.token
        if shared and state == "due" and not self._lease(name):
            return shared.token
        return self._minted(name, key, now, instead_of=shared.token if shared else None, leased=state == "due")

    def _look(self, name: TokenKey, now: float) -> _Local | None:
        token = self._store.read(name)
        if token is None:
            return None
        local = self._local.get(name)
        if local is None or local.token != token:
            local = self._local[name] = _Local(token, issued_at(token), now)
        local.looked_at = now
        return local

    def _minted(self, name: TokenKey, key: Key, now: float, *, instead_of: str | None, leased: bool = False) -> str:
        """A new token for the fleet: ours under the lease, or that of whoever held it meanwhile."""
        waiting_ends = time.monotonic() + 2 * LEASE_SECONDS
        while not leased and not (leased := self._lease(name)):
            shared = self._look(name, now)
            if shared and shared.token != instead_of and token_state(shared.issued_at, now) != "stale":
                return shared.token
            if time.monotonic() > waiting_ends:
                break
            time.sleep(_POLL)
        try:
            # Between our look and the lease another process may have finished.
            shared = self._look(name, now)
            if shared and shared.token != instead_of and token_state(shared.issued_at, now) == "fresh":
                return shared.token
            return self._publish(name, key, now)
        finally:
            if leased:
                self._store.release(name)

    def _publish(self, name: TokenKey, key: Key, now: float) -> str:
        token = mint(key.team_id, key.key_id, key.pem, now - ISSUED_BACK)
        self._store.write(name, token, seconds=3600)
        self._local[name] = _Local(token, float(int(now - ISSUED_BACK)), now)
        log.info("provider token minted", extra={"team_id": key.team_id, "key_id": key.key_id})
        return token

    def _lease(self, name: TokenKey) -> bool:
        return self._store.lease(name, seconds=LEASE_SECONDS)

    def _lock(self, name: TokenKey) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())


def shared_name(key: Key) -> TokenKey:
    """Under which the fleet shares the token of a key. Another key under the same ids has another name."""
    fingerprint = hashlib.sha256(key.pem.strip().encode()).hexdigest()[:16]
    return key.team_id, key.key_id, fingerprint


_WHERE: Final = "download an APNs key (.p8) at developer.apple.com, Certificates, Identifiers & Profiles, Keys"


def is_der_key(content: bytes) -> bool:
    """Whether this is a private key, but not in PEM."""
    try:
        load_der_private_key(content, password=None)
    except TypeError:  # encrypted
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _load(pem: str) -> ec.EllipticCurvePrivateKey:
    if "PRIVATE KEY-----" not in pem:
        raise ProviderKeyError(f"key: {_seen(pem)} where the private key of a .p8 file was expected; {_WHERE}")
    if "\\n" in pem:
        raise ProviderKeyError(
            "key: its line breaks became the two characters \\n on the way, as in an environment variable: put real ones there"
        )
    try:
        key = load_pem_private_key(pem.strip().encode(), password=None)
    except TypeError:
        raise ProviderKeyError(
            f"key: encrypted with a passphrase, which Apple's .p8 files never are; {_WHERE}"
        ) from None
    except UnsupportedAlgorithm:
        raise ProviderKeyError(f"key: of a kind that is not supported, where P-256 was expected; {_WHERE}") from None
    except ValueError:
        raise ProviderKeyError(f"key: the PEM text is damaged or cut off; {_WHERE}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        kind = f"an EC key on {key.curve.name}" if isinstance(key, ec.EllipticCurvePrivateKey) else type(key).__name__
        raise ProviderKeyError(f"key: {kind} where an EC key on P-256 was expected; {_WHERE}")
    return key


def _seen(text: str) -> str:
    """What stands where the PEM text of a private key was expected."""
    if "BEGIN CERTIFICATE" in text:
        return "a certificate"
    if "PUBLIC KEY" in text:
        return "a public key"
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return "no PEM text"
    if b"PRIVATE KEY-----" in decoded:
        return "base64 of the whole file (decode it first: base64 -d)"
    return "the key without its lines BEGIN and END PRIVATE KEY" if is_der_key(decoded) else "no PEM text"
