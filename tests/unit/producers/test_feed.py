"""JSON lines: published as they come, the bad ones named, none held back, no line without end kept."""

import json
import os
import threading
from io import BufferedReader, BytesIO, FileIO
from queue import Queue
from typing import Any

import pytest

from producers import MAX_DOCUMENT, EventError, PublishError
from producers.feed import Tally, feed
from tests.unit.producers.examples import numbered

GOOD = [json.dumps(event).encode() for event in numbered(5)]


class Sink:
    """Takes what it is given, up to a number of events."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.taken: list[Any] = []
        self._room = room

    def publish_many(self, events: list[Any], /) -> list[str]:
        entries = [f"{len(self.taken) + n}-0" for n in range(len(events))]
        if len(self.taken) + len(events) > self._room:
            raise PublishError("away", entries[: self._room - len(self.taken)])
        self.taken += events
        return entries


class Dribble(BytesIO):
    """Hands out a few bytes at once, as a slow pipe does."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return super().read1(7)


def fed(source: Any, sink: Sink) -> tuple[Tally, list[tuple[int, str]]]:
    faults: list[tuple[int, str]] = []
    return feed(source, sink, lambda number, fault: faults.append((number, fault.field))), faults


@pytest.mark.parametrize("source", [pytest.param(BytesIO, id="at once"), pytest.param(Dribble, id="in small pieces")])
@pytest.mark.parametrize("end", [pytest.param(b"\n", id="with a last line break"), pytest.param(b"", id="without")])
def test_good_lines_go_through_and_bad_ones_are_named(source: type[BytesIO], end: bytes) -> None:
    sink = Sink()
    lines = [GOOD[0], b"", b"{", GOOD[1], b'{"v": 2}', b"   ", GOOD[2]]
    tally, faults = fed(source(b"\n".join(lines) + end), sink)
    assert sink.taken == GOOD[:3]
    assert faults == [(3, "document"), (5, "v")]
    assert (tally.accepted, tally.refused, tally.exit_code) == (3, 2, 2)


def test_windows_line_ends_are_no_fault() -> None:
    tally, faults = fed(BytesIO(b"\r\n".join(GOOD)), Sink())
    assert (tally.accepted, faults, tally.exit_code) == (5, [], 0)


def test_a_line_without_end_is_refused_and_the_next_is_taken() -> None:
    sink = Sink()
    tally, faults = fed(BytesIO(b"x" * (3 * MAX_DOCUMENT) + b"\n" + GOOD[0]), sink)
    assert faults == [(1, "document")]
    assert sink.taken == GOOD[:1]
    assert tally.exit_code == 2


def test_a_line_is_published_while_the_pipe_stays_open() -> None:
    reading, writing = os.pipe()
    progress: Queue[int] = Queue()

    def refuse(number: int, fault: EventError) -> None:
        raise AssertionError(f"line {number}: {fault}")

    with BufferedReader(FileIO(reading)) as source, open(writing, "wb", buffering=0) as pipe:
        arguments = (source, Sink(), refuse, lambda tally: progress.put(tally.accepted))
        working = threading.Thread(target=feed, args=arguments, daemon=True)
        working.start()
        for number, line in enumerate(GOOD, start=1):
            pipe.write(line + b"\n")
            while progress.get(timeout=10) != number:
                pass
        pipe.close()
        working.join(10)
    assert not working.is_alive()


def test_a_redis_that_is_away_ends_the_feed_with_what_was_accepted() -> None:
    tally, _ = fed(BytesIO(b"\n".join(GOOD)), Sink(room=2))
    assert (tally.accepted, tally.stopped, tally.exit_code) == (2, "away", 1)
