"""Files of credentials, read and checked before anything is stored."""

import re
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final

from cryptography.x509 import load_pem_x509_certificate

from worker.cli._paths import given_path
from worker.cli._secret_options import warn_of_open_file
from worker.providers.apns.certificate import Certificate, CertificateError, certificates_in, load, text_of, tls_context
from worker.providers.apns.token import check_key, is_der_key
from worker.providers.base import SettingsError

#: Larger than any key, certificate or chain, in bytes.
_LARGEST: Final = 256 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEY_FILE: Final = re.compile(r"AuthKey_([A-Z0-9]{10})\.p8")


def read_key(path: str) -> str:
    """The text of a .p8 file. Raises `SettingsError`."""
    content = read_file(path, private=True)
    if content[:1] == b"\x30":
        if is_der_key(content):
            raise SettingsError(
                "key: this is a key in DER, not in PEM; convert it: openssl pkcs8 -topk8 -nocrypt -inform DER -in FILE"
            )
        raise SettingsError("key: this is a binary file, such as a .p12; give it with --p12-cert")
    text = text_of(content)
    check_key(text)
    return text


def read_private(path: str) -> str:
    """The text of a file with a private key, whatever form it has. Raises `SettingsError`."""
    return text_of(read_file(path, private=True))


def read_certificate(path: str, password: str | None, topic: str | None = None) -> tuple[bytes, Certificate]:
    """The bytes of a .p12 file and its content, for a topic. Raises `SettingsError`."""
    content = read_file(path, private=True)
    if b"PRIVATE KEY-----" in content[:200]:
        raise SettingsError("certificate: this is a .p8 key; give it with --auth-key")
    now = datetime.now(UTC)
    certificate = load(content, password, now=now, topic=topic)
    tls_context(certificate=certificate)
    begins = load_pem_x509_certificate(certificate.chain_pem).not_valid_before_utc
    if now < begins:
        raise SettingsError(
            f"certificate: is valid from {begins:%Y-%m-%d} on, and this machine's clock says {now:%Y-%m-%d}: set the clock (NTP)"
        )
    return content, certificate


def read_ca(path: str) -> str:
    """The certificates in a PEM file of a CA, without the text around them. Raises `SettingsError`."""
    try:
        text = certificates_in(read_file(path))
        tls_context(ca=text)
    except CertificateError:
        raise SettingsError(f"ca: {path} is not the PEM text of a certificate") from None
    return text


def check_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise SettingsError(f"name: {text!r} has to be up to 64 letters, digits and ._- such as apns-sandbox")
    return text


@cache
def _warn_once(file: Path) -> None:
    """A file may be read several times, to ask for its password."""
    warn_of_open_file(file)


def read_file(path: str, *, private: bool = False) -> bytes:
    """A small file; `private`: with a warning where everybody can read it. Raises `SettingsError`."""
    file = given_path(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise SettingsError(f"{path}: too large for a key or a certificate")
        if private:
            _warn_once(file)
        return file.read_bytes()
    except OSError as fault:
        raise SettingsError(f"{path}: cannot be read: {fault.strerror}") from None
