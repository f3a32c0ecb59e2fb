"""A scriptable HTTP/2 server over TLS on the `h2` library, which shares no code with any sender of ours."""

import asyncio
import json
import ssl
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec

from worker.sender.route import Endpoint


@dataclass
class Request:
    """One request as the server received it, whole."""

    peer: "Peer"
    stream: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def token(self) -> str:
        return self.headers[":path"].removeprefix("/3/device/")

    def answer(self, status: int = 200, document: dict[str, Any] | bytes | None = None, **headers: str) -> None:
        self.peer.answer(self.stream, status, document, headers)

    def reset(self, code: int) -> None:
        self.peer.h2.reset_stream(self.stream, code)
        self.peer.flush()


Script = Callable[[Request], Awaitable[None]]


async def accept(request: Request) -> None:
    request.answer()


@dataclass
class H2Server:
    """Runs in a thread of its own as a context manager; `script` is called for every request."""

    script: Script = accept
    #: MAX_CONCURRENT_STREAMS that a connection begins with.
    streams: int = 100
    client_ca: str | None = None
    alpn: str = "h2"
    host: str = "127.0.0.1"
    requests: list[Request] = field(default_factory=list)
    peers: list["Peer"] = field(default_factory=list)
    port: int = 0
    _came: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Self:
        self.context, self.ca = server_context(self.client_ca, self.alpn)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="h2-server")
        self._thread.start()
        self._server = self.call(asyncio.start_server(self._serve, self.host, 0, ssl=self.context))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.host, self.port, self.ca)

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def wait_for(self, requests: int) -> None:
        """Blocks until so many requests have come in whole."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.requests) >= requests, 10)

    def note(self, request: Request) -> None:
        with self._came:
            self.requests.append(request)
            self._came.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(self, writer)
        self.peers.append(peer)
        await peer.run(reader)

    async def _stop(self) -> None:
        self._server.close()
        for peer in self.peers:
            if not peer.writer.transport.is_closing():  # before Python 3.11.5 aborting what was closed twice fails
                peer.writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Peer:
    """One connection as the server sees it."""

    def __init__(self, server: H2Server, writer: asyncio.StreamWriter) -> None:
        self.server, self.writer = server, writer
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        #: The client's certificate, DER.
        self.certificate = tls.getpeercert(binary_form=True)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: server.streams}
        )
        self.open: dict[int, Request] = {}
        self.tasks: set[asyncio.Future[None]] = set()
        self.most_open = 0

    async def run(self, reader: asyncio.StreamReader) -> None:
        self.h2.initiate_connection()
        self.flush()
        with suppress(ConnectionError, ssl.SSLError, h2.exceptions.ProtocolError):
            while data := await reader.read(65536):
                for event in self.h2.receive_data(data):
                    self._on(event)
                self.flush()
        self.writer.close()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.open[event.stream_id] = Request(
                self, event.stream_id, {str(name): str(value) for name, value in event.headers}
            )
            self.most_open = max(self.most_open, len(self.open))
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.stream_id in self.open:
                self.open[event.stream_id].body += event.data
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id in self.open:
            request = self.open[event.stream_id]
            self.server.note(request)
            task = asyncio.ensure_future(self.server.script(request))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif isinstance(event, h2.events.StreamReset):
            self.open.pop(event.stream_id, None)

    def answer(
        self, stream: int, status: int, document: dict[str, Any] | bytes | None, headers: dict[str, str]
    ) -> None:
        self.open.pop(stream, None)
        body = document if isinstance(document, bytes) else json.dumps(document).encode() if document else b""
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        with suppress(h2.exceptions.ProtocolError):  # the client may have given the stream up
            self.h2.send_headers(stream, [(":status", str(status)), *named], end_stream=not body)
            if body:
                self.h2.send_data(stream, body, end_stream=True)
        self.flush()

    def allow(self, streams: int) -> None:
        self.h2.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self.flush()

    def goaway(self, last_stream: int, document: dict[str, Any] | None = None, code: int = 0) -> None:
        data = json.dumps(document).encode() if document else None
        self.h2.close_connection(code, additional_data=data, last_stream_id=last_stream)
        self.flush()

    def flush(self) -> None:
        if data := self.h2.data_to_send():
            self.writer.write(data)


def server_context(client_ca: str | None = None, alpn: str = "h2") -> tuple[ssl.SSLContext, str]:
    """A TLS context for localhost and its addresses with a fresh certificate, and that certificate as the CA to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test server")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), *map(_address, ("127.0.0.1", "::1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    builder = builder.add_extension(names, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(ser.Encoding.PEM)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([alpn])
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem + key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption()))
        file.flush()
        context.load_cert_chain(file.name)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_ca)
    return context, pem.decode()


def _address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ip_address(text))
