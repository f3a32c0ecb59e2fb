"""Reads what a server answers: header blocks through the `hpack` library, Apple's JSON bodies. Knows no stream."""

import json
import re
import time
from typing import Final, NamedTuple

from hpack import Decoder, HPACKError

from worker.core.model import Answer
from worker.core.retry_after import seconds
from worker.http2.client.errors import ConnectionFaultError, StreamFaultError
from worker.http2.frames import ErrorCode

#: Bounds a decoded header list, by the measure of RFC 9113 §6.5.2; we announce it.
MAX_HEADER_LIST: Final = 8_192
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"),
)
_REASON: Final = re.compile(r"[A-Za-z]{1,64}")
_KNOWN_BLOCKS: Final = 256
#: Octets; longer blocks are not remembered.
_KNOWN_BLOCK_SIZE: Final = 256


class Head(NamedTuple):
    """The part of a header block that an answer needs. `status` is None in trailers."""

    status: int | None
    retry_after: str | None


class HeaderReader:
    """Decodes the header blocks of one connection. We announce a table of size 0, so blocks share no state."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_LIST)
        self._decoder.header_table_size = 0
        self._decoder.max_allowed_table_size = 0
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """Raises `ConnectionFaultError` where it cannot be decoded, `StreamFaultError` where its fields are malformed."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields = self._decoder.decode(block, raw=True)
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFaultError(ErrorCode.COMPRESSION_ERROR, "header block not readable") from error
        head = _head([(bytes(name), bytes(value)) for name, value in fields])
        if len(block) <= _KNOWN_BLOCK_SIZE:
            if len(self._known) >= _KNOWN_BLOCKS:
                self._known.clear()
            self._known[block] = head
        return head


def _head(fields: list[tuple[bytes, bytes]]) -> Head:
    status: int | None = None
    retry_after: str | None = None
    for position, (name, value) in enumerate(fields):
        if name == b":status" and position == 0:
            status = _status(value)
            continue
        if not _NAME.fullmatch(name) or name in _CONNECTION_FIELDS or _BAD_VALUE.search(value):
            raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "malformed header in an answer")
        if name == b"retry-after":
            retry_after = value.decode("latin-1")
    return Head(status, retry_after)


def _status(value: bytes) -> int:
    if len(value) == 3 and value.isdigit() and value[0] != 0x30 and value != b"101":
        return int(value)
    raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "malformed status in an answer")


def read_answer(status: int, retry_after: str | None, body: bytes | bytearray) -> Answer:
    """The answer of a status, a Retry-After and a body; a body that is no JSON of Apple's form leaves the reason out."""
    document = _document(body) if status != 200 else {}
    timestamp = document.get("timestamp") if status == 410 else None
    return Answer(
        status,
        _reason(document),
        timestamp if isinstance(timestamp, int) and not isinstance(timestamp, bool) else None,
        seconds(retry_after, time.time()),
    )


def read_reason(body: bytes | bytearray) -> str | None:
    """The reason in a body or in the debug data of a GOAWAY; None where there is none."""
    return _reason(_document(body))


def _reason(document: dict[str, object]) -> str | None:
    reason = document.get("reason")
    return reason if isinstance(reason, str) and _REASON.fullmatch(reason) else None


def _document(body: bytes | bytearray) -> dict[str, object]:
    try:
        document = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
