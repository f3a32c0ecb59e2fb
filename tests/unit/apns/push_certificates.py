"""Makes push certificates as Apple's portal issues them, for tests."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NOW = datetime(2026, 11, 21, tzinfo=UTC)
NULL = b"\x05\x00"
MARKS = {"sandbox": "1.2.840.113635.100.6.3.1", "production": "1.2.840.113635.100.6.3.2"}


def utf8(text: str) -> bytes:
    return der(0x0C, text.encode())


def der(tag: int, content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    return bytes((tag, 0x82)) + len(content).to_bytes(2, "big") + content


def topic_list(pairs: dict[str, str]) -> bytes:
    """Apple's list: a topic, the sequence of its kinds, the next topic, and so on."""
    return der(0x30, b"".join(utf8(topic) + der(0x30, utf8(kind)) for topic, kind in pairs.items()))


def push_certificate(
    *,
    uid: str | None = "io.team.App",
    marks: tuple[str, ...] = ("sandbox", "production"),
    topics: bytes | None = None,
    voip_topics: bytes | None = None,
    days: int = 365,
    begins: int = -400,
    key: Key | None = None,
) -> tuple[x509.Certificate, Key]:
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "Apple Push Services: io.team.App")]
    if uid is not None:
        names.append(x509.NameAttribute(NameOID.USER_ID, uid))
    subject = x509.Name(names)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW + timedelta(days=begins)).not_valid_after(NOW + timedelta(days=days))
    extensions = {MARKS[mark]: NULL for mark in marks}
    if topics is not None:
        extensions["1.2.840.113635.100.6.3.6"] = topics
    if voip_topics is not None:
        extensions["1.2.840.113635.100.6.3.4"] = voip_topics
    for oid, value in extensions.items():
        builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), critical=False)
    return builder.sign(key, hashes.SHA256()), key


def p12(
    pair: tuple[x509.Certificate, Key],
    protection: ser.KeySerializationEncryption | None = None,
    *,
    chain: list[x509.Certificate] | None = None,
) -> bytes:
    certificate, key = pair
    return pkcs12.serialize_key_and_certificates(b"push", key, certificate, chain, protection or ser.NoEncryption())
