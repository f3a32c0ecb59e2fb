"""What a client certificate says: its default topic, all of its topics, and the environments it is for."""

from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

_APPLE: Final = "1.2.840.113635.100.6.3"
DEVELOPMENT: Final = ObjectIdentifier(f"{_APPLE}.1")
PRODUCTION: Final = ObjectIdentifier(f"{_APPLE}.2")
TOPICS: Final = ObjectIdentifier(f"{_APPLE}.6")
_UTF8_STRING: Final = 0x0C


class ClientCertificate(NamedTuple):
    """`default_topic` is None where several topics make the header necessary, `topics` is None where none are listed."""

    default_topic: str | None
    topics: frozenset[str] | None
    #: The only environment, or None for both.
    environment: str | None


def read_certificate(der: bytes) -> ClientCertificate:
    """Read a certificate in DER, as portals issue them for APNs."""
    certificate = x509.load_der_x509_certificate(der)
    subject = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    uid = str(subject[0].value) if subject else None
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    listed = extensions.get(TOPICS)
    topics: frozenset[str] | None = None
    if isinstance(listed, x509.UnrecognizedExtension):
        topics = frozenset(_topics(listed.value))
    elif uid is not None:
        topics = frozenset({uid})
    marks = {name for name, oid in (("sandbox", DEVELOPMENT), ("production", PRODUCTION)) if oid in extensions}
    several = topics is not None and len(topics) > 1
    return ClientCertificate(None if several else uid, topics, marks.pop() if len(marks) == 1 else None)


def _topics(der: bytes) -> list[str]:
    """The topics of the extension: a sequence in which each topic's string precedes a sequence of its kinds."""
    content = _content(der, 0)
    found: list[str] = []
    position = 0
    while position < len(content):
        value = _content(content, position)
        if content[position] == _UTF8_STRING:
            found.append(value.decode())
        position += _size(content, position)
    return found


def _header(der: bytes, position: int) -> tuple[int, int]:
    """(octets of tag and length, octets of content)."""
    first = der[position + 1]
    if first < 0x80:
        return 2, first
    count = first & 0x7F
    return 2 + count, int.from_bytes(der[position + 2 : position + 2 + count], "big")


def _content(der: bytes, position: int) -> bytes:
    head, length = _header(der, position)
    return der[position + head : position + head + length]


def _size(der: bytes, position: int) -> int:
    return sum(_header(der, position))
