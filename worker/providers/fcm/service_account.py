"""A service account's key file, as the Firebase console gives it. The error for each mistake says what to do.

Source: Google, "Using OAuth 2.0 for server to server applications". Nothing in the file chooses where requests go.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from worker.providers.base import SettingsError

#: The endpoint that gives an access token for a signed assertion; also the audience of the assertion.
TOKEN_URL: Final = "https://oauth2.googleapis.com/token"
#: The universe of Google Cloud whose FCM this kind uses.
UNIVERSE: Final = "googleapis.com"
#: Octets of a key file, at most; they have some 2,400.
LARGEST: Final = 64 * 1024
#: Bits that RS256 requires (RFC 7518, 3.3); Google's keys have as many.
LEAST_BITS: Final = 2048

#: Old ids of a company's domain have dots and a colon.
_PROJECT: Final = re.compile(r"(?:[a-z0-9][a-z0-9.-]{0,62}:)?[a-z][a-z0-9-]{2,61}[a-z0-9]")
_EMAIL: Final = re.compile(r"[A-Za-z0-9._+-]{1,128}@[A-Za-z0-9.-]{1,128}")
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_WHERE: Final = "Firebase console, Project settings, Service accounts, Generate new private key"
_ANOTHER: Final = f"get another key file: {_WHERE}"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The parts of a key file that are needed: `key` is PEM, `key_id` names it, `email` is the signer."""

    project: str
    email: str
    key_id: str
    key: str = field(default="", repr=False)


def read(content: bytes) -> ServiceAccount:
    """The account in a key file. Raises `SettingsError`; its text shows nothing of the key."""
    document = _document(content)
    _check_type(document)
    account = ServiceAccount(
        _text(document, "project_id"),
        _text(document, "client_email"),
        _text(document, "private_key_id"),
        _with_line_breaks(_text(document, "private_key")),
    )
    _check_pinned(document, "token_uri", TOKEN_URL)
    _check_pinned(document, "universe_domain", UNIVERSE)
    check(account)
    return account


def check(account: ServiceAccount) -> None:
    """Raises `SettingsError` for an account that can never sign or send."""
    if not _PROJECT.fullmatch(account.project):
        raise SettingsError(
            f"project_id: {_shown(account.project)} is no id of a project, such as team-chat-1f2e3: lower-case letters, digits"
            f" and hyphens; {_ANOTHER}"
        )
    if not _EMAIL.fullmatch(account.email):
        raise SettingsError(
            f"client_email: {_shown(account.email)} is no address of a service account, such as"
            f" firebase-adminsdk-x1y2z@team-chat-1f2e3.iam.gserviceaccount.com; {_ANOTHER}"
        )
    if not _KEY_ID.fullmatch(account.key_id):
        raise SettingsError(f"private_key_id: {_shown(account.key_id)} is no id of a key, 40 hex digits; {_ANOTHER}")
    private_key(account.key)


@lru_cache(maxsize=64)
def private_key(pem: str) -> RSAPrivateKey:
    """The key that signs. Raises `SettingsError`."""
    if "BEGIN CERTIFICATE" in pem or "PUBLIC KEY" in pem:
        raise SettingsError(f"private_key: a certificate or a public key, where the private one is needed; {_ANOTHER}")
    if "PRIVATE KEY-----" not in pem:
        raise SettingsError(f"private_key: no PEM text of a private key; {_ANOTHER}")
    try:
        key = load_pem_private_key(pem.strip().encode(), password=None)
    except TypeError:
        raise SettingsError(f"private_key: encrypted with a passphrase, which Google's never are; {_ANOTHER}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"private_key: the PEM text is damaged or cut off; {_ANOTHER}") from None
    if not isinstance(key, RSAPrivateKey):
        raise SettingsError(
            f"private_key: not an RSA key, as Google's are; an Apple key (.p8) belongs to carillon push apn; {_ANOTHER}"
        )
    if key.key_size < LEAST_BITS:
        raise SettingsError(f"private_key: RSA of {key.key_size} bits, at least {LEAST_BITS} are needed; {_ANOTHER}")
    return key


def _document(content: bytes) -> Mapping[str, Any]:
    if len(content) > LARGEST:
        raise SettingsError(f"service account: {len(content):,} bytes are too many for a key file; {_ANOTHER}")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"service account: the file is no UTF-8 text; {_ANOTHER}") from None
    if not text:
        raise SettingsError(f"service account: the file is empty; {_ANOTHER}")
    _check_format(text)
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except SettingsError:
        raise
    except (ValueError, RecursionError):
        raise SettingsError(f"service account: not JSON, or cut off; {_ANOTHER}") from None
    if not isinstance(document, dict):
        raise SettingsError(f"service account: JSON, but no object; {_ANOTHER}")
    return document


def _check_format(text: str) -> None:
    """Names a file that is no JSON, if it is a kind of file that people often have."""
    if "<plist" in text:
        raise SettingsError(
            "service account: this is GoogleService-Info.plist, which belongs into the iOS app;"
            f" the server needs a key file: {_WHERE}"
        )
    if text.startswith("-----BEGIN"):
        raise SettingsError(
            f"service account: this is a PEM key alone; give the whole JSON file that it came in, or {_ANOTHER}"
        )
    if re.fullmatch(r"AAAA[\w-]{7}:[\w-]{80,}|AIza[\w-]{30,}", text):
        raise SettingsError(
            "service account: this is a server key of the legacy API, which Google switched off in 2024;"
            f" the server needs a key file: {_WHERE}"
        )


def _check_type(document: Mapping[str, Any]) -> None:
    if "project_info" in document:
        raise SettingsError(
            "service account: this is google-services.json, which belongs into the Android app;"
            f" the server needs a key file: {_WHERE}"
        )
    if "apiKey" in document or "messagingSenderId" in document:
        raise SettingsError(
            "service account: this is the configuration of a web app; the server needs a key file: " + _WHERE
        )
    if "installed" in document or "web" in document:
        raise SettingsError(
            "service account: this is an OAuth client, which asks a person for permission;"
            f" the server needs a key file: {_WHERE}"
        )
    kind = document.get("type")
    if kind != "service_account":
        what = _shown(kind) if isinstance(kind, str) else "missing"
        raise SettingsError(f'type: {what}, only "service_account" is taken; {_ANOTHER}')


def _check_pinned(document: Mapping[str, Any], name: str, only: str) -> None:
    """A file may leave it out. Any other value is refused: it would send the assertion to a host that the file chose."""
    if document.get(name, only) != only:
        raise SettingsError(f"{name}: only {only} is taken; {_ANOTHER}")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value.strip():
        raise SettingsError(f"{name}: missing in the file; {_ANOTHER}")
    return value.strip()


def _with_line_breaks(pem: str) -> str:
    r"""The line breaks of a key often become the two characters `\n` on the way, as in an environment variable."""
    return pem.replace("\\r", "").replace("\\n", "\n").strip() + "\n"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingsError(f"service account: {_shown(twice)} stands twice in it; {_ANOTHER}")
    return found


def _shown(text: str) -> str:
    """A value to show in an error; nothing of a long one, which may be a secret in the wrong field."""
    return repr(text) if len(text) <= 80 and "PRIVATE" not in text else f"a text of {len(text):,} characters"


def new_key() -> str:
    """A new private key in PEM, for a simulator, which accepts any."""
    key = generate_private_key(public_exponent=65537, key_size=LEAST_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
