"""A simulator in one event loop: listens, keeps its connections, and gives its record."""

import asyncio
import secrets
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from worker.simulator import faults
from worker.simulator.apns.settings import Settings
from worker.simulator.certificates import kept_identity, server_context
from worker.simulator.connection import Connection
from worker.simulator.control import Control
from worker.simulator.inflict import inflict
from worker.simulator.kinds import service_for
from worker.simulator.record import Record
from worker.simulator.script import Answer, Script
from worker.simulator.sealed import DeviceKeys, Opened, open_all
from worker.simulator.settings import CommonSettings


class Simulator:
    """A push service to test against: `async with Simulator(Settings(...)) as simulator`, then connect to `host` and `port`.

    Which one it is, its settings say.
    """

    def __init__(self, settings: CommonSettings | None = None) -> None:
        self.settings = settings or Settings()
        self.service = service_for(self.settings)
        self.service.refuse = self._refuse
        self.host = self.settings.host
        #: Set by `start`.
        self.port = 0
        self.control_port: int | None = None
        self.control_host = self.settings.control_host
        #: The token that a control request needs.
        self.control_token = self.settings.control_token or secrets.token_urlsafe(18)
        #: The CA that clients must trust: PEM text, and the file it is in.
        self.ca_pem = ""
        self.ca_path = Path()
        self.connections: dict[int, Connection] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._tls: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._control: Control | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Raises OSError where an address is taken."""
        self._tls = self._prepare_tls()
        await self._listen()
        if self.settings.control_port is not None:
            self._control = Control(self)
            self.control_port = await self._control.start(self.control_host, self.settings.control_port)

    async def stop(self) -> None:
        """Close everything; the record stays readable."""
        if self._reopening is not None:
            self._reopening.cancel()
        if self._server is not None:
            self._server.close()
        if self._control is not None:
            await self._control.stop()
        connections = tuple(self.connections.values())
        for connection in connections:
            connection.outlet.abort()
        await asyncio.gather(*(connection.closed for connection in connections))
        if self._temporary is not None:
            self._temporary.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def record(self) -> Record:
        """All that was received."""
        return self.service.record

    @property
    def accepted(self) -> list[Any]:
        """The accepted notifications that are still kept."""
        return self.record.accepted

    @property
    def counts(self) -> dict[str, object]:
        """Totals since the start or the last reset."""
        return self.service.counts() | {
            "connections": self.service.connections_total,
            "connected": len(self.connections),
        }

    def opened(self, keys: Mapping[str, DeviceKeys]) -> list[Opened]:
        """What apps with these keys, by device token, find in the sealed notifications that were accepted."""
        return open_all(self.accepted, keys)

    def control_too(self, other: "Simulator") -> None:
        """Let the control API of this simulator serve another one, under the name of its kind."""
        assert self._control is not None
        self._control.simulators[other.service.kind] = other

    def set_script(self, script: Script) -> None:
        """Replace the script."""
        self.service.set_script(script)

    def set_tokens(self, tokens: Mapping[str, Answer]) -> None:
        """Add answers for single device tokens."""
        self.service.set_tokens(tokens)

    def reset(self) -> None:
        """Forget the record and every script but the first."""
        self.service.reset()

    def inflict(self, fault: faults.Fault, connection: int | None = None) -> int:
        """Carry out a fault now, on one connection or on all. Returns on how many."""
        if isinstance(fault, faults.Refuse):
            self._refuse(fault.seconds)
            return len(self.connections)
        chosen = [c for c in tuple(self.connections.values()) if connection in (None, c.number)]
        for found in chosen:
            inflict(found, fault, None)
            found.flush()
        return len(chosen)

    async def wait_accepted(self, count: int, seconds: float = 10.0) -> None:
        """Return once so many notifications were accepted. Raises TimeoutError."""
        await asyncio.wait_for(self.service.expect_accepted(count), seconds)

    async def wait_listening(self) -> None:
        """Return once connections are accepted again, after `faults.Refuse`."""
        if self._reopening is not None:
            await asyncio.shield(self._reopening)

    def _prepare_tls(self) -> ssl.SSLContext:
        settings = self.settings
        if settings.certificate is not None:
            certificate, key = settings.certificate, settings.certificate_key or settings.certificate
            self.ca_path = Path(certificate)
        else:
            directory = settings.directory
            if directory is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="carillon-simulator-")
                directory = self._temporary.name
            identity = kept_identity(Path(directory), settings.names)
            self.ca_path, certificate, key = identity.ca, str(identity.certificate), str(identity.key)
        self.ca_pem = self.ca_path.read_text()
        return server_context(certificate, key, settings.client_ca, settings.protocols)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        port = self.port or self.settings.port
        self._server = await loop.create_server(self._connect, self.host, port, ssl=self._tls, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    def _connect(self) -> Connection:
        return self.service.connection(self.connections)

    def _refuse(self, seconds: float) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._reopening = asyncio.get_running_loop().create_task(self._reopen(seconds))

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._listen()
