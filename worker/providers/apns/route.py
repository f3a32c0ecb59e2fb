"""Which connections a provider may use: its host and its credential, as one value. Opens none."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Self

from worker.core.model import Provider
from worker.providers.apns.certificate import Certificate, load, tls_context
from worker.providers.apns.settings import P12, ApnsSettings, Key, host_for
from worker.providers.apns.transport import Endpoint


class Access(NamedTuple):
    """What it takes to connect."""

    endpoint: Endpoint
    context: ssl.SSLContext
    #: None with provider tokens.
    certificate: Certificate | None


@dataclass(frozen=True, slots=True)
class Route:
    """Providers that agree in all of this share connections: APNs binds one to a team and a kind of key."""

    host: str
    port: int
    ca: str | None = field(repr=False)
    credential: Key | P12
    #: With a certificate: a file may hold one for each topic.
    topic: str

    @classmethod
    def of(cls, provider: Provider) -> Self:
        settings: ApnsSettings = provider.settings
        topic = settings.topic if isinstance(settings.credential, P12) else ""
        return cls(host_for(provider), settings.port, settings.ca, settings.credential, topic)

    def access(self) -> Access:
        """Reads the certificate and makes the TLS context. Raises `CertificateError`."""
        certificate = None
        if isinstance(self.credential, P12):
            certificate = load(
                self.credential.content, self.credential.password, now=datetime.now(UTC), topic=self.topic
            )
        context = tls_context(ca=self.ca, certificate=certificate)
        return Access(Endpoint(self.host, self.port, self.ca), context, certificate)
