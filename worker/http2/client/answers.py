"""Reads what a server answers: header blocks through the `hpack` library. Bodies are for the service. Knows no stream."""

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple, Protocol

from hpack import Decoder, HPACKError

from worker.core.model import Answer
from worker.http2.client.errors import ConnectionFaultError, StreamFaultError
from worker.http2.client.fast_path import NAMES
from worker.http2.frames import ErrorCode

#: Bounds a decoded header list, by the measure of RFC 9113 §6.5.2; we announce it.
MAX_HEADER_LIST: Final = 8_192
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"),
)
_KNOWN_BLOCKS: Final = 128
#: Octets; longer blocks are not remembered.
_KNOWN_BLOCK_SIZE: Final = 1_024


class Service(Protocol):
    """What the service behind a connection says in its own words, which HTTP/2 does not know."""

    @property
    def accepted(self) -> Collection[int]:
        """Statuses that mean acceptance, whatever the body says. An answer without any of `fields` is not read then."""
        ...

    @property
    def fields(self) -> Collection[str]:
        """Lower-case names of the fields of an answer that `read_answer` wants."""
        ...

    def read_answer(self, status: int, fields: Mapping[str, str], body: bytes | bytearray) -> Answer: ...

    def read_reason(self, debug: bytes | bytearray) -> str | None:
        """The reason in the debug data of a GOAWAY; None where there is none."""
        ...

    def is_passing(self, reason: str) -> bool:
        """Whether another connection may not meet this reason of a GOAWAY; any other comes back as it is."""
        ...

    def is_parting(self, answer: Answer) -> bool:
        """Whether an answer is about the connection rather than its request: it takes nothing new then."""
        ...


class Head(NamedTuple):
    """The part of a header block that an answer needs. `status` is None in trailers."""

    status: int | None
    fields: Mapping[str, str]


class HeaderReader:
    """Decodes the header blocks of one connection. We announce a table of size 0, so blocks share no state."""

    def __init__(self, service: Service) -> None:
        self._accepted = frozenset(service.accepted)
        self._wanted = {name.encode(): name for name in service.fields}
        #: Whether `is_plain_success` tells an acceptance.
        self.plain_success = 200 in service.accepted and self._wanted.keys().isdisjoint(map(str.encode, NAMES))
        #: Blocks that were read, and are those of plain acceptances.
        self.accepting: set[bytes] = set()
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
        head = self._head([(bytes(name), bytes(value)) for name, value in fields])
        if len(block) <= _KNOWN_BLOCK_SIZE:
            if len(self._known) >= _KNOWN_BLOCKS:
                self._known.clear()
                self.accepting.clear()
            self._known[block] = head
            if head.status in self._accepted and not head.fields:
                self.accepting.add(block)
        return head

    def _head(self, fields: list[tuple[bytes, bytes]]) -> Head:
        status: int | None = None
        wanted: dict[str, str] = {}
        for position, (name, value) in enumerate(fields):
            if name == b":status" and position == 0:
                status = _status(value)
                continue
            if not _NAME.fullmatch(name) or name in _CONNECTION_FIELDS or _BAD_VALUE.search(value):
                raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "malformed header in an answer")
            if name in self._wanted:
                wanted[self._wanted[name]] = value.decode("latin-1")
        return Head(status, wanted)


def _status(value: bytes) -> int:
    if len(value) == 3 and value.isdigit() and value[0] != 0x30 and value != b"101":
        return int(value)
    raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "malformed status in an answer")
