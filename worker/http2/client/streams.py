"""The streams of one client connection and their outcomes. Knows no bytes."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Final

from worker.core.model import NoAnswer, Response
from worker.http2 import frames
from worker.http2.client.batch import Batch

#: Reset streams whose late frames are recognised one by one; frames of older streams are ignored by number.
_REMEMBERED_RESETS: Final = 4_096
_NONE: Final[Mapping[str, str]] = {}


class Stream:
    """A stream with more state than "request written, no answer yet"."""

    __slots__ = ("batch", "body", "fields", "index", "octets", "received", "status", "window")

    def __init__(self, batch: Batch, index: int) -> None:
        self.batch = batch
        self.index = index
        #: The part of the payload that waits for the server's window; None: all of it is written.
        self.body: memoryview | None = None
        #: Octets that the server still accepts on this stream; kept only while `body` waits.
        self.window = 0
        self.status: int | None = None
        #: The fields of the answer that its service needs.
        self.fields: Mapping[str, str] = _NONE
        self.received = bytearray()
        #: Flow-controlled octets received, padding included.
        self.octets = 0


class Streams:
    """Which request is on which stream, and where its outcome goes.

    `waiting` holds the streams whose request is written and that have no answer yet, which is nearly all of them, as bare
    pairs; `busy` the others. An outcome is set in the batch, or handed back in `refused` for another connection to try.
    """

    def __init__(self, first_id: int) -> None:
        self.next_id = first_id
        self.waiting: dict[int, tuple[Batch, int]] = {}
        self.busy: dict[int, Stream] = {}
        #: Batches that got their last outcome here; the owner empties it.
        self.completed: list[Batch] = []
        #: Requests that the server cannot have processed, with the cause; the owner empties it.
        self.refused: list[tuple[Batch, int, str]] = []
        #: The ids of requests that one stream left without an answer; the owner empties it.
        self.lost: list[str] = []
        self._reset: OrderedDict[int, None] = OrderedDict()
        self._reset_below = 0

    def __len__(self) -> int:
        """How many streams are open and count against the server's limit."""
        return len(self.waiting) + len(self.busy)

    @property
    def left(self) -> int:
        """How many streams can still be opened before the ids run out."""
        return (frames.MAX_STREAM_ID - self.next_id) // 2 + 1

    def open(self, first_id: int, batch: Batch, indices: Sequence[int]) -> None:
        """Adds the streams from `first_id` on, whose requests are written."""
        self.next_id = first_id + 2 * len(indices)
        self.waiting.update(zip(range(first_id, self.next_id, 2), zip(repeat(batch), indices), strict=False))

    def make_busy(self, stream_id: int) -> Stream | None:
        """The stream with its state; None if it is not open."""
        stream = self.busy.get(stream_id)
        if stream is None and stream_id in self.waiting:
            stream = self.busy[stream_id] = Stream(*self.waiting.pop(stream_id))
        return stream

    def is_idle(self, stream_id: int) -> bool:
        """Whether this stream was never opened: any frame on it is a fault of the server."""
        return stream_id >= self.next_id or not stream_id & 1

    def is_open(self, stream_id: int) -> bool:
        """Whether an answer is still expected on this stream."""
        return stream_id in self.waiting or stream_id in self.busy

    def was_reset(self, stream_id: int) -> bool:
        """Whether we reset this stream, so that frames may still arrive on it."""
        return stream_id in self._reset or stream_id < self._reset_below

    def note_reset(self, stream_id: int) -> None:
        """Marks the stream as reset: frames that arrive on it from now on are late, not wrong."""
        self._reset[stream_id] = None
        if len(self._reset) > _REMEMBERED_RESETS:
            oldest, _ = self._reset.popitem(last=False)
            self._reset_below = max(self._reset_below, oldest + 1)

    def complete(self, batch: Batch, index: int, response: Response) -> None:
        """Sets an outcome."""
        if batch.set_response(index, response):
            self.completed.append(batch)

    def close(self, stream_id: int) -> Stream:
        """Removes a busy stream; the caller sets its outcome."""
        return self.busy.pop(stream_id)

    def refuse(self, stream_id: int, cause: str) -> None:
        """Removes an open stream and returns its request."""
        stream = self.busy.pop(stream_id, None)
        batch, index = self.waiting.pop(stream_id) if stream is None else (stream.batch, stream.index)
        self.refused.append((batch, index, cause))

    def above(self, last: int) -> list[int]:
        """Open streams with a higher id than `last`, in their order."""
        return sorted(stream_id for streams in (self.waiting, self.busy) for stream_id in streams if stream_id > last)

    def of(self, batch: Batch) -> list[int]:
        """Open streams of this batch."""
        found = [stream_id for stream_id, (owner, _) in self.waiting.items() if owner is batch]
        return found + [stream_id for stream_id, stream in self.busy.items() if stream.batch is batch]

    def lose(self, stream_id: int, cause: str) -> None:
        """Ends an open stream without an answer.

        A request whose body is not complete cannot have been processed; any other may have been.
        """
        batch, index = self._lose(stream_id, cause)
        self.lost.append(batch.requests[index].id)

    def lose_all(self, cause: str) -> None:
        """Ends every open stream without an answer: the connection is closed."""
        for stream_id in (*self.waiting, *self.busy):
            self._lose(stream_id, cause)

    def _lose(self, stream_id: int, cause: str) -> tuple[Batch, int]:
        stream = self.busy.pop(stream_id, None)
        if stream is None:
            batch, index = self.waiting.pop(stream_id)
            self.complete(batch, index, NoAnswer("unknown", cause))
            return batch, index
        sent: Response = NoAnswer("unknown" if stream.body is None else "not_sent", cause)
        self.complete(stream.batch, stream.index, sent)
        return stream.batch, stream.index
