"""Provider tokens (JWT): made from a team's key, shared by the whole fleet, renewed inside Apple's window.

Apple asks that a token be 20 to 60 minutes old when it is replaced and answers 429 to those who mint more.
"""

import base64
import binascii
import hashlib
import logging
from functools import lru_cache
from typing import Final, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from config.seldom import Seldom
from worker.providers.apns.settings import Key
from worker.providers.base import SettingsError, TokenAgeError, TokenKey, TokenStore
from worker.providers.fleet_tokens import FleetToken, FleetTokens

#: Seconds after which a token is renewed, and after which it is not used any more; Apple refuses at 3600.
DUE_AGE: Final = 50 * 60
STALE_AGE: Final = 58 * 60
#: A token younger than this is not replaced, in seconds.
LEAST_AGE: Final = 20 * 60
#: Seconds that `iat` lies in the past, for servers whose clock is behind ours.
ISSUED_BACK: Final = 5

log: Final = logging.getLogger(__name__)
seldom: Final = Seldom(log)


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


@lru_cache(maxsize=256)  # it is asked for each batch
def issued_at(token: str) -> float:
    """The `iat` of a provider token, UNIX seconds."""
    return float(jwt.decode(token, options={"verify_signature": False})["iat"])


class _Maker(NamedTuple):
    """Makes the provider tokens of a key."""

    of: Key

    @property
    def key(self) -> TokenKey:
        return shared_name(self.of)

    def make(self, now: float) -> str:
        return mint(self.of.team_id, self.of.key_id, self.of.pem, now - ISSUED_BACK)

    def read(self, text: str) -> FleetToken:
        issued = issued_at(text)
        return FleetToken(text, text, issued, issued + DUE_AGE, issued + STALE_AGE)


class TokenSource:
    """The fleet's provider tokens as one process sees them. Thread-safe.

    Raises only where the store is away and no usable token is known.
    """

    def __init__(self, store: TokenStore) -> None:
        self._fleet = FleetTokens(store)

    def current(self, key: Key, now: float) -> str:
        """The token to send with at `now` (UNIX seconds): from memory, from the fleet's store, or minted for everybody."""
        return self._fleet.current(_Maker(key), now).bearer

    def refuse(self, key: Key, token: str, now: float) -> str:
        """The token to use after APNs called `token` expired.

        The fleet's, where it is another one by now; a new one, where the refused one is old enough to be replaced; else
        `TokenAgeError`, because a second young token would be refused as well and end in 429.
        """
        maker = _Maker(key)
        if other := self._fleet.other_than(maker, token, now):
            return other.bearer
        age = now - issued_at(token)
        if age < LEAST_AGE:
            seldom.error(
                "provider token called expired while young: set this machine's clock",
                about=key.key_id,
                extra={"key_id": key.key_id, "age_seconds": int(age)},
            )
            raise TokenAgeError(
                f"APNs calls a provider token of key {key.key_id} expired that is {int(age)} s old by our clock: "
                "check the clock (NTP) of every machine that runs a worker"
            )
        return self._fleet.replace(maker, token, now).bearer


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
