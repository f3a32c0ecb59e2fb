"""Says who sends, as push services ask for it (VAPID, RFC 8292): key pairs, subjects, and a signed token for each origin."""

import re
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from worker.providers.base import SettingsError
from worker.providers.web.settings import WebSettings

#: Seconds for which a token is valid: services take a day at most, by their clock. And the age at which it is renewed.
LIFE: Final = 12 * 3600
DUE: Final = 11 * 3600
#: Tokens that a process keeps.
_KEPT: Final = 1_024
_SCALAR: Final = 32
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]{43}=?")
_MAIL: Final = re.compile(r"mailto:[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?P<host>[^@]+)")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE)
_NOWHERE: Final = ("localhost", "local", "localdomain", "invalid", "test")


class KeyPair(NamedTuple):
    """In base64url without padding: the application server key that browsers get, and the private key's number."""

    public: str
    private: str

    def __repr__(self) -> str:
        return f"KeyPair({self.public!r})"


def new_key_pair() -> KeyPair:
    return _pair(ec.generate_private_key(ec.SECP256R1()))


def key_pair(text: str) -> KeyPair:
    """The pair of a private key: PEM text, or the number in base64url that other senders print. Raises `SettingsError`."""
    return _pair(_private_key(text.strip()))


def check_subject(subject: str) -> str:
    """What all services take: Apple's refuses an address without `mailto:`, in angle brackets, or at a host of nowhere."""
    host = _host_of(subject)
    if host.lower().rpartition(".")[2] in _NOWHERE:
        raise SettingsError(f"subject: nobody can be reached at {host}, and Apple refuses it; give a public address")
    if not _HOST.fullmatch(host):
        raise SettingsError(
            "subject: mailto: and an e-mail address, or an https URL, by which a push service reaches you,"
            " such as mailto:push@example.com"
        )
    return subject


def check_key(settings: WebSettings) -> None:
    """Raises `SettingsError` unless the private key can sign, and is that of the public one."""
    if key_pair(settings.private_key).public != settings.public_key:
        raise SettingsError("private key: not that of the public key")


class Tokens:
    """The proofs of sender that a process sends with, each for many requests. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By public key, subject and origin: when it was made, and the field's value.
        self._made: dict[tuple[str, str, str], tuple[float, str]] = {}

    def authorization(self, settings: WebSettings, host: str, now: float) -> str:
        """The `Authorization` of requests to a host, at `now` (UNIX seconds). Raises `SettingsError` without a private key."""
        name = settings.public_key, settings.subject, host
        with self._lock:
            made_at, value = self._made.get(name, (0.0, ""))
            # The clock may have been set back.
            if not 0 <= now - made_at < DUE:
                if len(self._made) >= _KEPT:
                    self._made.clear()
                value = f"vapid t={token(settings, host, now)}, k={settings.public_key}"
                self._made[name] = now, value
        return value


def token(settings: WebSettings, host: str, now: float) -> str:
    """A signed token for the origin `https://<host>`. Raises `SettingsError`."""
    claims = {"aud": f"https://{host}", "exp": int(now) + LIFE, "sub": settings.subject}
    return jwt.encode(claims, _private_key(settings.private_key), algorithm="ES256")


def _private_key(text: str) -> ec.EllipticCurvePrivateKey:
    if not text:
        raise SettingsError("private key: cannot be read; give CARILLON_SECRET_KEYS the key that it was encrypted with")
    if _BASE64.fullmatch(text):
        number = int.from_bytes(urlsafe_b64decode(text.rstrip("=") + "="), "big")
        try:
            return ec.derive_private_key(number, ec.SECP256R1())
        except ValueError:
            raise SettingsError("private key: not a number of the curve P-256") from None
    if "PUBLIC KEY-----" in text:
        raise SettingsError("private key: this is a public key")
    if "PRIVATE KEY-----" not in text:
        raise SettingsError("private key: neither PEM text nor 43 characters of base64url")
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise SettingsError("private key: encrypted with a passphrase; decrypt it first: openssl ec -in FILE") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError("private key: the PEM text is damaged or cut off") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SettingsError("private key: Web Push takes an EC key on the curve P-256")
    return key


def _pair(key: ec.EllipticCurvePrivateKey) -> KeyPair:
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return KeyPair(_text(public), _text(key.private_numbers().private_value.to_bytes(_SCALAR, "big")))


def _text(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")


def _host_of(subject: str) -> str:
    if mail := _MAIL.fullmatch(subject):
        return mail["host"]
    try:
        parts = urlsplit(subject)
        host = parts.hostname or ""
    except ValueError:
        return ""
    plain = parts.scheme == "https" and "@" not in parts.netloc and subject.isascii() and subject.isprintable()
    return host if plain and not any(sign in subject for sign in ' <>"') else ""
