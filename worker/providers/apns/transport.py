"""The way out to APNs as the pipeline sees it: a batch in, one response for each notification out. Owns no wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.core.model import Notification, Response


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a transport connects to."""

    host: str
    port: int = 443
    #: PEM text of the CA to trust instead of the public ones.
    ca: str | None = field(default=None, repr=False)


class TransportClosed(RuntimeError):
    """The transport was closed; nothing of this call was sent."""


class Transport(Protocol):
    """Sends to one endpoint with one credential. Belongs to one event loop."""

    async def send(
        self,
        notifications: Sequence[Notification],
        *,
        authorization: str | None,
        deadline: float,
        seen: list[Response | None] | None = None,
        following: Mapping[int, int] | None = None,
    ) -> list[Response]:
        """One response for each notification, in their order.

        `authorization` is the provider token (JWT) that goes after `bearer`, None with a client certificate. `deadline` is in
        seconds from now and holds for each notification. `seen`, a None for each notification, is filled as responses come, so
        that another thread may look before all are there. `following`: the place of a notification -> that of the one which is
        sent as soon as it is accepted, and otherwise is `HELD_UP`. Trouble with the network is a `NoAnswer`, never an
        exception; raises `TransportClosed` once `close` was called.
        """
        ...

    async def close(self, drain: float = 5.0) -> None:
        """Takes nothing new, waits up to `drain` seconds for what is in flight, then closes every connection."""
        ...
