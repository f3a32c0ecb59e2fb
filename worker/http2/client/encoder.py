"""Writes the header block of a notification (RFC 7541), prepared so that most of it is written once.

What all requests share sits in the server's dynamic table, as far as it allows one: authority, provider token, topic, push
type and priority with their values; `apns-id`, `apns-expiration` and `apns-collapse-id` by name only; `:path` never. Nothing
is ever evicted by inserting: what does not fit is a literal, and a new provider token that does not fit empties the table.
"""

import re
from enum import Enum
from typing import Final

from worker.core.model import Notification

#: Octets of the dynamic table that we use at most, whatever the server allows.
TABLE_LIMIT: Final = 4_096
#: RFC 7541 §4.1 and RFC 9113 §6.5.2: what each entry counts besides its name and value.
ENTRY_OVERHEAD: Final = 32
#: The longest device token of the fast path: with `/3/device/` its length still fits into one octet.
LONGEST_FAST_TOKEN: Final = 116
_FIRST_DYNAMIC: Final = 62
_STATIC_NAMES: Final = {b":authority": 1, b":path": 4, b"authorization": 23}
_METHOD_AND_SCHEME: Final = b"\x83\x87"
_METHOD_AND_SCHEME_SIZE: Final = len(":methodPOST:schemehttps") + 2 * ENTRY_OVERHEAD
_PATH: Final = b"/3/device/"
_EXPIRATION: Final = b"apns-expiration"
_COLLAPSE_ID: Final = b"apns-collapse-id"
_VALUE: Final = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_TOKEN: Final = re.compile(r"[0-9A-Za-z._~-]*")
_CACHED_SHAPES: Final = 1_024
_OCTETS: Final = [bytes((octet,)) for octet in range(256)]


class Keep(Enum):
    """What of a field goes into the dynamic table."""

    VALUE = 1
    NAME = 2
    NOTHING = 3
    #: Into the table with its value, and marked never-indexed where it cannot be (RFC 7541 §7.1.3).
    SECRET = 4


_Field = tuple[bytes, bytes, Keep]


class BadFieldError(ValueError):
    """A value that HTTP does not allow in a header. `cause` is a fixed phrase that does not show it."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class OversizedError(BadFieldError):
    """A header list over the limit that this server announced."""


def check_fields(n: Notification, authorization: str | None) -> None:
    """Raises `BadFieldError` where a request for this notification cannot be written, whoever writes it."""
    _shared_fields(n, authorization)
    _extra_fields(n.expiration, n.collapse_id)
    _token(n.token)
    _value(n.id, "apns-id")


def encode_integer(value: int, prefix: int, first: int) -> bytes:
    """An integer with a prefix of `prefix` bits, its other bits from `first` (RFC 7541 §5.1)."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes((first | value,))
    octets = [first | limit]
    value -= limit
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def encode_string(value: bytes) -> bytes:
    """A string literal without Huffman coding."""
    if len(value) < 127:
        return _OCTETS[len(value)] + value
    return encode_integer(len(value), 7, 0) + value


class Shape:
    """The parts of a header block that many notifications share; the token and the id go between them."""

    __slots__ = ("back", "front", "heads", "id_head", "list_size")

    def __init__(self, front: bytes, id_head: bytes, back: bytes, list_size: int) -> None:
        #: Up to the length of `:path`.
        self.front = front
        #: Between the device token and a 36-octet `apns-id`.
        self.id_head = id_head
        self.back = back
        #: The size of the header list without token, expiration and collapse id, as the server counts it.
        self.list_size = list_size
        #: By length of the token: `front` with the length of the path and its fixed part.
        self.heads: dict[int, bytes] = {}

    def head(self, token_length: int) -> bytes:
        """Everything before a token of this length."""
        head = self.heads.get(token_length)
        if head is None:
            head = self.front + encode_integer(len(_PATH) + token_length, 7, 0) + _PATH
            self.heads[token_length] = head
        return head


