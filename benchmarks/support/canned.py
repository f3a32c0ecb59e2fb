"""A TLS HTTP/2 server that is never what a sender waits for: it looks at frames, never at headers, and its answers are ready.

The n-th stream of a connection gets the n-th answer: 200 with the id that `load` gives to the n-th notification, or, for every
`GONE_EVERY`-th, 410 as APNs writes it. So one connection must send the load in its order, which every client of APNs here does.
FCM and a browser's push service (Google's) answer with the fields and bodies that they were seen with; every `GONE_EVERY`-th
stream of a connection meets a device that is gone.

`python -m benchmarks.support.canned DIRECTORY ANSWERS LATENCY KIND STREAMS` prints one JSON line, `{"port": …, "ca": path}`, and
serves until SIGTERM. LATENCY is in seconds; each answer leaves so much later than its request came. KIND is apns, fcm or web.
"""

import asyncio
import json
import signal
import ssl
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from benchmarks.support.answers import Answers, answers_of
from benchmarks.support.loops import new_event_loop
from benchmarks.support.processes import ROOT
from worker.http2 import frames
from worker.simulator.certificates import make_identity, server_context

_HEAD: Final = frames.FRAME_HEADER_SIZE
_unpack: Final = struct.Struct(">BHBBL").unpack_from
_PREFACE: Final = len(frames.PREFACE)
#: Octets of payload after which the connection's window is filled up again.
_WINDOW_STEP: Final = 1 << 28


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, answers: Answers, latency: float, streams: int) -> None:
        self._answers, self._latency, self._streams = answers, latency, streams
        self._rest = b""
        self._skip = _PREFACE
        self._received = 0
        #: The settings were acknowledged, which is not delayed.
        self._greeted = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1 << 24)
        settings = frames.pack_settings({frames.SETTINGS_MAX_CONCURRENT_STREAMS: self._streams})
        self._transport.write(settings + frames.pack_window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if self._skip:
            if len(data) < self._skip:
                self._rest = data
                return
            data, self._skip = data[self._skip :], 0
        out: list[bytes | memoryview] = []
        position = self._regular(data, out)
        self._rest = data[self._walk(data, position, out) :]
        if self._received >= _WINDOW_STEP:
            out.append(frames.pack_window_update(0, self._received))
            self._received = 0
        if not out:
            return
        if self._latency and self._greeted:
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, b"".join(out))
        else:
            self._greeted = True
            self._transport.write(b"".join(out))

    def _regular(self, data: bytes, out: list[bytes | memoryview]) -> int:
        """Answers the requests at the beginning at once, where all have the sizes of the first; where they end."""
        if len(data) < 2 * _HEAD:
            return 0
        high, low, kind, flags, first = _unpack(data)
        second = _HEAD + (high << 16 | low)
        if kind != frames.HEADERS or flags & frames.FLAG_END_STREAM or len(data) < second + _HEAD:
            return 0
        high, low, kind, flags, _ = _unpack(data, second)
        size = second + _HEAD + (high << 16 | low)
        count = len(data) // size
        if kind != frames.DATA or not flags & frames.FLAG_END_STREAM or not count:
            return 0
        end: int = count * size
        for place in (0, 1, 2, 3, 4, second, second + 1, second + 2, second + 3, second + 4):
            if data[place:end:size] != data[place : place + 1] * count:
                return 0
        if _unpack(data, end - size)[4] != first + 2 * (count - 1):
            return 0
        number = first >> 1
        out.append(self._answers[number, number + count])
        self._received += count * (size - second - _HEAD)
        return end

    def _walk(self, data: bytes, position: int, out: list[bytes | memoryview]) -> int:
        """Answers what is complete frame by frame; where the first incomplete frame begins."""
        end: int = len(data)
        answers = self._answers
        while end - position >= _HEAD:
            high, low, kind, flags, stream_id = _unpack(data, position)
            stop = position + _HEAD + (high << 16 | low)
            if stop > end:
                break
            if kind == frames.DATA:
                self._received += stop - position - _HEAD
                if flags & frames.FLAG_END_STREAM:
                    number = stream_id >> 1
                    out.append(answers[number, number + 1])
            elif kind == frames.SETTINGS and not flags & frames.FLAG_ACK:
                out.append(frames.SETTINGS_ACK)
            elif kind == frames.PING and not flags & frames.FLAG_ACK:
                opaque = data[position + _HEAD : stop]
                out.append(frames.pack_frame(frames.PING, frames.FLAG_ACK, 0, opaque))
            position = stop
        return position


async def serve(directory: Path, count: int, latency: float, kind: str, streams: int) -> None:
    identity = make_identity(directory, ("localhost",))
    context: ssl.SSLContext = server_context(str(identity.certificate), str(identity.key), None)
    answers, loop, stop = answers_of(kind, count), asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Connection(answers, latency, streams), "127.0.0.1", 0, ssl=context)
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "ca": str(identity.ca)}), flush=True)
    await stop.wait()


class CannedServer:
    """The server as a child."""

    def __init__(
        self, directory: Path, answers: int, latency: float = 0.0, *, kind: str = "apns", streams: int = 1_000
    ) -> None:
        arguments = (str(directory), str(answers), str(latency), kind, str(streams))
        self._command = [sys.executable, "-m", "benchmarks.support.canned", *arguments]

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._child.stdout is not None
        where = json.loads(self._child.stdout.readline())
        self.pid, self.port = self._child.pid, int(where["port"])
        self.ca_pem = Path(where["ca"]).read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.terminate()
        try:
            self._child.wait(5)
        finally:
            self._child.kill()
            self._child.communicate()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
