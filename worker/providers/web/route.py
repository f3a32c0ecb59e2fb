"""Which connections a push may use: those to the host of its endpoint, at a public address. Opens none."""

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from typing import Final

from worker.core.addresses import permitted
from worker.providers.base import SettingsError
from worker.providers.web import answers
from worker.providers.web.form import FORM
from worker.providers.web.outcome import FORBIDDEN_ADDRESS
from worker.providers.web.settings import WebSettings
from worker.sender.causes import ConnectError
from worker.sender.dial import look_up
from worker.sender.route import Access, Address, Endpoint, Resolve
from worker.sender.tls import client_context

#: Open to one host at once, and requests in flight on one whose server names no limit, at most.
CONNECTIONS: Final = 4
STREAMS: Final = 100
#: Seconds that a look-up may take which only refuses: networks with a proxy often look up no public names.
_KNOWN_WITHIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Simulator:
    """What stands for all push services."""

    host: str
    port: int
    ca: str | None = field(repr=False)

    @classmethod
    def of(cls, settings: WebSettings) -> "Simulator | None":
        return cls(settings.host, settings.port, settings.ca) if settings.host else None


@dataclass(frozen=True, slots=True)
class WebRoute:
    """All providers share the connections to a push service: each request says who sends it."""

    host: str
    simulator: Simulator | None
    look_up: Resolve = field(default=look_up, repr=False, compare=False)
    #: Whether it goes through a proxy, which looks up the host by itself.
    proxied: bool = False

    def access(self) -> Access:
        """Raises `SettingsError` for a CA that is none."""
        context, resolve = tls_context(self.simulator), self._resolve
        return Access(
            Endpoint(self.host), context, answers, FORM, connections=CONNECTIONS, streams=STREAMS, resolve=resolve
        )

    async def _resolve(self, host: str, port: int) -> list[Address]:
        """Public addresses of the host, looked up for each connection: a name may change what it says.

        For a proxy its name. If it is known here, and not to be public, it is refused all the same.
        """
        if self.simulator is not None:
            return await self.look_up(self.simulator.host, self.simulator.port)
        named = [Address(socket.AF_UNSPEC, (host, port))]
        try:
            async with asyncio.timeout(_KNOWN_WITHIN if self.proxied else None):
                found = await self.look_up(host, port)
        except (OSError, UnicodeError):
            if self.proxied:
                return named
            raise
        public = [address for address in found if permitted(str(address.sockaddr[0]))]
        if not public:
            raise ConnectError(FORBIDDEN_ADDRESS, lasting=True)
        return named if self.proxied else public


def tls_context(simulator: Simulator | None) -> ssl.SSLContext:
    """TLS as Python recommends it. A simulator is known by its CA, whatever service it stands for. Raises `SettingsError`."""
    try:
        context = client_context(None if simulator is None else simulator.ca)
    except (ssl.SSLError, TypeError):
        raise SettingsError("ca: not the PEM text of a certificate") from None
    if simulator is not None:
        context.check_hostname = False
    return context
