"""What the record keeps of a notification for an Apple device."""

from typing import NamedTuple

from worker.simulator.record import is_accepted


class Entry(NamedTuple):
    """One request. `at` is its arrival in milliseconds since the epoch. In compact mode the fields from `topic` on are absent."""

    number: int
    token: str
    apns_id: str
    status: int
    reason: str | None
    at: float
    connection: int
    #: False where a fault or the client withheld the answer.
    answered: bool = True
    #: False where a GOAWAY or REFUSED_STREAM promised that nothing was done.
    processed: bool = True
    topic: str | None = None
    push_type: str | None = None
    priority: int | None = None
    expiration: int | None = None
    collapse_id: str | None = None
    payload: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the phone shows the notification."""
        return is_accepted(self)
