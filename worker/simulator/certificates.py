"""The simulator's own certificate authority, and its TLS contexts."""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Identity(NamedTuple):
    """Files in PEM: the server's chain and key, and the CA a client must trust."""

    certificate: Path
    key: Path
    ca: Path


#: How long a certificate is valid, and how much of this time a kept one must have left.
VALIDITY: Final = timedelta(days=365)
SPARE: Final = timedelta(days=30)


def kept_identity(directory: Path, names: Sequence[str], now: datetime | None = None) -> Identity:
    """The identity in the directory, if it is complete, for these names and valid for a month; otherwise a new one.

    So whoever trusted the CA once still does after a restart.
    """
    now = now or datetime.now(UTC)
    identity = Identity(directory / "server.pem", directory / "server.key", directory / "ca.pem")
    try:
        leaf, ca = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (identity.certificate, identity.ca))
        key = load_pem_private_key(identity.key.read_bytes(), None)
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        leaf.verify_directly_issued_by(ca)
        if (
            set(found) == {_general_name(name) for name in names}
            and key.public_key() == leaf.public_key()
            and min(leaf.not_valid_after_utc, ca.not_valid_after_utc) > now + SPARE
        ):
            return identity
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        pass
    return make_identity(directory, names, now)


def make_identity(directory: Path, names: Sequence[str], now: datetime | None = None) -> Identity:
    """Create a CA and a server certificate for the names and addresses, valid for a year, in the directory."""
    now = now or datetime.now(UTC)
    directory.mkdir(parents=True, exist_ok=True)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("Carillon simulator CA")
    ca = _builder(issuer, issuer, ca_key, now).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    ca = ca.add_extension(_usage(signs=True), True)
    leaf = _builder(_name(names[0]), issuer, key, now)
    leaf = leaf.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), False)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    identity = Identity(directory / "server.pem", directory / "server.key", directory / "ca.pem")
    identity.certificate.write_bytes(leaf.sign(ca_key, SHA256()).public_bytes(Encoding.PEM))
    identity.ca.write_bytes(ca.sign(ca_key, SHA256()).public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(identity.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(private)
    return identity


def server_context(
    certificate: str, key: str, client_ca: str | None, protocols: Sequence[str] = ("h2",)
) -> ssl.SSLContext:
    """TLS 1.2 or later with ALPN. Asks for a client certificate if a CA for it is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    public = key.public_key()
    builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + VALIDITY)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
