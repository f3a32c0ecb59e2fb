"""One call of `send` in progress: its outcomes so far, and the requests that still wait for a connection."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from worker.core.model import Response
from worker.http2.client.batch import Batch, Request

#: Most requests of a call that goes before larger ones, which have come at most so many seconds before it.
FEW: Final = 50
PATIENCE: Final = 5.0


class Call(Batch):
    """A batch that somebody waits for."""

    __slots__ = ("came", "done", "ends")

    def __init__(
        self,
        requests: Sequence[Request],
        authorization: str | None,
        *,
        ends: float,
        responses: list[Response | None] | None = None,
        following: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__(requests, authorization, responses, following or {})
        loop = asyncio.get_running_loop()
        #: The loop's times at which it came, and at which every request without an outcome is given up.
        self.came, self.ends = loop.time(), ends
        self.done: asyncio.Future[None] = loop.create_future()

    def goes_before(self, other: "Call") -> bool:
        """Whether it may pass one that is ahead of it."""
        return len(self.requests) <= FEW < len(other.requests) and self.came - other.came < PATIENCE

    def finish(self) -> None:
        """Wakes the caller; every request has its outcome."""
        if not self.done.done():
            self.done.set_result(None)

    def give(self, index: int, response: Response) -> None:
        """Sets the outcome of one request; wakes the caller if it was the last."""
        if self.set_response(index, response):
            self.finish()


class Work:
    """Requests of one call that wait for a connection, in order."""

    __slots__ = ("avoid", "call", "indices")

    def __init__(self, call: Call, indices: Sequence[int], avoid: object = None) -> None:
        self.call = call
        self.indices = indices
        #: The connection that left them without an answer on their last try.
        self.avoid = avoid

    def give_all(self, response: Response) -> None:
        """Ends all of them with the same response."""
        for index in self.indices:
            self.call.give(index, response)
