"""The form of a kind's requests: which fields they have. A kind may also have a faster function to write them."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from struct import iter_unpack, pack
from typing import Any, Final, NamedTuple

from worker.http2 import frames
from worker.http2.client.encoder import RequestEncoder, Shared
from worker.http2.client.fields import BadFieldError, Field

#: Type and flags, behind the length, of a HEADERS frame with a whole block and of a DATA frame that ends its stream.
HEADERS_TAIL: Final = bytes((frames.HEADERS, frames.FLAG_END_HEADERS))
DATA_TAIL: Final = bytes((frames.DATA, frames.FLAG_END_STREAM))
#: Octets of a header block: the smallest frame size that a server may choose.
_LONGEST_BLOCK: Final = frames.DEFAULT_MAX_FRAME_SIZE
#: A key that no request has.
_NONE: Final = object()


class Space(NamedTuple):
    """The limits for the next requests."""

    #: The first free stream.
    stream_id: int
    #: Octets of DATA that the server accepts on the connection, and for one request.
    window: int
    largest: int
    #: Octets of a header list, as the server counts it; None: it named no limit.
    header_list: int | None


class Written(NamedTuple):
    """The frames of the first `count` requests, and the octets of DATA in them."""

    frames: list[bytes]
    requests: int
    octets: int


class Form(ABC):
    """The form of a kind's requests. One instance serves all connections; every request is a POST over https."""

    @abstractmethod
    def key(self, request: Any) -> Hashable:
        """Requests with equal keys have equal shared fields."""

    @abstractmethod
    def shared(self, request: Any, authorization: str | None) -> Sequence[Field]:
        """Fields that many requests have in common, the access token with `Keep.SECRET`. Raises `BadFieldError`.

        `:path` stands first, either here or in `own`.
        """

    @abstractmethod
    def own(self, request: Any) -> Sequence[Field]:
        """Fields that few requests have in common. Raises `BadFieldError`."""

    def check(self, request: Any, authorization: str | None) -> None:
        """Raises `BadFieldError` if the request cannot be written at all."""
        self.shared(request, authorization)
        self.own(request)

    def write(
        self, encoder: RequestEncoder, requests: Sequence[Any], authorization: str | None, space: Space
    ) -> Written:
        """Writes requests from the first on. Stops before an unusual one, which is then written field by field.

        Where requests have no fields of their own, the header block is written once. A kind may have a faster way.
        """
        pieces: list[bytes] = []
        window, size = space.window, -1
        known: Hashable = _NONE
        shared: Shared | None = None
        block: bytes | None = None
        for request, (stream,) in zip(requests, stream_ids(space.stream_id, len(requests)), strict=True):
            key = self.key(request)
            if key != known:
                known, shared, block = key, encoder.shared(key, authorization), None
            if shared is None:
                break
            if block is None or not shared.whole:
                block = self._block(encoder, shared, request, space.header_list)
                if block is None:
                    break
                head = len(block).to_bytes(3, "big") + HEADERS_TAIL
                size = -1
            payload = request.payload
            if len(payload) != size:
                size = len(payload)
                ending = block + size.to_bytes(3, "big") + DATA_TAIL
            if size > window or size > space.largest:
                break
            window -= size
            pieces += (head, stream, ending, stream, payload)
        return Written(pieces, len(pieces) // 5, space.window - window)

    def _block(self, encoder: RequestEncoder, shared: Shared, request: Any, header_list: int | None) -> bytes | None:
        try:
            block = encoder.known_block(shared, self.own(request), header_list)
        except BadFieldError:
            return None
        return None if block is None or len(block) > _LONGEST_BLOCK else block


def stream_ids(first: int, count: int) -> Iterator[tuple[bytes]]:
    """The octets of `count` stream ids from `first` on."""
    return iter_unpack("4s", pack(f">{count}L", *range(first, first + 2 * count, 2)))
