"""What the leader finds while it waits is what the script finds that reads a stream."""

from collections.abc import Iterator

import pytest

from producers.events import MAX_DOCUMENT, STREAM
from worker.state.partition import untagged
from worker.state.redis import Redis, connect
from worker.state.streams import KEPT, Streams


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def streams(redis: Redis) -> Streams:
    return Streams(untagged(redis))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([b"event", b"{}"], id="an event"),
        pytest.param([b"event", b"{}", b"trace", b"x"], id="an event and another field"),
        pytest.param([b"other", b"x"], id="no event"),
        pytest.param([b"event", b"{}", b"event", b"[]"], id="an event twice"),
        pytest.param([b"event", b"x" * (MAX_DOCUMENT + 1)], id="a document that is too long"),
        pytest.param([b"event", b"{}", b"event", b"x" * (MAX_DOCUMENT + 1)], id="the second is too long"),
    ],
)
def test_an_entry_that_came_while_it_waited_is_as_if_it_was_read(
    redis: Redis, streams: Streams, fields: list[bytes]
) -> None:
    redis.execute_command("XADD", STREAM, "*", *fields)
    read = streams.read(STREAM, "0-0", entries=500, octets=1 << 30)
    assert streams.wait({STREAM: "0-0"}, 1.0) == {STREAM: read}
    assert len(read.entries[0].document) <= max(KEPT, 2)


def test_more_than_two_entries_are_left_to_be_read(redis: Redis, streams: Streams) -> None:
    for _ in range(3):
        redis.xadd(STREAM, {"event": "{}"})
    [(stream, found)] = streams.wait({STREAM: "0-0"}, 1.0).items()
    assert (stream, len(found.entries), found.more) == (STREAM, 2, True)
    assert not streams.wait({STREAM: str(redis.xinfo_stream(STREAM)["last-generated-id"].decode())}, 0.01)