class RequestEncoder:
    """The encoder of one connection: it mirrors the server's dynamic table."""

    def __init__(self, authority: str) -> None:
        self._authority = authority.encode()
        #: Octets of the table in use by agreement; None until the server's settings are known.
        self._limit: int | None = None
        self._resize = False
        self._used = 0
        self._inserted = 0
        self._fields: dict[tuple[bytes, bytes], int] = {}
        self._names: dict[bytes, int] = {}
        #: By provider token, topic, push type and priority: the shared parts, once a block was written whole for them.
        self.shapes: dict[tuple[str | None, str, str, int], Shape] = {}
        self._heads: dict[bytes, bytes] = {}

    def table_size(self, announced: int, least: int | None = None) -> None:
        """The server's SETTINGS_HEADER_TABLE_SIZE: takes effect with the next block, which says so first.

        `least` is the smallest of several values in one frame. The first call is never "no change": the server's decoder begins
        with 4,096 octets, so that a first value of 0 has to be confirmed as well (RFC 7541 §4.2).
        """
        limit = min(announced, TABLE_LIMIT)
        if self._limit is None or limit != self._limit or (least is not None and least < limit):
            self._limit = limit
            self._empty()

    def rest(self, expiration: int | None, collapse_id: str | None) -> tuple[bytes, int] | None:
        """What follows the shape's `back`, and its list size; None where only `block` can tell."""
        written, size = b"", 0
        if expiration is not None:
            head = self._heads.get(_EXPIRATION) or self._name_head(_EXPIRATION)
            if head is None:
                return None
            value = b"%d" % expiration
            written, size = head + encode_string(value), len(_EXPIRATION) + len(value) + ENTRY_OVERHEAD
        if collapse_id is not None:
            head = self._heads.get(_COLLAPSE_ID) or self._name_head(_COLLAPSE_ID)
            # What is not plain ASCII gets its second look, and its error, from `block`.
            if head is None or not collapse_id.isascii() or not _VALUE.fullmatch(value := collapse_id.encode()):
                return None
            written += head + encode_string(value)
            size += len(_COLLAPSE_ID) + len(value) + ENTRY_OVERHEAD
        return written, size

    def _name_head(self, name: bytes) -> bytes | None:
        """How a literal with this name begins; None while the name may still go into the table."""
        named = self._name_index(name)
        if not named and self._fits(name, b""):
            return None
        head = encode_integer(named, 4, 0) + (b"" if named else encode_string(name))
        self._heads[name] = head
        return head

    def block(self, n: Notification, authorization: str | None, largest: int | None = None) -> bytes:
        """The whole header block of a notification.

        `largest` bounds its header list in the server's measure. Raises `BadFieldError`, and then the table is as it was.
        """
        shared = _shared_fields(n, authorization)
        extra = _extra_fields(n.expiration, n.collapse_id)
        path, apns_id = _PATH + _token(n.token), _value(n.id, "apns-id")
        own: list[_Field] = [(b":path", path, Keep.NOTHING), (b"apns-id", apns_id, Keep.NAME)]
        authority: _Field = (b":authority", self._authority, Keep.VALUE)
        list_size = _METHOD_AND_SCHEME_SIZE + _list_size([authority, *shared])
        if largest is not None and list_size + _list_size([*own, *extra]) > largest:
            raise OversizedError("headers over the server's limit")
        inserted = self._inserted
        resized = self._make_room(shared[0][1] if authorization is not None else None)
        front = _METHOD_AND_SCHEME + self._field(*authority)
        middle = [self._field(*field) for field in own]
        back = b"".join([self._field(*field) for field in shared])
        tail = b"".join([self._field(*field) for field in extra])
        if inserted == self._inserted and not resized:
            id_head = middle[1][: -len(encode_string(apns_id))] + b"\x24"
            own_size = 2 * ENTRY_OVERHEAD + len(b":path") + len(_PATH) + len(b"apns-id")
            self._remember(n, authorization, Shape(front + b"\x04", id_head, back, list_size + own_size))
        return resized + front + b"".join(middle) + back + tail

    def _remember(self, n: Notification, authorization: str | None, shape: Shape) -> None:
        if len(self.shapes) >= _CACHED_SHAPES:
            self.shapes.clear()
        self.shapes[authorization, n.topic, n.push_type, n.priority] = shape

    def _fits(self, name: bytes, value: bytes) -> bool:
        return self._used + len(name) + len(value) + ENTRY_OVERHEAD <= (self._limit or 0)

    def _make_room(self, authorization: bytes | None) -> bytes:
        """Empties the table for a provider token that no longer fits; returns the size updates that are due."""
        if authorization is not None and (b"authorization", authorization) not in self._fields:
            size = len(b"authorization") + len(authorization) + ENTRY_OVERHEAD
            if self._used + size > (self._limit or 0) >= size:
                self._empty()
        if not self._resize:
            return b""
        self._resize = False
        # Down to nothing first: that both empties the table and covers the smallest size since the last block.
        return b"\x20" + encode_integer(self._limit, 5, 0x20) if self._limit else b"\x20"

    def _empty(self) -> None:
        self._resize = True
        self._used = 0
        self._inserted = 0
        self._fields.clear()
        self._names.clear()
        self._forget_prepared()

    def _forget_prepared(self) -> None:
        self.shapes.clear()
        self._heads.clear()

    def _field(self, name: bytes, value: bytes, keep: Keep) -> bytes:
        known = self._fields.get((name, value))
        if known is not None and keep in (Keep.VALUE, Keep.SECRET):
            return encode_integer(_FIRST_DYNAMIC + self._inserted - 1 - known, 7, 0x80)
        named = self._name_index(name)
        wanted = keep is not Keep.NOTHING and (keep is not Keep.NAME or name not in self._names)
        if wanted and self._fits(name, value):
            self._insert(name, value)
            return _literal(named, 6, 0x40, name, value)
        return _literal(named, 4, 0x10 if keep is Keep.SECRET else 0x00, name, value)

    def _name_index(self, name: bytes) -> int:
        if name in _STATIC_NAMES:
            return _STATIC_NAMES[name]
        known = self._names.get(name)
        return 0 if known is None else _FIRST_DYNAMIC + self._inserted - 1 - known

    def _insert(self, name: bytes, value: bytes) -> None:
        self._fields[name, value] = self._names[name] = self._inserted
        self._inserted += 1
        self._used += len(name) + len(value) + ENTRY_OVERHEAD
        # Every index has moved by one.
        self._forget_prepared()


