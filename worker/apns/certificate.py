"""Certificate authentication: a `.p12` file read, checked and made a TLS context. Nothing of it stays on a disk."""

import os
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12

from worker.apns.der import DerError, strings
from worker.core.model import Environment

#: Apple's certificate extensions. Which topics a certificate may push to stands in the last two.
DEVELOPMENT: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.1")
PRODUCTION: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
VOIP_TOPICS: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.4")
TOPICS: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")

_WHERE: Final = (
    "create an 'Apple Push Notification service SSL (Sandbox & Production)' certificate at developer.apple.com and "
    "export it from Keychain Access together with its private key, as .p12"
)


class CertificateError(ValueError):
    """The `.p12` cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A push certificate with its key. `repr` shows neither."""

    #: The subject's UID: the bundle id, and the topic where a push names none.
    uid: str
    #: Every topic that it may push to, the bundle id first.
    topics: tuple[str, ...]
    #: Hosts that accept it.
    environments: frozenset[Environment]
    #: Timezone-aware.
    expires_at: datetime
    #: Certificate chain and key, PEM.
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)

    def check(self, topic: str, environment: Environment) -> None:
        """Raises `CertificateError` where APNs would refuse this topic or this host."""
        if topic not in self.topics:
            raise CertificateError(f"certificate: is for {', '.join(self.topics)}, not for {topic}")
        if environment not in self.environments:
            known = ", ".join(sorted(self.environments))
            raise CertificateError(f"certificate: is for {known}, not for {environment}; {_WHERE}")

    def days_left(self, now: datetime) -> float:
        """Days until it expires; `now` is timezone-aware."""
        return (self.expires_at - now).total_seconds() / 86_400


def load(p12: bytes, password: str | None, *, now: datetime) -> Certificate:
    """The push certificate in a `.p12` file, with the ciphers of old and new exports. Raises `CertificateError`."""
    key, leaf, others = _open(p12, password)
    if leaf is None or key is None:
        raise CertificateError(f"certificate: the .p12 holds no certificate together with its private key; {_WHERE}")
    if now >= leaf.not_valid_after_utc:
        raise CertificateError(f"certificate: expired on {leaf.not_valid_after_utc:%Y-%m-%d}; {_WHERE}")
    uid = _uid(leaf)
    topics = _topics(leaf, uid)
    environments = _environments(leaf)
    if not topics or not environments:
        raise CertificateError(
            f"certificate: not a push certificate (no topic or environment of Apple's in it); {_WHERE}"
        )
    chain = b"".join(each.public_bytes(ser.Encoding.PEM) for each in (leaf, *others))
    secret = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    return Certificate(uid, topics, environments, leaf.not_valid_after_utc, chain, secret)


def tls_context(*, ca: str | None = None, certificate: Certificate | None = None) -> ssl.SSLContext:
    """The TLS context for one endpoint: TLS 1.2 or newer, HTTP/2, the public roots or only `ca` (PEM).

    `CertificateError` where `ca` is no certificate.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cadata=ca)
    except (ssl.SSLError, ValueError):
        raise CertificateError("ca: not the PEM text of a certificate") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    if certificate is not None:
        _load_chain(context, certificate.chain_pem + certificate.key_pem)
    return context


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """`load_cert_chain` takes only files: one in memory, or where there is none a private one that is gone at once."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp(prefix="carillon-")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(pem)
        context.load_cert_chain(path)
    finally:
        os.close(descriptor)
        if not path.startswith("/proc/"):
            with suppress(FileNotFoundError):
                Path(path).unlink()


def _open(
    p12: bytes, password: str | None
) -> tuple[PrivateKeyTypes | None, x509.Certificate | None, list[x509.Certificate]]:
    if b"-----BEGIN" in p12[:200]:
        raise CertificateError(f"certificate: this is PEM text, not a .p12 file; {_WHERE}")
    try:
        return pkcs12.load_key_and_certificates(p12, password.encode() if password else None)
    except UnsupportedAlgorithm as fault:
        raise CertificateError(
            f"certificate: a cipher of this .p12 is not supported here; export it again. {fault}"
        ) from None
    except ValueError as fault:
        if "password" in str(fault).lower() or "mac" in str(fault).lower():
            said = "wrong password" if password else "a password is needed"
            raise CertificateError(f"certificate: {said} for this .p12") from None
        raise CertificateError(f"certificate: not a .p12 file, or a damaged one; {_WHERE}") from None


def _uid(leaf: x509.Certificate) -> str:
    found = leaf.subject.get_attributes_for_oid(x509.NameOID.USER_ID)
    return str(found[0].value) if found else ""


def _topics(leaf: x509.Certificate, uid: str) -> tuple[str, ...]:
    """The topics listed in the extensions, or the bundle id of a certificate from before those existed.

    `.6.3.6` holds a sequence of topic and kinds by turns, the kinds in a sequence of their own; `.6.3.4` VoIP topics.
    """
    listed: dict[str, None] = {uid: None} if uid and _has_mark(leaf) else {}
    for oid in (TOPICS, VOIP_TOPICS):
        value = _extension(leaf, oid)
        if value is None:
            continue
        try:
            # Topics stand at the top of the sequence; the kinds beside them lie one level deeper.
            listed.update((text, None) for depth, text in strings(value) if depth <= 1 and text)
        except DerError as fault:
            raise CertificateError(f"certificate: its list of topics cannot be read: {fault}") from None
    return tuple(listed)


def _has_mark(leaf: x509.Certificate) -> bool:
    return any(_extension(leaf, oid) is not None for oid in (DEVELOPMENT, PRODUCTION, TOPICS, VOIP_TOPICS))


def _environments(leaf: x509.Certificate) -> frozenset[Environment]:
    marks: dict[x509.ObjectIdentifier, Environment] = {DEVELOPMENT: "sandbox", PRODUCTION: "production"}
    marked = frozenset(name for oid, name in marks.items() if _extension(leaf, oid) is not None)
    # A universal certificate carries the topic list; some carry no mark beside it, and both hosts take those.
    if not marked and _extension(leaf, TOPICS) is not None:
        return frozenset(marks.values())
    return marked


def _extension(leaf: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes | None:
    try:
        found = leaf.extensions.get_extension_for_oid(oid).value
    except x509.ExtensionNotFound:
        return None
    return found.value if isinstance(found, x509.UnrecognizedExtension) else b""
