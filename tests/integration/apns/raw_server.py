"""A TLS server in the test's own loop that sends whatever octets a test tells it to, for what no library would do."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from tests.integration.apns.h2_server import server_context
from tests.unit.http2.wire import GREETING
from worker.http2 import frames
from worker.sender.route import Endpoint


class Peer:
    """One connection: the frames that came in, and the octets to go out."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        #: How many connections came before it.
        self.number = number
        self.reader = reader
        self.writer = writer
        #: Streams whose request is complete, in order, answered or not.
        self.requests: list[int] = []
        self.frames: list[tuple[int, int, int, bytes]] = []

    def send(self, octets: bytes) -> None:
        self.writer.write(octets)

    async def frame(self) -> tuple[int, int, int, bytes]:
        """The next frame; raises `IncompleteReadError` at the end."""
        length, kind, flags, stream_id = frames.unpack_header(await self.reader.readexactly(frames.FRAME_HEADER_SIZE))
        payload = await self.reader.readexactly(length)
        self.frames.append((kind, flags, stream_id, payload))
        if kind == frames.DATA and flags & frames.FLAG_END_STREAM:
            self.requests.append(stream_id)
        return self.frames[-1]

    async def until(self, kind: int) -> tuple[int, int, int, bytes]:
        """The next frame of this type."""
        while True:
            frame = await self.frame()
            if frame[0] == kind:
                return frame

    async def request(self) -> int:
        """The stream of the next complete request."""
        count = len(self.requests)
        while len(self.requests) == count:
            await self.frame()
        return self.requests[-1]

    async def end(self) -> None:
        """Reads until the client closes."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self.frame()


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """Runs `script` for each connection, after the preface and, with `greeting`, our settings."""

    def __init__(self, script: Script, *, greeting: bytes = GREETING) -> None:
        self.script = script
        self.greeting = greeting
        self.peers: list[Peer] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        context, ca = server_context()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.endpoint = Endpoint("127.0.0.1", self._server.sockets[0].getsockname()[1], ca)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for peer in self.peers:
            if not peer.writer.transport.is_closing():  # before Python 3.11.5 aborting what was closed twice fails
                peer.writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def close(self) -> None:
        """Takes no more connections; those that there are go on."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(len(self.peers), reader, writer)
        self.peers.append(peer)
        writer.write(self.greeting)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            assert await reader.readexactly(len(frames.PREFACE)) == frames.PREFACE
            await self.script(peer)
            writer.close()


async def answer_all(peer: Peer) -> None:
    """Accepts every request at once."""
    while True:
        peer.send(accepted(await peer.request()))


def accepted(stream_id: int) -> bytes:
    return frames.pack_frame(frames.HEADERS, frames.FLAG_END_HEADERS | frames.FLAG_END_STREAM, stream_id, b"\x88")
