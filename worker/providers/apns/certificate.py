"""Certificate authentication: a `.p12` file read, checked and made a TLS context. Nothing of it stays on a disk."""

import os
import re
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
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import pkcs12

from worker.core.der import DerError, strings
from worker.core.model import Environment
from worker.providers.base import SettingsError
from worker.sender.tls import client_context

#: Apple's certificate extensions. Which topics a certificate may push to stands in the last two.
DEVELOPMENT: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.1")
PRODUCTION: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.2")
VOIP_TOPICS: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.4")
TOPICS: Final = x509.ObjectIdentifier("1.2.840.113635.100.6.3.6")

_BLOCK: Final = re.compile(
    r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END (?:X509 |TRUSTED )?CERTIFICATE-----"
)
_WHERE: Final = (
    "create an 'Apple Push Notification service SSL (Sandbox & Production)' certificate at developer.apple.com and "
    "export it from Keychain Access together with its private key, as .p12"
)


class CertificateError(SettingsError):
    """The `.p12` cannot be used; the text says why and what to do."""


class CertificateExpired(CertificateError):
    """The certificate was good, until now."""

    reason = "certificate_expired"


class WrongTopic(CertificateError):
    """It may not push to this topic; to others it may."""

    reason = "certificate_topic"
    scope = "origin"


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
            raise WrongTopic(f"certificate: is for {', '.join(self.topics)}, not for {topic}")
        if environment not in self.environments:
            known = ", ".join(sorted(self.environments))
            raise CertificateError(f"certificate: is for {known}, not for {environment}; {_WHERE}")

    def check_expiry(self, now: datetime) -> None:
        """Raises `CertificateExpired` where it has expired by `now`, timezone-aware."""
        if now >= self.expires_at:
            by = f"by this machine's clock, which says {now:%Y-%m-%d}"
            raise CertificateExpired(f"certificate: expired on {self.expires_at:%Y-%m-%d}, {by}; {_WHERE}")

    def days_left(self, now: datetime) -> float:
        """Days until it expires; `now` is timezone-aware."""
        return (self.expires_at - now).total_seconds() / 86_400


def load(p12: bytes, password: str | None, *, now: datetime, topic: str | None = None) -> Certificate:
    """The push certificate in a `.p12` file, with the ciphers of old and new exports. Raises `CertificateError`.

    A file may hold several: of those that belong to its private key it is the one for `topic`, if there is one, that is valid at
    `now` and lasts longest.
    """
    key, found = _open(p12, password)
    if key is None or not found:
        raise CertificateError(f"certificate: the .p12 holds no certificate together with its private key; {_WHERE}")
    public = _public(key.public_key())
    ours = [each for each in found if _public(each.public_key()) == public]
    usable = [each for each in ours if _is_push(each)]
    if not usable:
        raise CertificateError(_nothing_usable(ours, found))
    chain = [each for each in found if each not in ours]
    read = [_read(each, chain, key) for each in usable]
    best = max(read, key=lambda each: (topic in each.topics, now < each.expires_at, each.expires_at))
    best.check_expiry(now)
    return best


def _is_push(certificate: x509.Certificate) -> bool:
    return bool(_topics(certificate, _uid(certificate)) and _environments(certificate))


def _nothing_usable(ours: list[x509.Certificate], found: list[x509.Certificate]) -> str:
    if any(_is_push(each) for each in found if each not in ours):
        return (
            "certificate: the .p12 holds several identities, or a push certificate without its private key: in Keychain Access "
            "open the push certificate, select it together with the key under it, and export only these two"
        )
    if not ours:
        return f"certificate: the private key in the .p12 belongs to none of its certificates; {_WHERE}"
    expected = "not a push certificate (no topic or environment of Apple's in it)"
    several = f", nor is any other of the {len(ours)} in the file" if len(ours) > 1 else ""
    return f"certificate: {expected}{several}; {_WHERE}"


def _read(leaf: x509.Certificate, chain: list[x509.Certificate], key: PrivateKeyTypes) -> Certificate:
    uid = _uid(leaf)
    pem = b"".join(each.public_bytes(ser.Encoding.PEM) for each in (leaf, *chain))
    secret = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    return Certificate(uid, _topics(leaf, uid), _environments(leaf), leaf.not_valid_after_utc, pem, secret)


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)


def certificates_in(content: bytes | str) -> str:
    """The PEM certificates in a file, and nothing else of it: a BOM, comments in any script and other text are left out.

    Raises `CertificateError` where there is none.
    """
    blocks = _BLOCK.findall(text_of(content) if isinstance(content, bytes) else content)
    if not blocks:
        raise CertificateError("ca: not the PEM text of a certificate")
    return "\n".join([*blocks, ""])


def text_of(content: bytes) -> str:
    """The text of a file that an editor has saved: UTF-16 where it begins so, else ASCII with whatever else in it."""
    return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "replace")


def tls_context(*, ca: str | None = None, certificate: Certificate | None = None) -> ssl.SSLContext:
    """The TLS context for one endpoint: TLS 1.2 or newer, HTTP/2, the public roots or only `ca` (PEM).

    Raises `CertificateError` where `ca` is no certificate, or OpenSSL will not use `certificate`.
    """
    try:
        roots = None if ca is None else certificates_in(ca)
        context = client_context(roots)
    except (ssl.SSLError, ValueError, TypeError):
        raise CertificateError("ca: not the PEM text of a certificate") from None
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
    except ssl.SSLError as fault:
        words = (fault.reason or "no reason given").replace("_", " ").lower()
        raise CertificateError(f"certificate: OpenSSL will not use it ({words}); {_WHERE}") from None
    finally:
        os.close(descriptor)
        if not path.startswith("/proc/"):
            with suppress(FileNotFoundError):
                Path(path).unlink()


def _open(p12: bytes, password: str | None) -> tuple[PrivateKeyTypes | None, list[x509.Certificate]]:
    if b"-----BEGIN" in p12[:200]:
        raise CertificateError(f"certificate: this is PEM text, not a .p12 file; {_WHERE}")
    try:
        key, first, others = pkcs12.load_key_and_certificates(p12, password.encode() if password else None)
    except UnsupportedAlgorithm as fault:
        raise CertificateError(
            f"certificate: a cipher of this .p12 is not supported here; export it again. {fault}"
        ) from None
    except ValueError as fault:
        if "password" in str(fault).lower() or "mac" in str(fault).lower():
            said = "wrong password" if password else "a password is needed"
            raise CertificateError(f"certificate: {said} for this .p12") from None
        raise CertificateError(f"certificate: not a .p12 file, or a damaged one; {_WHERE}") from None
    return key, others if first is None else [first, *others]


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
