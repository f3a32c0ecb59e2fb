"""Which connections a provider may use: its host and its credential, as one value. Opens none."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

from worker.core.model import Provider
from worker.providers.apns import answers, broadcast
from worker.providers.apns.certificate import Certificate, load, tls_context
from worker.providers.apns.form import FORM
from worker.providers.apns.settings import HOSTS, P12, ApnsSettings, Key, host_for
from worker.sender.route import Access, Endpoint


@dataclass(frozen=True, slots=True)
class ApnsRoute:
    """Providers that agree in all of this share connections: APNs binds one to a team and a kind of key."""

    host: str
    port: int
    ca: str | None = field(repr=False)
    credential: Key | P12
    #: With a certificate: a file may hold one for each topic.
    topic: str
    #: None with provider tokens.
    certificate: Certificate | None = field(default=None, compare=False)
    #: Open at once, at most.
    connections: int = field(default=4, compare=False)
    #: Whether its requests are for broadcast channels.
    is_broadcast: bool = False

    @classmethod
    def of(cls, provider: Provider, connections: int = 4) -> Self:
        """Without its certificate, which takes long to read."""
        settings: ApnsSettings = provider.settings
        topic = settings.topic if isinstance(settings.credential, P12) else ""
        return cls(host_for(provider), settings.port, settings.ca, settings.credential, topic, connections=connections)

    def to_channels(self, host: str | None) -> Self:
        """The route of the same provider to its broadcast channels; `host` in place of Apple's."""
        other = host if host is not None and self.host in HOSTS.values() else self.host
        return replace(self, host=other, is_broadcast=True)

    def read(self) -> Certificate | None:
        """The certificate of the credential. Raises `CertificateError`."""
        if not isinstance(self.credential, P12):
            return None
        return load(self.credential.content, self.credential.password, now=datetime.now(UTC), topic=self.topic)

    def access(self) -> Access:
        """Makes the TLS context. Raises `CertificateError`."""
        context = tls_context(ca=self.ca, certificate=self.certificate)
        endpoint = Endpoint(self.host, self.port, self.ca)
        form = broadcast.FORM if self.is_broadcast else FORM
        return Access(endpoint, context, answers, form, connections=self.connections)
