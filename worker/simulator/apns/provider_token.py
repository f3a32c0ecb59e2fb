"""Provider tokens (JWT, ES256) as APNs judges them: the token alone, and in the life of one connection.

Verifying a signature costs more than all other rules together; it is done once per distinct token.
"""

import base64
import binascii
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

#: Seconds a token lives, and how long the next must wait on one connection.
MAX_AGE: Final = 3600
UPDATE_INTERVAL: Final = 1200
#: Seconds a sender's clock may be ahead.
LEEWAY: Final = 60


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signing key that the simulator knows, and what it may be used for."""

    key_id: str
    team_id: str
    #: The public key, or the private one of a .p8, in PEM. Only the public part is kept.
    pem: str
    #: Tokens of keys of one group may share a connection.
    group: str | None = None
    #: Topics the key may be used for, suffixes included; None: all of the team.
    topics: frozenset[str] | None = None
    #: The only environment of the key; None: both.
    environment: Literal["production", "sandbox"] | None = None

    def __post_init__(self) -> None:
        if "PRIVATE KEY" in self.pem:
            public = public_key(self.pem.encode()).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            msgspec.structs.force_setattr(self, "pem", public.decode())

    @classmethod
    def read(cls, text: str) -> "Key":
        """From `KEYID:TEAMID:path`, the path of a .p8 or of a public key in PEM. Raises ValueError, or OSError."""
        key_id, _, rest = text.partition(":")
        team_id, _, path = rest.partition(":")
        if not (key_id and team_id and path):
            raise ValueError("a key is given as KEYID:TEAMID:path")
        return cls(key_id, team_id, Path(path).read_text())


def public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a private or public P-256 key in PEM. Raises ValueError."""
    public = load_pem_private_key(pem, None).public_key() if b"PRIVATE KEY" in pem else load_pem_public_key(pem)
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise ValueError("the key is not an EC key on P-256")
    return public


class ProviderToken(NamedTuple):
    """A token whose form and signature are good."""

    key_id: str
    team_id: str
    issued_at: int


class _Header(msgspec.Struct):
    alg: str
    kid: str


class _Claims(msgspec.Struct):
    iss: str
    iat: int


class Verifier:
    """Reads tokens. Without keys it trusts every well-formed one, whoever signed it."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = keys
        self._public = {key_id: public_key(key.pem.encode()) for key_id, key in keys.items()}
        self.read = lru_cache(maxsize=512)(self._read)

    def _read(self, token: bytes) -> ProviderToken | None:
        """The token's content, or None where it is not valid."""
        try:
            signed, _, signature = token.rpartition(b".")
            first, _, second = signed.partition(b".")
            header = msgspec.json.decode(_decode(first), type=_Header)
            claims = msgspec.json.decode(_decode(second), type=_Claims)
            raw = _decode(signature)
        except (ValueError, binascii.Error):
            return None
        if header.alg != "ES256" or len(raw) != 64:
            return None
        if self._keys:
            key = self._keys.get(header.kid)
            if key is None or key.team_id != claims.iss or not _signed(self._public[header.kid], signed, raw):
                return None
        return ProviderToken(header.kid, claims.iss, claims.iat)

    def key(self, key_id: str) -> Key | None:
        """The known key of this id."""
        return self._keys.get(key_id)


def _decode(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def _signed(public: ec.EllipticCurvePublicKey, message: bytes, raw: bytes) -> bool:
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    try:
        public.verify(signature, message, ec.ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


class TokensOfConnection:
    """What one connection has seen of provider tokens; it binds the first team and key."""

    def __init__(self, verifier: Verifier, environment: str) -> None:
        self._verifier = verifier
        self._environment = environment
        self._seen: set[bytes] = set()
        self._first: ProviderToken | None = None
        self._updated_at = 0.0
        self._expired = False
        self._blocked_until = 0.0
        #: An update came too early, or a token expired: from then on every request is judged in full.
        self.soured = False

    def admit(self, authorization: bytes | None, now: float) -> ProviderToken | str:
        """The token, or the reason of its refusal. `now` is in seconds since the epoch."""
        if authorization is None or authorization[:7].lower() != b"bearer " or len(authorization) == 7:
            return "MissingProviderToken"
        raw = authorization[7:]
        token = self._verifier.read(raw)
        if token is None or token.issued_at > now + LEEWAY:
            return "InvalidProviderToken"
        if self._expired or now - token.issued_at > MAX_AGE:
            self._expired = self.soured = True
            return "ExpiredProviderToken"
        if (reason := self._unfit(token)) is not None:
            return reason
        if raw not in self._seen:
            if self._seen and now - self._updated_at < UPDATE_INTERVAL:
                self._blocked_until, self.soured = self._updated_at + UPDATE_INTERVAL, True
            else:
                self._seen.add(raw)
                self._updated_at = now
        return "TooManyProviderTokenUpdates" if now < self._blocked_until else token

    def topics(self, token: ProviderToken) -> frozenset[str] | None:
        """The only topics that the token's key may be used for; None: no such bound."""
        key = self._verifier.key(token.key_id)
        return None if key is None else key.topics

    def _unfit(self, token: ProviderToken) -> str | None:
        key = self._verifier.key(token.key_id)
        if key is not None and key.environment not in (None, self._environment):
            return "BadEnvironmentKeyIdInToken"
        if self._first is None:
            self._first = token
        elif token.team_id != self._first.team_id:
            return "InvalidProviderToken"
        elif token.key_id != self._first.key_id:
            first = self._verifier.key(self._first.key_id)
            if key is None or first is None or key.group is None or key.group != first.group:
                return "UnrelatedKeyIdInToken"
        return None
