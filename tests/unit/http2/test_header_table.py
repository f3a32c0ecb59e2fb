"""SETTINGS_HEADER_TABLE_SIZE at the start and at every change, judged by the decoder of h2 and by the simulator's."""

from itertools import product

import hpack
import pytest

from tests.unit.http2.wire import JWT, notification
from worker.http2 import frames
from worker.http2.client.encoder import RequestEncoder
from worker.http2.client.settings import PeerSettings
from worker.http2.frames import ErrorCode
from worker.http2.server.connection import ServerConnection
from worker.http2.server.header_blocks import BlockReader
from worker.http2.server.limits import Announced
from worker.providers.apns.form import FORM

SIZES = (0, 1, 100, 400, 4_095, 4_096, 4_097, 65_536)


def fields(number: int) -> list[tuple[bytes, bytes]]:
    n = notification(number)
    return [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"h"),
        (b":path", b"/3/device/" + n.token.encode()),
        (b"authorization", b"bearer " + JWT.encode()),
        (b"apns-topic", n.heading.topic.encode()),
        (b"apns-push-type", b"alert"),
        (b"apns-priority", b"10"),
        (b"apns-id", n.id.encode()),
    ]


class Ends:
    """An encoder, and the decoders that read what it writes."""

    def __init__(self) -> None:
        self.encoder = RequestEncoder("h", FORM)
        self.hpack = hpack.Decoder()
        self.simulator = BlockReader({})
        self.written = 0

    def announce(self, *sizes: int) -> None:
        """One SETTINGS frame with these values, and its acknowledgement."""
        peer = PeerSettings()
        pairs = b"".join(
            frames.pack_settings({frames.SETTINGS_HEADER_TABLE_SIZE: size})[frames.FRAME_HEADER_SIZE :]
            for size in sizes
        )
        peer.apply(pairs)
        self.encoder.table_size(peer.header_table_size, peer.least_table_size)
        for size in sizes:
            self.hpack.max_allowed_table_size = size
            self.simulator.limit_table(size)

    def write(self) -> None:
        self.written += 1
        block = self.encoder.block(notification(self.written), JWT)
        decoded = [(bytes(name), bytes(value)) for name, value in self.hpack.decode(block, raw=True)]
        assert decoded == fields(self.written)
        assert list(self.simulator.read(block).fields) == decoded


@pytest.mark.parametrize("first", SIZES)
def test_every_size_at_the_start_and_every_change_is_confirmed(first: int) -> None:
    for second, third in product(SIZES, SIZES):
        for between in (0, 2):
            ends = Ends()
            for size in (first, second, third):
                ends.announce(size)
                for _ in range(between):
                    ends.write()
            ends.write()
            ends.write()


@pytest.mark.parametrize("sizes", [(0, 4_096), (4_096, 0, 4_096), (100, 0), (0, 100, 0)])
def test_of_several_values_in_one_frame_the_smallest_is_confirmed(sizes: tuple[int, ...]) -> None:
    ends = Ends()
    ends.announce(4_096)
    ends.write()
    ends.announce(*sizes)
    ends.write()
    ends.write()


@pytest.mark.parametrize("block", [b"\x83\x87\x04\x01/", b"\x3f\x45\x83\x87\x04\x01/"], ids=["none", "larger"])
def test_the_simulator_takes_an_unconfirmed_table_for_an_error_of_compression(block: bytes) -> None:
    core = ServerConnection(Announced(header_table_size=0), {})
    core.start()
    core.receive(frames.PREFACE + frames.pack_settings({}) + frames.SETTINGS_ACK)
    core.take()
    core.receive(frames.pack_frame(frames.HEADERS, frames.FLAG_END_HEADERS, 1, block))
    assert core.error is not None
    assert ErrorCode(frames.unpack_goaway(core.take()[frames.FRAME_HEADER_SIZE :])[1]) is ErrorCode.COMPRESSION_ERROR