def _literal(named: int, prefix: int, first: int, name: bytes, value: bytes) -> bytes:
    head = encode_integer(named, prefix, first)
    if not named:
        head += encode_string(name)
    return head + encode_string(value)


def _shared_fields(n: Notification, authorization: str | None) -> list[_Field]:
    """The fields that most notifications of a connection have in common, the provider token first."""
    fields: list[_Field] = [
        (b"apns-topic", _value(n.topic, "topic"), Keep.VALUE),
        (b"apns-push-type", _value(n.push_type, "push type"), Keep.VALUE),
        (b"apns-priority", b"%d" % n.priority, Keep.VALUE),
    ]
    if authorization is not None:
        fields.insert(0, (b"authorization", _value(f"bearer {authorization}", "provider token"), Keep.SECRET))
    return fields


def _extra_fields(expiration: int | None, collapse_id: str | None) -> list[_Field]:
    fields: list[_Field] = []
    if expiration is not None:
        fields.append((_EXPIRATION, b"%d" % expiration, Keep.NAME))
    if collapse_id is not None:
        fields.append((_COLLAPSE_ID, _value(collapse_id, "collapse id"), Keep.NAME))
    return fields


def _list_size(fields: list[_Field]) -> int:
    return sum([len(name) + len(value) + ENTRY_OVERHEAD for name, value, _ in fields])


def _token(text: str) -> bytes:
    if not _TOKEN.fullmatch(text):
        raise BadFieldError("device token not allowed in a path")
    return text.encode()


def _value(text: str, what: str) -> bytes:
    try:
        value = text.encode()
    except UnicodeEncodeError:
        raise BadFieldError(f"{what} not allowed in a header") from None
    if not _VALUE.fullmatch(value):
        raise BadFieldError(f"{what} not allowed in a header")
    return value
