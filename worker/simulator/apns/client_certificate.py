"""What a sender's certificate says: its default topic, all of its topics, and the environments it is for."""

from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from worker.core.der import DerError, strings

_APPLE: Final = "1.2.840.113635.100.6.3"
MARKS: Final = {"sandbox": ObjectIdentifier(f"{_APPLE}.1"), "production": ObjectIdentifier(f"{_APPLE}.2")}
TOPICS: Final = (ObjectIdentifier(f"{_APPLE}.6"), ObjectIdentifier(f"{_APPLE}.4"))


class ClientCertificate(NamedTuple):
    """`default_topic` is None where several topics make the header necessary."""

    default_topic: str | None
    topics: frozenset[str]
    #: The only environment; None: both.
    environment: str | None


def read_certificate(der: bytes) -> ClientCertificate:
    """Read a certificate in DER, as Apple's portal issues them."""
    certificate = x509.load_der_x509_certificate(der)
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    subject = certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    topics = {str(attribute.value) for attribute in subject}
    for oid in TOPICS:
        listed = extensions.get(oid)
        if isinstance(listed, x509.UnrecognizedExtension):
            topics |= _listed(listed.value)
    marked = [name for name, oid in MARKS.items() if oid in extensions]
    default = str(subject[0].value) if subject and len(topics) == 1 else None
    return ClientCertificate(default, frozenset(topics), marked[0] if len(marked) == 1 else None)


def _listed(der: bytes) -> set[str]:
    """The topics of an extension: they stand at the top of the sequence, the kinds beside them one level deeper."""
    try:
        return {text for depth, text in strings(der) if depth <= 1}
    except DerError:
        return set()
