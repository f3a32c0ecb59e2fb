"""Reads the answers of a server: header blocks with the `hpack` library. The service reads bodies. Knows no stream."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from hpack import Decoder, HPACKError

from worker.core.model import Answer
from worker.http2.client import visible
from worker.http2.client.encoder import ENTRY_OVERHEAD
from worker.http2.client.errors import ConnectionFaultError, StreamFaultError
from worker.http2.client.fast_path import NAMES, PlainSuccess
from worker.http2.client.pieces import field_end, name_end
from worker.http2.frames import ErrorCode

#: The longest decoded header list, as RFC 9113 §6.5.2 counts it; we announce it.
MAX_HEADER_LIST: Final = 8_192
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"),
)
#: Blocks and fields that are remembered, and octets: longer ones are not.
_HUFFMAN: Final = 0x80
_KNOWN_BLOCKS: Final = 128
_KNOWN_BLOCK_SIZE: Final = 1_024
_KNOWN_FIELDS: Final = 512
_KNOWN_FIELD_SIZE: Final = 256


class Service(Protocol):
    """Reads the parts of an answer that HTTP/2 does not define. A kind of provider gives it."""

    @property
    def accepted(self) -> Collection[int]:
        """Statuses that mean acceptance, whatever the body. Such an answer is read only if it has one of `fields`."""
        ...

    @property
    def fields(self) -> Collection[str]:
        """Lower-case names of the header fields that `read_answer` needs."""
        ...

    def read_answer(self, status: int, fields: Mapping[str, str], body: bytes | bytearray) -> Answer: ...

    def read_reason(self, debug: bytes | bytearray) -> str | None:
        """The reason in the debug data of a GOAWAY; None if there is none."""
        ...

    def is_passing(self, reason: str) -> bool:
        """Whether another connection may not get this reason of a GOAWAY. The responses have any other reason as it is."""
        ...

    def is_parting(self, answer: Answer) -> bool:
        """Whether an answer is about the connection, not the request. The connection then takes nothing new."""
        ...


class Head(NamedTuple):
    """The part of a header block that an answer needs. `status` is None in trailers."""

    status: int | None
    fields: Mapping[str, str]


class _Field(NamedTuple):
    """A field of an answer."""

    name: bytes
    value: bytes
    #: What it counts in a header list.
    size: int
    #: Whether it may stand behind `:status`, and what the service calls it that wants it.
    fine: bool
    wanted: str | None
    #: As it came; and what is before its value, where another may stand in its place. Empty where it was not decoded alone.
    octets: bytes = b""
    lead: bytes = b""

    def free_end(self, block: bytes, position: int) -> int | None:
        """Where the same field ends with another value, which HTTP allows and nobody wants; None: it is not there."""
        if not self.lead or not block.startswith(self.lead, position):
            return None
        start = position + len(self.lead) + 1
        if start > len(block):
            return None
        coded = block[start - 1]
        end = start + coded % _HUFFMAN
        value = block[start:end]
        if coded % _HUFFMAN == _HUFFMAN - 1 or end > len(block):
            return None
        well = visible.is_visible(value) if coded >= _HUFFMAN else not _BAD_VALUE.search(value)
        return end if well else None


class HeaderReader:
    """Decodes the header blocks of one connection.

    We announce a table of size 0, so neither blocks nor fields share a state: each is decoded once, and remembered.
    """

    def __init__(self, service: Service) -> None:
        self._accepted = frozenset(service.accepted)
        self._wanted = {name.encode(): name for name in service.fields}
        #: None: it takes for an acceptance what is none here, or may not be all of one.
        recognises = 200 in service.accepted and self._wanted.keys().isdisjoint(map(str.encode, NAMES))
        self.plain_success = PlainSuccess() if recognises else None
        #: Blocks of plain acceptances that were read before.
        self.accepting: set[bytes] = set()
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_LIST)
        self._decoder.header_table_size = 0
        self._decoder.max_allowed_table_size = 0
        self._known: dict[bytes, Head] = {}
        self._known_fields: dict[bytes, _Field] = {}
        #: Those of the last block.
        self._usual: list[_Field] = []

    def read(self, block: bytes) -> Head:
        """Raises `ConnectionFaultError` if it cannot be decoded, `StreamFaultError` if its fields are malformed."""
        known = self._known.get(block)
        if known is not None:
            return known
        head = _head(self._fields_of(block))
        if len(block) <= _KNOWN_BLOCK_SIZE:
            if len(self._known) >= _KNOWN_BLOCKS:
                self._known.clear()
                self.accepting.clear()
            self._known[block] = head
            if head.status in self._accepted and not head.fields:
                self.accepting.add(block)
        return head

    def is_acceptance(self, block: bytes) -> bool:
        """Whether this block accepts and holds nothing that the service wants. Says no whenever it is not sure."""
        try:
            head = self.read(block)
        except (ConnectionFaultError, StreamFaultError):
            return False
        return head.status in self._accepted and not head.fields

    def _fields_of(self, block: bytes) -> list[_Field]:
        """A server's answers have the same fields in the same order, and few values that differ.

        What nobody wants stands with another value in place of its own.
        """
        fields: list[_Field] = []
        position = size = 0
        for usual in self._usual:
            if block.startswith(usual.octets, position):
                field, end = usual, position + len(usual.octets)
            elif (free := usual.free_end(block, position)) is not None:
                field, end = usual, free
                # Huffman's code makes two octets of three, at most.
                size += 2 * (end - position)
            elif (known := field_end(block, position)) is not None:
                field, end = self._field(block[position:known]), known
            else:
                break
            fields.append(field)
            position = end
            size += field.size
        while position < len(block):
            if (known := field_end(block, position)) is None:
                return self._decoded(block)
            fields.append(self._field(block[position:known]))
            position = known
            size += fields[-1].size
        if size > MAX_HEADER_LIST:
            return self._decoded(block)
        self._usual = fields
        return fields

    def _field(self, octets: bytes) -> _Field:
        field = self._known_fields.get(octets)
        if field is None:
            [field] = self._decoded(octets)
            free = field.fine and field.wanted is None and field.name != b":status" and not octets[0] & _HUFFMAN
            field = field._replace(octets=octets, lead=octets[: name_end(octets, 0)] if free else b"")
            if len(octets) <= _KNOWN_FIELD_SIZE:
                if len(self._known_fields) >= _KNOWN_FIELDS:
                    self._known_fields.clear()
                self._known_fields[octets] = field
        return field

    def _decoded(self, octets: bytes) -> list[_Field]:
        try:
            fields = self._decoder.decode(octets, raw=True)
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFaultError(ErrorCode.COMPRESSION_ERROR, "header block not readable") from error
        return [self._judged(bytes(name), bytes(value)) for name, value in fields]

    def _judged(self, name: bytes, value: bytes) -> _Field:
        fine = _NAME.fullmatch(name) and name not in _CONNECTION_FIELDS and not _BAD_VALUE.search(value)
        size = len(name) + len(value) + ENTRY_OVERHEAD
        return _Field(name, value, size, bool(fine), self._wanted.get(name))


def _head(fields: Sequence[_Field]) -> Head:
    status: int | None = None
    wanted: dict[str, str] = {}
    for position, field in enumerate(fields):
        if position == 0 and field.name == b":status":
            status = _status(field.value)
        elif not field.fine:
            raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "malformed header in an answer")
        elif field.wanted is not None:
            wanted[field.wanted] = field.value.decode("latin-1")
    return Head(status, wanted)


def _status(value: bytes) -> int:
    if len(value) == 3 and value.isdigit() and value[0] != 0x30 and value != b"101":
        return int(value)
    raise StreamFaultError(ErrorCode.PROTOCOL_ERROR, "malformed status in an answer")
