"""One TLS connection: the sans-I/O client on an asyncio transport, with its timers. Does not choose what to send."""

import asyncio
import math
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final, cast

from worker.http2.client.batch import Batch
from worker.http2.client.core import ClientCore
from worker.sender.causes import ALERT, NO_HTTP2, SILENT, ConnectError
from worker.sender.dial import Dialer
from worker.sender.proxy import ProxyError
from worker.sender.route import Access

#: Octets that may wait for the socket before the connection counts as full.
_HIGH_WATER: Final = 512 * 1024
#: Octets that may wait for a server that makes us answer its frames but reads nothing.
_MOST_UNREAD: Final = 4 * 1024 * 1024
_PING: Final = b"carillon"
#: Seconds between two looks at a connection, at most.
_LONGEST_LOOK: Final = 3_600.0
#: OpenSSL's name of an alert that the server sent: `SSLV3_ALERT_CERTIFICATE_EXPIRED`, `TLSV13_ALERT_CERTIFICATE_REQUIRED`.
_ALERT: Final = re.compile(r"^(?:SSLV3|TLSV1|TLSV13)_ALERT_([A-Z0-9_]+)$")
_TLS_FAULTS: Final = {
    "WRONG_VERSION_NUMBER": "tls error: the server does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "connection closed",
    "UNSUPPORTED_PROTOCOL": "tls error: the server speaks no TLS 1.2 or newer",
}


#: OpenSSL's codes for a certificate that is not valid yet, or not any more.
_OUT_OF_TIME: Final = (9, 10)


class Connection(asyncio.Protocol):
    """Made by `connect`. Calls `changed` when there may be an outcome, or room for more, or when it may have ended."""

    def __init__(self, authority: str, access: Access, changed: Callable[["Connection"], None]) -> None:
        self.core = ClientCore(authority, access.service, access.form, unnamed_streams=access.streams)
        self.opened_at = 0.0
        #: Whether the server took part in the handshake, but chose another protocol.
        self.unfit = False
        #: Set once the socket is gone.
        self.over = asyncio.Event()
        #: The access token of the last request written.
        self.authorization: str | None = None
        #: Whether the pool has handled the answer that ended it.
        self.judged = False
        #: Whether it must answer a PING before it gets requests.
        self.checking = False
        self._timing = access.timing
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._probe: asyncio.TimerHandle | None = None
        self._asked_at = -math.inf

    def room(self) -> int:
        """Requests that it can take now; 0 also while its socket is full or a PING is not answered."""
        if self._paused or self._probe is not None or self._transport is None:
            return 0
        return self.core.room()

    def is_stale(self) -> bool:
        """Whether it was silent for so long that a firewall may have dropped it."""
        return not len(self.core.streams) and self._loop.time() - self._heard_at >= self._timing.check_after

    def check(self) -> None:
        """Sends a PING and waits a short time for the answer; until then there is no room."""
        if not self.checking and self._transport is not None:
            self.checking = True
            if self._probe is not None:
                self._probe.cancel()
                self._probe = None
            if not self._ask(self._timing.check_timeout):
                self.retire(SILENT)

    def has_lasting_limits(self) -> bool:
        """Whether its limits count as lasting: it has answered, or had enough time to."""
        return bool(self.core.answered) or self._loop.time() - self.opened_at >= self._timing.greeting

    def write(self, batch: Batch, indices: Sequence[int]) -> int:
        """Sends these requests, at most `room()` of them; returns how many were sent or got an outcome."""
        self.authorization = batch.authorization
        written = self.core.write(batch, indices)
        batch.note_written(indices[:written], self._loop.time())
        self._flush()
        return written

    def cancel(self, batch: Batch, cause: str) -> None:
        """Gives up the requests of a batch that are in flight. If the server was silent meanwhile, sends a PING."""
        in_flight = len(self.core.streams)
        self.core.cancel(batch, cause)
        if len(self.core.streams) < in_flight:
            self._close_if_done()
            if self._loop.time() - self._heard_at >= self._timing.ping_timeout and not self._ask():
                self.retire(SILENT)

    def retire(self, cause: str) -> None:
        """Takes nothing new and closes once nothing is in flight."""
        self.core.shut(cause)
        self._close_if_done()

    def close(self, cause: str) -> None:
        """Gives up all requests in flight, and closes with a GOAWAY."""
        self.core.close(cause)
        self._close_if_done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        tls = transport.get_extra_info("ssl_object")
        if tls.selected_alpn_protocol() != "h2":
            self.unfit = True
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.opened_at = self._heard_at = self._loop.time()
        self._look()
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
            self.checking = False
        self.core.receive(data, self._heard_at)
        self._changed(self)
        self._close_if_done()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._changed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._watch, self._probe):
            if timer is not None:
                timer.cancel()
        self.core.lost(_cause_of(exc))
        self._transport = None
        self.over.set()
        self._changed(self)

    def _close_if_done(self) -> None:
        """Closes the connection if it is finished, and writes what is due."""
        if self.core.retiring and not self.core.closed and not len(self.core.streams):
            self.core.close(self.core.retiring)
        self._flush()
        if self._transport is not None:
            if self.core.closed:
                self._transport.close()
            elif self._paused and self._transport.get_write_buffer_size() > _MOST_UNREAD:
                self._die("server does not read")

    def _flush(self) -> None:
        data = self.core.take()
        if data and self._transport is not None:
            self._transport.write(data)

    def _look(self) -> None:
        """Runs at intervals: sends a PING if the server was silent for too long."""
        timing = self._timing
        silence = self._loop.time() - self._heard_at
        if not self.core.greeted and silence >= timing.greeting:
            self._die("server sent no settings")
            return
        if silence >= (timing.probe_after if len(self.core.streams) else timing.idle_ping):
            self._ask()
        waits = (timing.probe_after, timing.idle_ping, math.inf if self.core.greeted else timing.greeting)
        self._watch = self._loop.call_later(min(*waits, _LONGEST_LOOK), self._look)

    def _ask(self, patience: float | None = None) -> bool:
        """Sends a PING, whose answer may take so long; false if it is too soon after the last one."""
        if self._probe is None and self._transport is not None:
            now = self._loop.time()
            if now - self._asked_at < self._timing.ping_gap:
                return False
            self._asked_at = now
            self.core.ping(_PING)
            self._flush()
            self._probe = self._loop.call_later(patience or self._timing.ping_timeout, self._die, SILENT)
        return True

    def _die(self, cause: str) -> None:
        """Closes without a GOAWAY: the server reads nothing."""
        self.core.close(cause)
        if self._transport is not None:
            self._transport.abort()
        self._changed(self)


