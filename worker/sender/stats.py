"""What a sender did and does, in numbers."""

from typing import NamedTuple


class SenderStats(NamedTuple):
    """Counts since the sender's thread started."""

    #: Open now.
    transports: int
    #: Requests handed in and not answered yet.
    in_flight: int
    batches: int
    answered: int
    not_sent: int
    unknown: int
    #: Open now, of our own engine: connections, and streams that wait for an answer.
    connections: int = 0
    streams: int = 0
    #: Seconds by which the loop's last heartbeat was late, or by which the next one is.
    delay: float = 0.0
