"""Writes the bytes of a connection, at once or a few at a time, and pauses its reading."""

import asyncio
import contextlib


class Outlet:
    """Writes to the transport; once made to trickle, it stays so. Reads unless paused, or held by a client that does not."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._octets = 0
        self._interval = 0.0
        self._queue = bytearray()
        self._timer: asyncio.Handle | None = None
        self._closing = False
        self._paused = False
        self._held = False

    def write(self, data: bytes) -> None:
        """Write now, or queue for the trickle."""
        if not self._octets:
            self.transport.write(data)
            return
        self._queue += data
        if self._timer is None:
            self._drip()

    def trickle(self, octets: int, interval: float) -> None:
        """From now on write so many octets at a time, so many seconds apart."""
        self._octets, self._interval = octets, interval

    def _drip(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        part = bytes(self._queue[: self._octets])
        del self._queue[: self._octets]
        self.transport.write(part)
        if self._queue:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._interval, self._drip)
        elif self._closing:
            self.transport.close()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._paused = True
        self._read()

    def resume(self) -> None:
        """End a pause."""
        self._paused = False
        self._read()

    def hold(self) -> None:
        """Read nothing until `release`, because written bytes wait for the client."""
        self._held = True
        self._read()

    def release(self) -> None:
        """The waiting bytes are written."""
        self._held = False
        self._read()

    def _read(self) -> None:
        if self.transport.is_closing():
            return
        if self._paused or self._held:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def close(self) -> None:
        """Close once everything is written."""
        self._closing = True
        if not self._queue:
            self.transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        # Before Python 3.11.5 a transport that was closed twice, and is gone, cannot be aborted.
        with contextlib.suppress(AttributeError):
            self.transport.abort()

    def stop(self) -> None:
        """The transport is closed."""
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