def _cause_of(error: Exception | None) -> str:
    if error is None:
        return "connection closed"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "connection reset"
    return tls_cause(error) if isinstance(error, ssl.SSLError) else "connection lost"


def tls_cause(error: ssl.SSLError) -> str:
    """A fixed phrase; for an alert of the server its name as in RFC 8446 §6.2, such as `tls alert: certificate_expired`."""
    alert = _ALERT.search(error.reason or "")
    if alert is not None:
        return f"{ALERT}{alert[1].lower()}"
    return _TLS_FAULTS.get(error.reason or "", "tls error")


def _verdict(error: ssl.SSLCertVerificationError) -> str:
    """Why the server's certificate is refused. If it is not valid at this time, our clock is as often wrong."""
    out_of_time = error.verify_code in _OUT_OF_TIME
    return "connect: certificate not valid now" if out_of_time else "connect: certificate not trusted"


async def connect(dialer: Dialer, access: Access, changed: Callable[[Connection], None]) -> Connection:
    """A connection that is ready to send. Looks the host up each time. Raises `ConnectError`."""
    name = dialer.name
    try:
        async with asyncio.timeout(access.timing.connect):
            connection = await _secured(dialer, access, changed)
    except TimeoutError:
        raise ConnectError(f"{name}: timed out") from None
    except ProxyError as error:
        raise ConnectError(error.cause, lasting=error.lasting) from error
    except ssl.SSLCertVerificationError as error:
        raise ConnectError(_verdict(error), lasting=True) from error
    except ssl.SSLError as error:
        raise ConnectError(tls_cause(error), lasting=_ALERT.search(error.reason or "") is not None) from error
    except ConnectionRefusedError as error:
        raise ConnectError(f"{name}: refused") from error
    except (socket.gaierror, UnicodeError) as error:
        raise ConnectError(f"{name}: host not found") from error
    except OSError as error:
        raise ConnectError(f"{name}: failed") from error
    if connection.unfit:
        raise ConnectError(NO_HTTP2, lasting=True)
    return connection


async def _secured(dialer: Dialer, access: Access, changed: Callable[[Connection], None]) -> Connection:
    host = f"[{dialer.host}]" if ":" in dialer.host else dialer.host
    authority = host if dialer.port == 443 else f"{host}:{dialer.port}"
    sock, address = await dialer.dial()
    try:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(authority, access, changed),
            sock=sock,
            ssl=access.context,
            server_hostname=dialer.host,
            ssl_shutdown_timeout=access.timing.goodbye,
        )
    except BaseException:
        # Another address may lead to a server that works, or not be blocked by the firewall.
        dialer.distrust(address)
        raise
    return connection
