"""What the record keeps of a message for a browser."""

from typing import NamedTuple

from worker.simulator.record import is_accepted


class WebEntry(NamedTuple):
    """One request. `at` is its arrival in milliseconds since the epoch. In compact mode there is nothing from `service` on."""

    number: int
    #: The endpoint.
    token: str
    message_id: str
    status: int
    reason: str | None
    at: float
    connection: int
    #: False where a fault or the client withheld the answer.
    answered: bool = True
    #: False where a GOAWAY or REFUSED_STREAM promised that nothing was done.
    processed: bool = True
    service: str | None = None
    ttl: int | None = None
    urgency: str | None = None
    topic: str | None = None
    #: Octets of the body.
    size: int = 0
    #: The plaintext; None where it was not decrypted or cannot be.
    payload: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the browser gets the message."""
        return is_accepted(self)
