"""Writes the header block of a request (RFC 7541), prepared so that what requests share is written once.

What they share sits in the server's dynamic table, as far as it allows one; of their own fields at most the names do. Nothing
is ever evicted by inserting: what does not fit is a literal, and a new access token that does not fit empties the table.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from worker.http2.client.fields import BadFieldError, Field, Keep

#: Octets of the dynamic table that we use, at most.
TABLE_LIMIT: Final = 4_096
#: Octets that each entry counts besides its name and value (RFC 7541 §4.1, RFC 9113 §6.5.2).
ENTRY_OVERHEAD: Final = 32
_FIRST_DYNAMIC: Final = 62
#: Fields of requests whose names are in the static table (RFC 7541, Appendix A).
_STATIC_NAMES: Final = {
    b":authority": 1,
    b":path": 4,
    b"authorization": 23,
    b"content-encoding": 26,
    b"content-length": 28,
    b"content-type": 31,
    b"user-agent": 58,
}
_METHOD_AND_SCHEME: Final = b"\x83\x87"
_METHOD_AND_SCHEME_SIZE: Final = len(":methodPOST:schemehttps") + 2 * ENTRY_OVERHEAD
_PATH: Final = b":path"
_CACHED: Final = 1_024
_OCTETS: Final = [bytes((octet,)) for octet in range(256)]


class Fields(Protocol):
    """Which fields a request has; see `Form`."""

    def key(self, request: Any) -> Hashable: ...
    def shared(self, request: Any, authorization: str | None) -> Sequence[Field]: ...
    def own(self, request: Any) -> Sequence[Field]: ...


class OversizedError(BadFieldError):
    """A header list over the limit that this server announced."""


class Shared(NamedTuple):
    """The encoded fields that requests with one key and one access token share; writing them no longer changes the table."""

    #: The fields before `:path`, and `:path` too if they share it.
    front: bytes
    fields: bytes
    #: The size of the header list without a request's own fields, as the server counts it.
    list_size: int
    #: Whether these requests have no own fields.
    whole: bool


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


class RequestEncoder:
    """The encoder of one connection: it mirrors the server's dynamic table."""

    def __init__(self, authority: str, form: Fields) -> None:
        self._authority: Field = (b":authority", authority.encode(), Keep.VALUE)
        self._form = form
        #: Octets of the table in use by agreement; None until the server's settings are known.
        self._limit: int | None = None
        self._resize = False
        self._used = 0
        self._inserted = 0
        self._fields: dict[tuple[bytes, bytes], int] = {}
        self._names: dict[bytes, int] = {}
        #: By access token and key, once a whole block was written for them.
        self._shared: dict[tuple[str | None, Hashable], Shared] = {}
        self._heads: dict[bytes, bytes] = {}
        #: What the form remembers about the present table; emptied when the table changes.
        self.notes: dict[Hashable, Any] = {}

    def table_size(self, announced: int, least: int | None = None) -> None:
        """The server's SETTINGS_HEADER_TABLE_SIZE: takes effect with the next block, which says so first.

        `least` is the smallest of several values in one frame. The first call is never "no change": the server's decoder begins
        with 4,096 octets, so that a first value of 0 has to be confirmed as well (RFC 7541 §4.2).
        """
        limit = min(announced, TABLE_LIMIT)
        if self._limit is None or limit != self._limit or (least is not None and least < limit):
            self._limit = limit
            self._empty()

    def shared(self, key: Hashable, authorization: str | None) -> Shared | None:
        """The encoded fields that requests with this key share; None if only `block` can write them."""
        return self._shared.get((authorization, key))

    def known_block(self, shared: Shared, own: Sequence[Field], largest: int | None) -> bytes | None:
        """The whole block of a request, if it leaves the table as it is and within `largest`; otherwise None."""
        if largest is not None and shared.list_size + _list_size(own) > largest:
            return None
        written = []
        for name, value, keep in own:
            head = self._heads.get(name) or self.name_head(name, kept=keep is not Keep.NOTHING)
            if head is None or keep is Keep.VALUE or keep is Keep.SECRET:
                return None
            written.append(head + encode_string(value))
        return _joined(shared, own, written)

    def name_head(self, name: bytes, *, kept: bool = True) -> bytes | None:
        """The first octets of a literal with this name; None while the name may still go into the table, if it is `kept`."""
        head = self._heads.get(name)
        if head is None:
            named = self._name_index(name)
            if kept and not named and self._fits(name, b""):
                return None
            head = self._heads[name] = encode_integer(named, 4, 0) + (b"" if named else encode_string(name))
        return head

    def block(self, request: Any, authorization: str | None, largest: int | None = None) -> bytes:
        """The whole header block of a request.

        `largest` bounds its header list in the server's measure. Raises `BadFieldError`, and then the table is as it was.
        """
        key = (authorization, self._form.key(request))
        own = self._form.own(request)
        known = self._shared.get(key)
        if known is None:
            return self._first(key, request, own, largest)
        if largest is not None and known.list_size + _list_size(own) > largest:
            raise OversizedError("headers over the server's limit")
        return _joined(known, own, [self._field(*field) for field in own])

    def _first(
        self, key: tuple[str | None, Hashable], request: Any, own: Iterable[Field], largest: int | None
    ) -> bytes:
        """A block whose shared fields may have to go into the table."""
        shared = [self._authority, *self._form.shared(request, key[0])]
        list_size = _METHOD_AND_SCHEME_SIZE + _list_size(shared)
        if largest is not None and list_size + _list_size(own) > largest:
            raise OversizedError("headers over the server's limit")
        inserted = self._inserted
        resized = self._make_room(shared)
        path = [field for field in own if field[0] == _PATH]
        pseudo = [field for field in shared if field[0].startswith(b":")]
        front = _METHOD_AND_SCHEME + self._encode(pseudo)
        written_path = self._encode(path)
        fields = self._encode(field for field in shared if field not in pseudo)
        rest = self._encode(field for field in own if field not in path)
        if inserted == self._inserted and not resized:
            if len(self._shared) >= _CACHED:
                self._forget_prepared()
            self._shared[key] = Shared(front, fields, list_size, whole=not own)
        return resized + front + written_path + fields + rest

    def _encode(self, fields: Iterable[Field]) -> bytes:
        return b"".join([self._field(*field) for field in fields])

    def _fits(self, name: bytes, value: bytes) -> bool:
        return self._used + len(name) + len(value) + ENTRY_OVERHEAD <= (self._limit or 0)

    def _make_room(self, shared: Iterable[Field]) -> bytes:
        """Empties the table if an access token does not fit any more; returns the size updates that are due."""
        for name, value, keep in shared:
            if keep is Keep.SECRET and (name, value) not in self._fields:
                size = len(name) + len(value) + ENTRY_OVERHEAD
                if self._used + size > (self._limit or 0) >= size:
                    self._empty()
        if not self._resize:
            return b""
        self._resize = False
        # First down to 0: this empties the table, and also signals the smallest size since the last block.
        return b"\x20" + encode_integer(self._limit, 5, 0x20) if self._limit else b"\x20"

    def _empty(self) -> None:
        self._resize = True
        self._used = 0
        self._inserted = 0
        self._fields.clear()
        self._names.clear()
        self._forget_prepared()

    def _forget_prepared(self) -> None:
        self._shared.clear()
        self._heads.clear()
        self.notes.clear()

    def _field(self, name: bytes, value: bytes, keep: Keep) -> bytes:
        if keep is Keep.VALUE or keep is Keep.SECRET:
            known = self._fields.get((name, value))
            if known is not None:
                return encode_integer(_FIRST_DYNAMIC + self._inserted - 1 - known, 7, 0x80)
        named = self._name_index(name)
        wanted = keep is not Keep.NOTHING and (keep is not Keep.NAME or not named)
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


def _joined(shared: Shared, own: Sequence[Field], written: Sequence[bytes]) -> bytes:
    """The block of shared fields and own fields: `:path` comes before all fields that are no pseudo-headers."""
    if own and own[0][0] == _PATH:
        return b"".join((shared.front, written[0], shared.fields, *written[1:]))
    return b"".join((shared.front, shared.fields, *written))


def _literal(named: int, prefix: int, first: int, name: bytes, value: bytes) -> bytes:
    head = encode_integer(named, prefix, first)
    if not named:
        head += encode_string(name)
    return head + encode_string(value)


def _list_size(fields: Iterable[Field]) -> int:
    return sum([len(name) + len(value) + ENTRY_OVERHEAD for name, value, _ in fields])
