"""The interface that sends the requests of one route: a batch in, one response for each request out."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from worker.core.model import Response


class TransportClosed(RuntimeError):
    """The transport was closed; nothing of this call was sent."""


class Transport(Protocol):
    """Sends to one endpoint with one credential. Belongs to one event loop."""

    async def send(
        self,
        requests: Sequence[Any],
        *,
        authorization: str | None,
        deadline: float,
        seen: list[Response | None] | None = None,
        following: Mapping[int, int] | None = None,
    ) -> list[Response]:
        """One response for each request, in their order.

        `authorization` is the access token that goes with them, None where they have none. `deadline` is in
        seconds from now and holds for each request. `seen`, a None for each request, is filled as responses come, so
        that another thread may look before all are there. `following`: the place of a request -> that of the one which is
        sent as soon as it is accepted, and otherwise is `HELD_UP`. Trouble with the network is a `NoAnswer`, never an
        exception; raises `TransportClosed` once `close` was called.
        """
        ...

    async def close(self, drain: float = 5.0) -> None:
        """Takes nothing new, waits up to `drain` seconds for what is in flight, then closes every connection."""
        ...
