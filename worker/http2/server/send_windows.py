"""The windows a peer grants for bodies, and what waits for them (RFC 9113 §5.2)."""

from worker.http2 import frames


class SendWindows:
    """Keeps the connection's and the streams' windows of one direction; bodies wait here, in their order, for room."""

    def __init__(self) -> None:
        self._connection = frames.DEFAULT_WINDOW
        self._initial = frames.DEFAULT_WINDOW
        #: What a stream was granted beyond the initial window, and used of it.
        self._credit: dict[int, int] = {}
        self._waiting: dict[int, bytes] = {}

    def send(self, stream_id: int, body: bytes) -> list[bytes]:
        """DATA frames for as much of the body as fits now; the last ends the stream. The rest waits."""
        sent: list[bytes] = []
        while True:
            room = min(
                self._connection,
                self._initial + self._credit.get(stream_id, 0),
                frames.DEFAULT_MAX_FRAME_SIZE,
            )
            if room <= 0:
                self._waiting[stream_id] = body
                return sent
            part, body = body[:room], body[room:]
            self._connection -= len(part)
            flags = 0 if body else frames.FLAG_END_STREAM
            sent.append(frames.pack_frame(frames.DATA, flags, stream_id, part))
            if not body:
                self._credit.pop(stream_id, None)
                return sent
            self._credit[stream_id] = self._credit.get(stream_id, 0) - len(part)

    def take(self, largest: int, total: int) -> bool:
        """Whether bodies of `total` octets, none larger than `largest`, fit now, each in one frame; then they are counted."""
        if largest > min(self._initial, frames.DEFAULT_MAX_FRAME_SIZE) or total > self._connection or self._credit:
            return False
        self._connection -= total
        return True

    def grant(self, stream_id: int, increment: int, *, live: bool) -> bool:
        """Enlarge a window; False where it would exceed the largest allowed. A stream that is not live needs none."""
        if not stream_id:
            self._connection += increment
            return self._connection <= frames.MAX_WINDOW
        if live or stream_id in self._waiting:
            self._credit[stream_id] = self._credit.get(stream_id, 0) + increment
            return self._initial + self._credit[stream_id] <= frames.MAX_WINDOW
        return True

    def change_initial(self, window: int) -> None:
        """The peer's INITIAL_WINDOW_SIZE, for streams open and to come."""
        self._initial = window

    def drop(self, stream_id: int) -> None:
        """The stream is gone."""
        self._waiting.pop(stream_id, None)
        self._credit.pop(stream_id, None)

    def flush(self) -> list[bytes]:
        """DATA frames that fit by now."""
        if not self._waiting:
            return []
        waiting, self._waiting = self._waiting, {}
        return [frame for stream_id, body in waiting.items() for frame in self.send(stream_id, body)]
