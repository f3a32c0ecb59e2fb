"""Which connections a provider may use: its host and its credential, as one value. Opens none."""

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple, Self

from worker.core.model import Environment, Provider
from worker.providers.apns.certificate import Certificate, load, tls_context
from worker.providers.apns.transport import Endpoint

#: Apple's hosts. A provider without a host of its own goes to its environment's.
HOSTS: Final[dict[Environment, str]] = {"production": "api.push.apple.com", "sandbox": "api.sandbox.push.apple.com"}


def host_for(provider: Provider) -> str:
    """The provider's own host; the production host on a sandbox provider is the default nobody changed."""
    return HOSTS[provider.environment] if provider.host == HOSTS["production"] else provider.host


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
    team_id: str
    key_id: str
    key: str = field(repr=False)
    certificate: bytes | None = field(repr=False)
    password: str | None = field(repr=False)
    #: With a certificate: a file may hold one for each topic.
    topic: str

    @classmethod
    def of(cls, provider: Provider) -> Self:
        return cls(
            host_for(provider),
            provider.port,
            provider.ca,
            provider.team_id,
            provider.key_id,
            provider.key,
            provider.certificate,
            provider.certificate_password,
            provider.topic if provider.certificate is not None else "",
        )

    def access(self) -> Access:
        """Reads the certificate and makes the TLS context. Raises `CertificateError`."""
        certificate = None
        if self.certificate is not None:
            certificate = load(self.certificate, self.password, now=datetime.now(UTC), topic=self.topic)
        context = tls_context(ca=self.ca, certificate=certificate)
        return Access(Endpoint(self.host, self.port, self.ca), context, certificate)
