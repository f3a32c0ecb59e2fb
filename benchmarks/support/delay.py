"""A TCP proxy in front of engines that delays what it passes on, and counts round trips.

A round trip is an answer that follows a request on the same connection: a change of direction. What an engine sends without being
asked is none. A request that waits for news, such as `XREAD BLOCK`, counts once it is answered.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, NamedTuple, Self

_CHUNK: Final = 1 << 16


class RoundTrip(NamedTuple):
    """`at`: UNIX seconds at which the answer left the engine."""

    at: float
    engine: str


class DelayProxy:
    """Passes on to the targets, by name: a path of a socket, or host and port. `delay`: seconds each way, from now on."""

    def __init__(self, targets: Mapping[str, str | tuple[str, int]]) -> None:
        self._targets = dict(targets)
        self.delay = 0.0
        #: Where it listens, by the target's name.
        self.ports: dict[str, int] = {}
        self._found: list[RoundTrip] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="delay-proxy", daemon=True)
        self._ready, self._stop = threading.Event(), asyncio.Event()

    def take(self) -> list[RoundTrip]:
        """The round trips since it was asked last."""
        found, self._found = self._found, []
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        servers = []
        for name in self._targets:

            async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name) -> None:
                await self._connected(name, reader, writer)

            server = await asyncio.start_server(connected, "127.0.0.1", 0)
            self.ports[name] = server.sockets[0].getsockname()[1]
            servers.append(server)
        self._ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connected(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self._targets[name]
        try:
            if isinstance(target, str):
                there = await asyncio.open_unix_connection(target)
            else:
                there = await asyncio.open_connection(*target)
        except OSError:
            writer.close()
            return
        asked = False

        def request() -> None:
            nonlocal asked
            asked = True

        def answer() -> None:
            nonlocal asked
            if asked:
                self._found.append(RoundTrip(time.time(), name))
            asked = False

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, there[1], request))
                group.create_task(self._pass_on(there[0], writer, answer))
        finally:
            for end in (writer, there[1]):
                end.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[], None]
    ) -> None:
        """Until the reader's side closes; what was read until then is passed on."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        writing = asyncio.ensure_future(self._write(waiting, writer))
        try:
            while chunk := await _read(reader):
                seen()
                waiting.put_nowait((self._loop.time() + self.delay, chunk))
            waiting.put_nowait((self._loop.time() + self.delay, b""))
            await writing
        finally:
            writing.cancel()

    async def _write(self, waiting: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, chunk = await waiting.get()
                if (wait := due - self._loop.time()) > 0:
                    await asyncio.sleep(wait)
                if not chunk:
                    writer.write_eof()
                    return
                writer.write(chunk)
                await writer.drain()


async def _read(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(OSError):
        return await reader.read(_CHUNK)
    return b""
