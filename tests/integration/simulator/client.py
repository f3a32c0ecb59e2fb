"""A client on the `h2` library, which shares no code with the simulator."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.unit.simulator.credentials import TOPIC, provider_token

TOKEN = "ab" * 32
PAYLOAD = b'{"aps":{"alert":"hello"}}'
#: Seconds after which a test gives up waiting.
PATIENCE = 5.0


@dataclass
class Response:
    headers: dict[str, str] = field(default_factory=dict)
    interim: list[str] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        return int(self.headers.get(":status", 0))


class Peer:
    """One connection; `until` reads from it as long as a condition does not hold."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.responses: dict[int, Response] = {}
        self.goaways: list[h2.events.ConnectionTerminated] = []
        self.events: list[h2.events.Event] = []
        self.chunks: list[int] = []
        self.eof = False
        self.broken: Exception | None = None
        self.jwt = provider_token()

    @classmethod
    async def open(cls, simulator: Any, context: ssl.SSLContext | None = None) -> Self:
        context = context or ssl.create_default_context(cadata=simulator.ca_pem)
        context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection(
            simulator.host, simulator.port, ssl=context, server_hostname="localhost"
        )
        peer = cls(reader, writer)
        peer.h2.initiate_connection()
        peer.flush()
        return peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self._writer.write(data)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def headers(self, token: str = TOKEN, **changes: str | None) -> list[tuple[str, str]]:
        plain: dict[str, str | None] = {
            ":method": "POST",
            ":scheme": "https",
            ":authority": "localhost",
            ":path": f"/3/device/{token}",
            "authorization": f"bearer {self.jwt}",
            "apns-topic": TOPIC,
            "apns-push-type": "alert",
        }
        fields = plain | {name.replace("_", "-"): value for name, value in changes.items()}
        return [(name, value) for name, value in fields.items() if value is not None]

    def post(self, token: str = TOKEN, payload: bytes = PAYLOAD, **changes: str | None) -> int:
        return self.send(self.headers(token, **changes), payload)

    def send(self, headers: list[tuple[str, str]], payload: bytes = PAYLOAD) -> int:
        stream_id = self.form(headers, payload)
        self.flush()
        return stream_id

    def form(self, headers: list[tuple[str, str]], payload: bytes = PAYLOAD) -> int:
        """A request that is not written yet."""
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, headers, end_stream=not payload)
        if payload:
            self.h2.send_data(stream_id, payload, end_stream=True)
        self.responses[stream_id] = Response()
        return stream_id

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition() and not self.eof and self.broken is None:
                await self.read()

    async def read(self) -> None:
        try:
            data = await self._reader.read(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        self.eof = not data
        self.chunks.append(len(data))
        try:
            for event in self.h2.receive_data(data):
                self._take(event)
        except h2.exceptions.ProtocolError as error:
            self.broken = error
        if not self.eof:
            self.flush()

    def _take(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append(event)
            # `h2` would take no answer after a GOAWAY, though those of the streams up to the last may come.
            self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        response = self.responses.get(getattr(event, "stream_id", None) or 0)
        if response is None:
            return
        headers: dict[Any, Any] = dict(getattr(event, "headers", None) or ())
        if isinstance(event, h2.events.ResponseReceived):
            response.headers = headers
        elif isinstance(event, h2.events.InformationalResponseReceived):
            response.interim.append(headers[":status"])
        elif isinstance(event, h2.events.TrailersReceived):
            response.trailers = headers
        elif isinstance(event, h2.events.DataReceived):
            response.body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            response.ended = True
        elif isinstance(event, h2.events.StreamReset):
            response.reset = event.error_code

    async def answer(self, stream_id: int) -> Response:
        response = self.responses[stream_id]
        await self.until(lambda: response.ended or response.reset is not None)
        return response

    async def ask(self, token: str = TOKEN, payload: bytes = PAYLOAD, **changes: str | None) -> Response:
        return await self.answer(self.post(token, payload, **changes))

    async def warm(self) -> None:
        """Send one notification, and wait for the answer and the higher limit of streams."""
        await self.ask("aa")
        await self.until(lambda: self.h2.remote_settings.max_concurrent_streams > 1)
