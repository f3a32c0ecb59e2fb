"""Faults in what a server sends. The connection raises none of them: each becomes a cause.

Http2Error
├── ConnectionFaultError     the connection cannot go on: GOAWAY with the code, everything in flight is unknown
└── StreamFaultError         one answer is unusable: RST_STREAM with the code, its notification is unknown
"""

from worker.http2.frames import ErrorCode


class Http2Error(Exception):
    """The server broke a rule of RFC 9113 or one of our bounds. `cause` is a fixed phrase."""

    def __init__(self, code: ErrorCode, cause: str) -> None:
        super().__init__(f"{code.name}: {cause}")
        self.code = code
        self.cause = cause


class ConnectionFaultError(Http2Error):
    """Ends the connection."""


class StreamFaultError(Http2Error):
    """Ends one stream; the others go on."""
