"""What the record keeps of a message for FCM."""

from typing import NamedTuple

from worker.simulator.record import is_accepted


class FcmEntry(NamedTuple):
    """One request. `at` is its arrival in milliseconds since the epoch. In compact mode there is nothing from `project` on."""

    number: int
    token: str
    #: Of the answer: what follows `projects/<project>/messages/`.
    message_id: str
    status: int
    reason: str | None
    at: float
    connection: int
    #: False where a fault or the client withheld the answer.
    answered: bool = True
    #: False where a GOAWAY or REFUSED_STREAM promised that nothing was done.
    processed: bool = True
    project: str | None = None
    #: `android.priority` and `android.ttl` as they were written.
    priority: str | None = None
    ttl: str | None = None
    collapse_key: str | None = None
    #: The whole document.
    payload: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the device gets the message."""
        return is_accepted(self)
