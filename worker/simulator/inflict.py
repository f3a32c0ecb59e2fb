"""Carries out the faults of a script on a connection."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.json import encode

from worker.http2 import frames
from worker.http2.frames import ErrorCode
from worker.simulator import faults, heads

if TYPE_CHECKING:
    from worker.simulator.connection import Connection, Waiting

_OK: Final = heads.status_field(200)
_BLOCKS: Final = {
    "huge": _OK + heads.field(b"x-huge", b"h" * 126) * 1000,
    "truncated": _OK + b"\x00\x07apns-id\x24abc",
    "bad_index": b"\xff\xff\xff\x00",
    "bad_huffman": b"\x08\x83\xff\xff\xff",
    "upper_case": _OK + heads.field(b"Apns-Id", b"x"),
    "no_status": heads.field(b"apns-id", b"x"),
    "late_pseudo": heads.field(b"apns-id", b"x") + _OK,
    "bad_status": b"\x08\x03abc",
}
#: CONTINUATION frames of the endless block.
_ENDLESS: Final = 64
STREAM_MARK: Final = "SSSSSSSS"


def inflict(connection: "Connection", fault: faults.Fault, waiting: "Waiting | None") -> bool:
    """Carry out the fault, for a request if there is one. Returns whether it replaced the answer of the request."""
    if isinstance(fault, faults.GoAway):
        return _go_away(connection, fault, waiting)
    if waiting is not None and _instead(connection, fault, waiting):
        return True
    _on_connection(connection, fault)
    return False


def _instead(connection: "Connection", fault: faults.Fault, waiting: "Waiting") -> bool:
    """The faults that replace an answer."""
    core, stream_id, processed = connection.core, waiting.stream_id, True
    match fault:
        case faults.Never():
            pass
        case faults.HalfOpen():
            connection.fall_silent()
        case faults.Reset():
            core.reset(stream_id, ErrorCode[fault.code])
            processed = fault.code != "REFUSED_STREAM"
        case faults.BadHeaders():
            core.write(_bad_headers(fault, stream_id))
            core.forget(stream_id)
        case faults.Raw() if STREAM_MARK in fault.hex:
            core.write(bytes.fromhex(fault.hex.replace(STREAM_MARK, f"{stream_id:08x}")))
            core.forget(stream_id)
        case _:
            return False
    connection.enter(waiting, answered=False, processed=processed)
    return True


def _bad_headers(fault: faults.BadHeaders, stream_id: int) -> bytes:
    if fault.variant != "endless":
        block, size = _BLOCKS[fault.variant], frames.DEFAULT_MAX_FRAME_SIZE
        return frames.pack_headers(stream_id, block, end_stream=True, max_frame_size=size)
    filler = heads.field(b"x-endless", b"e" * 126) * 100
    more = frames.pack_frame(frames.CONTINUATION, 0, stream_id, filler)
    return frames.pack_frame(frames.HEADERS, 0, stream_id, _OK) + more * _ENDLESS


def _on_connection(connection: "Connection", fault: faults.Fault) -> None:
    """The faults of a whole connection."""
    core, outlet = connection.core, connection.outlet
    match fault:
        case faults.Settings():
            _change_settings(connection, fault)
        case faults.Close():
            connection.close_unanswered(abort=fault.abort)
        case faults.HalfOpen():
            connection.fall_silent()
        case faults.ClosedWindow():
            core.window.replenish = False
            _later(fault.seconds, connection.reopen_window)
        case faults.PauseReading():
            outlet.pause()
            _later(fault.seconds, outlet.resume)
        case faults.Trickle():
            outlet.trickle(fault.octets, fault.interval)
        case faults.Raw():
            core.write(bytes.fromhex(fault.hex))
        case faults.Ping():
            core.write(frames.pack_ping(b"carillon"))
        case faults.Refuse():
            connection.service.refuse(fault.seconds)


def _change_settings(connection: "Connection", fault: faults.Settings) -> None:
    named = {
        frames.SETTINGS_MAX_CONCURRENT_STREAMS: fault.max_concurrent_streams,
        frames.SETTINGS_INITIAL_WINDOW_SIZE: fault.initial_window_size,
        frames.SETTINGS_HEADER_TABLE_SIZE: fault.header_table_size,
        frames.SETTINGS_MAX_FRAME_SIZE: fault.max_frame_size,
    }
    connection.core.change_settings({key: value for key, value in named.items() if value is not None})
    connection.raised = connection.raised or fault.max_concurrent_streams is not None


def _go_away(connection: "Connection", fault: faults.GoAway, waiting: "Waiting | None") -> bool:
    """Whether the request is among those that are dropped."""
    core = connection.core
    last = _last_stream(fault, connection)
    core.go_away(last, ErrorCode[fault.code], b"" if fault.reason is None else encode({"reason": fault.reason}))
    connection.drop_above(last)
    dropped = waiting is not None and waiting.stream_id > last
    if waiting is not None and dropped:
        core.open.discard(waiting.stream_id)
        connection.enter(waiting, answered=False, processed=False)
    if fault.then == "close":
        connection.close_unanswered()
    connection.draining = connection.draining or fault.then == "drain"
    return dropped


def _last_stream(fault: faults.GoAway, connection: "Connection") -> int:
    match fault.last_stream_id:
        case int(number):
            return number
        case "zero":
            return 0
        case "max":
            return frames.MAX_STREAM_ID
        case "middle" if ids := sorted(connection.core.open):
            return ids[(len(ids) - 1) // 2]
    return connection.core.last_stream_id


def _later(seconds: float | None, act: Callable[[], None]) -> None:
    if seconds is not None:
        asyncio.get_running_loop().call_later(seconds, act)
