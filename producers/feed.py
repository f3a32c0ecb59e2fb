"""Publishes a stream of JSON lines: valid lines are published, invalid ones are reported by number and field."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import BufferedReader, BytesIO, FileIO
from typing import Any, Final, Protocol

from producers.documents import Publishable
from producers.errors import EventError, PublishError
from producers.events import MAX_DOCUMENT, AnyEvent, decode, dump

#: Bytes taken at once from the input.
_READ: Final = 256 * 1024
#: Ids of events that a tally keeps.
NAMED: Final = 10_000

#: What `feed` reads: it returns available data without waiting for more.
Source = BufferedReader | BytesIO


class Sink(Protocol):
    """Where events go; a `Publisher`."""

    def publish_many(self, events: list[Publishable], /) -> list[str]: ...


@dataclass
class Tally:
    """The result of a feed."""

    accepted: int = 0
    refused: int = 0
    #: Bytes of input that were processed.
    read: int = 0
    #: Why the feed ended before its input; None: it did not.
    stopped: str | None = None
    #: Ids of accepted events: the first `NAMED`.
    events: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: all accepted. 2: some refused. 1: Redis did not take them."""
        return 1 if self.stopped else 2 if self.refused else 0

    def summary(self) -> dict[str, Any]:
        """The tally for machines."""
        return {name: value for name, value in asdict(self).items() if name != "read"}

    def text(self, most: int = 20) -> str:
        """The tally for a person, with the first ids."""
        left = self.accepted - len(self.events[:most])
        lines = [str(self), *(f"  {id}" for id in self.events[:most])]
        return "\n".join([*lines, f"  and {left:,} more"] if self.events and left else lines)

    def __str__(self) -> str:
        return f"{self.accepted:,} accepted, {self.refused:,} refused"


def opened(file: str) -> BufferedReader:
    """The file of that name; `-` is standard input. Raises OSError."""
    return BufferedReader(FileIO(os.dup(0)) if file == "-" else FileIO(file))


def lines_of(event: Mapping[str, Any]) -> BytesIO:
    """One event as a source."""
    return BytesIO(dump(event))


def feed(
    source: Source,
    sink: Sink,
    refused: Callable[[int, EventError], None],
    progress: Callable[[Tally], None] = lambda _: None,
    published: Callable[[Sequence[AnyEvent]], None] = lambda _: None,
) -> Tally:
    """Publish every line as soon as it can be read. A `PublishError` ends the feed; the tally then says why.

    `refused` is called with the number, from 1, and the fault of each bad line, `progress` with the tally after each piece of
    input, `published` with the events that Redis has.
    """
    tally = Tally()
    number = 0
    for size, lines in _pieces(source):
        good: list[tuple[bytes, AnyEvent]] = []
        for line in lines:
            number += 1
            try:
                if line.strip():
                    good.append((line, decode(line)))
            except EventError as fault:
                tally.refused += 1
                refused(number, fault)
        try:
            count = len(sink.publish_many([line for line, _ in good]))
        except PublishError as fault:
            count, tally.stopped = len(fault.accepted), str(fault)
        tally.accepted += count
        taken = [event for _, event in good[:count]]
        tally.events += [event.id for event in taken[: NAMED - len(tally.events)]]
        published(taken)
        if tally.stopped:
            return tally
        tally.read += size
        progress(tally)
    return tally


def _pieces(source: Source) -> Iterator[tuple[int, list[bytes]]]:
    """Bytes read and the lines that they completed, never waiting for more than the next bytes."""
    rest = b""
    while data := source.read1(_READ):
        *lines, rest = (rest + data).split(b"\n")
        # One byte more than a document may have is enough, and an endless line must not fill the memory.
        rest = rest[: MAX_DOCUMENT + 1]
        yield len(data), lines
    if rest:
        yield 0, [rest]
