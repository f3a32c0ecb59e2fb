"""A request as a server receives it: whole, or while its body is arriving."""

from typing import NamedTuple

from worker.http2.server.header_blocks import Shape


class Request(NamedTuple):
    """A complete request. `values` fill the holes of `shape`; those of a shape read from its pattern are well-formed."""

    stream_id: int
    shape: Shape
    values: tuple[bytes, ...]
    body: bytes


class Upload:
    """A request whose body is still arriving."""

    __slots__ = ("body", "granted", "received", "shape")

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.body = bytearray()
        #: Octets that came, padding included, and octets of window that were given back for them.
        self.received = 0
        self.granted = 0
