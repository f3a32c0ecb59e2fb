"""The faults a script can inflict, as data. JSON: an object whose `kind` names the fault."""

from typing import Literal

import msgspec

CodeName = Literal[
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
]


class _Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", kw_only=True):
    pass


class Settings(_Fault, frozen=True, tag="settings"):
    """Announces new settings, even while requests are in flight."""

    max_concurrent_streams: int | None = None
    initial_window_size: int | None = None
    header_table_size: int | None = None
    max_frame_size: int | None = None


class GoAway(_Fault, frozen=True, tag="goaway"):
    """Sends GOAWAY. Streams above the last are dropped and count as unprocessed.

    `then` says what becomes of the connection: `drain` answers the others first, `close` leaves them without an answer,
    `stay` keeps it open.
    """

    #: `middle` halves the streams in flight, `last` includes all of them, `max` is 2^31-1.
    last_stream_id: Literal["zero", "middle", "last", "max"] | int = "last"
    code: CodeName = "NO_ERROR"
    #: Becomes `{"reason": …}` in the debug data.
    reason: str | None = None
    then: Literal["drain", "close", "stay"] = "drain"


class Close(_Fault, frozen=True, tag="close"):
    """Closes the TCP connection without a GOAWAY; `abort` resets it."""

    abort: bool = False


class HalfOpen(_Fault, frozen=True, tag="half_open"):
    """Keeps TCP open, and reads and writes nothing more."""


class Reset(_Fault, frozen=True, tag="reset"):
    """RST_STREAM for this request. With REFUSED_STREAM the notification counts as unprocessed."""

    code: CodeName = "INTERNAL_ERROR"


class Never(_Fault, frozen=True, tag="never"):
    """The stream stays open and is never answered."""


class ClosedWindow(_Fault, frozen=True, tag="closed_window"):
    """Sends no WINDOW_UPDATE from now on; after `seconds`, if given, sends all of it."""

    seconds: float | None = None


class PauseReading(_Fault, frozen=True, tag="pause_reading"):
    """Reads nothing from the socket; after `seconds`, if given, reads again."""

    seconds: float | None = None


class Trickle(_Fault, frozen=True, tag="trickle"):
    """Writes `octets` at a time from now on, each its own TLS record, `interval` seconds apart."""

    octets: int = 1
    interval: float = 0.0


class BadHeaders(_Fault, frozen=True, tag="bad_headers"):
    """Answers this request with a header block that is wrong."""

    variant: Literal[
        "huge",
        "endless",
        "truncated",
        "bad_index",
        "bad_huffman",
        "upper_case",
        "no_status",
        "late_pseudo",
        "bad_status",
    ] = "truncated"


class Raw(_Fault, frozen=True, tag="raw"):
    """Writes these octets, in hexadecimal, as they are. `SSSSSSSS` in them becomes this request's stream id."""

    hex: str


class Ping(_Fault, frozen=True, tag="ping"):
    """Sends a PING."""


class Refuse(_Fault, frozen=True, tag="refuse"):
    """Stops listening, so that TCP connections are refused, for `seconds`."""

    seconds: float


Fault = (
    Settings
    | GoAway
    | Close
    | HalfOpen
    | Reset
    | Never
    | ClosedWindow
    | PauseReading
    | Trickle
    | BadHeaders
    | Raw
    | Ping
    | Refuse
)
