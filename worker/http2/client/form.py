"""How the requests of a kind look. The kind says which fields they have, and may have a faster way to write them."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from struct import iter_unpack, pack
from typing import Any, Final, NamedTuple

from worker.http2 import frames
from worker.http2.client.encoder import RequestEncoder
from worker.http2.client.fields import Field

#: What a HEADERS frame with a whole block, and a DATA frame that ends its stream, have behind their length.
HEADERS_TAIL: Final = bytes((frames.HEADERS, frames.FLAG_END_HEADERS))
DATA_TAIL: Final = bytes((frames.DATA, frames.FLAG_END_STREAM))


class Space(NamedTuple):
    """What the next requests may take."""

    #: The first free stream.
    stream_id: int
    #: Octets of DATA that the server takes on the connection, and of one request.
    window: int
    largest: int
    #: Octets of a header list, as the server counts it; None: it named no limit.
    header_list: int | None


class Written(NamedTuple):
    """Frames of the first so many requests, and the octets of DATA in them."""

    frames: list[bytes]
    requests: int
    octets: int


class Form(ABC):
    """How the requests of a kind look. One instance serves all connections; all requests are a POST over https."""

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
        """Fields that few other requests have. Raises `BadFieldError`."""

    def check(self, request: Any, authorization: str | None) -> None:
        """Raises `BadFieldError` if the request cannot be written, whoever writes it."""
        self.shared(request, authorization)
        self.own(request)

    def write(
        self, encoder: RequestEncoder, requests: Sequence[Any], authorization: str | None, space: Space
    ) -> Written:
        """Writes requests from the first on, up to one that is out of the ordinary, which is written field by field.

        This one is for requests without fields of their own: their header block is written once. A kind with another form
        may have a way of its own.
        """
        frames_: list[bytes] = []
        window, known, size = space.window, None, -1
        block = None
        for request, (stream,) in zip(requests, stream_ids(space.stream_id, len(requests)), strict=True):
            key = self.key(request)
            if block is None or key != known:
                known, block = key, encoder.constant(key, authorization, space.header_list)
                if block is None:
                    break
                head = len(block).to_bytes(3, "big") + HEADERS_TAIL
            payload = request.payload
            if len(payload) != size:
                size = len(payload)
                ending = block + size.to_bytes(3, "big") + DATA_TAIL
            if size > window or size > space.largest:
                break
            window -= size
            frames_ += (head, stream, ending, stream, payload)
        return Written(frames_, len(frames_) // 5, space.window - window)


def stream_ids(first: int, count: int) -> Iterator[tuple[bytes]]:
    """The octets of `count` stream ids from `first` on."""
    return iter_unpack("4s", pack(f">{count}L", *range(first, first + 2 * count, 2)))
