"""Files and words from Apple's developer site, read and checked before anything is stored."""

import re
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography.x509 import load_pem_x509_certificate

from worker.cli._paths import given_path
from worker.cli._secret_options import warn_of_open_file
from worker.core.push_types import PUSH_TYPES
from worker.providers.apns.certificate import Certificate, CertificateError, certificates_in, load, text_of, tls_context
from worker.providers.apns.token import check_key, is_der_key

#: Larger than any key, certificate or chain, in bytes.
_LARGEST: Final = 256 * 1024
_TEN: Final = re.compile(r"[A-Z0-9]{10}")
_BUNDLE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,153}[A-Za-z0-9])?")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
#: What the topics of other kinds of pushes end in.
_OTHER_PUSHES: Final = {rule.suffix: f"{kind} pushes" for kind, rule in PUSH_TYPES.items() if rule.suffix}
KEY_FILE: Final = re.compile(r"AuthKey_([A-Z0-9]{10})\.p8")


class CredentialFault(ValueError):
    """What was given cannot be used; the text says what is wrong and where the right thing is."""


def read_key(path: str) -> str:
    """The text of a .p8 file. Raises `CredentialFault`, or `ProviderKeyError` for a key of another kind."""
    content = _read(path, private=True)
    if content[:1] == b"\x30":
        if is_der_key(content):
            raise CredentialFault(
                "key: this is a key in DER, not in PEM; convert it: openssl pkcs8 -topk8 -nocrypt -inform DER -in FILE"
            )
        raise CredentialFault("key: this is a binary file, such as a .p12; give it with --p12-cert")
    text = text_of(content)
    check_key(text)
    return text


def read_certificate(path: str, password: str | None, topic: str | None = None) -> tuple[bytes, Certificate]:
    """The bytes of a .p12 file and what is in it, for a topic. Raises `CredentialFault` or `CertificateError`."""
    content = _read(path, private=True)
    if b"PRIVATE KEY-----" in content[:200]:
        raise CredentialFault("certificate: this is a .p8 key; give it with --auth-key")
    now = datetime.now(UTC)
    certificate = load(content, password, now=now, topic=topic)
    tls_context(certificate=certificate)
    begins = load_pem_x509_certificate(certificate.chain_pem).not_valid_before_utc
    if now < begins:
        raise CredentialFault(
            f"certificate: is valid from {begins:%Y-%m-%d} on, and this machine's clock says {now:%Y-%m-%d}: set the clock (NTP)"
        )
    return content, certificate


def read_ca(path: str) -> str:
    """The certificates in a PEM file of a CA, without the text around them. Raises `CredentialFault`."""
    try:
        text = certificates_in(_read(path))
        tls_context(ca=text)
    except CertificateError:
        raise CredentialFault(f"ca: {path} is not the PEM text of a certificate") from None
    return text


def check_key_id(text: str) -> str:
    if not _TEN.fullmatch(text):
        raise CredentialFault(
            f"key id: {text!r} is not 10 capital letters and digits; it stands beside the key at developer.apple.com,"
            " Certificates, Identifiers & Profiles, Keys, and in the file's name AuthKey_<key id>.p8"
        )
    return text


def check_team_id(text: str) -> str:
    if not _TEN.fullmatch(text):
        raise CredentialFault(
            f"team id: {text!r} is not 10 capital letters and digits; it stands at developer.apple.com, Membership details"
        )
    return text


def check_bundle_id(text: str) -> str:
    if not _BUNDLE.fullmatch(text):
        raise CredentialFault(
            f"bundle id: {text!r} is not one, such as io.team.App; it stands in Xcode, target, General, Identity"
        )
    if _TEN.fullmatch(text.partition(".")[0]) and "." in text:
        raise CredentialFault(f"bundle id: leave out the team before it: {text.partition('.')[2]}")
    for end, kind in _OTHER_PUSHES.items():
        if text.endswith(end):
            raise CredentialFault(
                f"bundle id: {text} is a topic for {kind}; Carillon sends alerts, so give the app's own: {text.removesuffix(end)}"
            )
    if text.startswith("com.apple.mgmt."):
        raise CredentialFault(f"bundle id: {text} is the topic of an MDM certificate; Carillon sends alerts to an app")
    return text


def check_host(text: str) -> str:
    """A name or an address, of IPv6 without its brackets."""
    host = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    try:
        ip_address(host)
    except ValueError:
        if _HOST.fullmatch(host):
            return host
        raise CredentialFault(f"host: {text!r} {_no_host(text)}") from None
    return host


def _no_host(text: str) -> str:
    if "://" in text:
        return f"is a URL; leave out {text.partition('://')[0]}://, and give a port with --port: {_host_in(text)}"
    if "/" in text:
        return f"has a path, and Apple's is always the same; leave it out: {_host_in(text)}"
    if _host_in(text) != text:
        return f"has a port in it; give that with --port: {_host_in(text)}"
    return "is not a name or an address, such as localhost"


def _host_in(text: str) -> str:
    """What in a URL, or in a host with a port or a path, is the host."""
    try:
        return urlsplit(text if "://" in text else f"//{text}").hostname or text
    except ValueError:
        return text


def check_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise CredentialFault(f"name: {text!r} has to be up to 64 letters, digits and ._- such as apns-sandbox")
    return text


@cache
def _warn_once(file: Path) -> None:
    """A file may be read several times, to ask for its password."""
    warn_of_open_file(file)


def _read(path: str, *, private: bool = False) -> bytes:
    file = given_path(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise CredentialFault(f"{path}: too large for a key or a certificate")
        if private:
            _warn_once(file)
        return file.read_bytes()
    except OSError as fault:
        raise CredentialFault(f"{path}: cannot be read: {fault.strerror}") from None
