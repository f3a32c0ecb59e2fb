"""Requests that are sent together and the responses they got so far. Knows no connection."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from worker.core.model import ACCEPTED, HELD_UP, Response
from worker.core.responses import Responses

_NONE: Final[Mapping[int, int]] = {}


class Request(Protocol):
    """The fields of every request. Only its kind knows the others."""

    @property
    def payload(self) -> bytes: ...

    @property
    def id(self) -> str:
        """Identifies the request: a new try avoids the connection that left it without an answer."""
        ...


class Batch:
    """One response for each request; complete when `left` is 0. `repr` shows no token."""

    __slots__ = (
        "answered",
        "authorization",
        "following",
        "freed",
        "left",
        "requests",
        "resent",
        "responses",
        "written",
    )

    def __init__(
        self,
        requests: Sequence[Any],
        authorization: str | None,
        responses: list[Response | None] | None = None,
        following: Mapping[int, int] = _NONE,
    ) -> None:
        """`responses` is the list to fill, one None for each request; a new one where none is given. `Responses` get the times.

        `following`: the place of a request -> that of the one which may be sent once it is accepted.
        """
        self.requests = requests
        #: The access token that is sent with them, or None.
        self.authorization = authorization
        self.responses = Responses(len(requests)) if responses is None else responses
        times = self.responses if isinstance(self.responses, Responses) else Responses(len(requests))
        #: When each was written last, and when its answer came, by the clock of the connection.
        self.written, self.answered = times.written, times.answered
        #: Requests without a response.
        self.left = len(requests)
        #: How often a request was given to another connection, by its index; only requests that were.
        self.resent: dict[int, int] = {}
        self.following = following
        #: Followers that may be sent now; the owner empties it.
        self.freed: list[int] = []

    def first(self) -> Sequence[int]:
        """Indexes of the requests that wait for no other one."""
        if not self.following:
            return range(len(self.requests))
        waiting = set(self.following.values())
        return [index for index in range(len(self.requests)) if index not in waiting]

    def chosen(self, indices: Sequence[int]) -> Sequence[Any]:
        """The requests at these places."""
        if isinstance(indices, range) and indices.step == 1:  # nearly always, and then it costs next to nothing
            return self.requests[indices.start : indices.stop]
        return [self.requests[index] for index in indices]

    def note_written(self, indices: Sequence[int], now: float) -> None:
        """These requests were written at `now`."""
        if isinstance(indices, range) and indices.step == 1:
            self.written[indices.start : indices.stop] = [now] * len(indices)
            return
        for index in indices:
            self.written[index] = now

    def set_response(self, index: int, response: Response) -> bool:
        """Sets the response of the request at `index`; true if no response is missing any more.

        Where it was not accepted, its followers get theirs with it.
        """
        self.responses[index] = response
        self.left -= 1
        follower = self.following.get(index)
        if response is ACCEPTED and follower is not None:
            self.freed.append(follower)
            follower = None
        while follower is not None:
            self.responses[follower] = HELD_UP
            self.left -= 1
            follower = self.following.get(follower)
        return not self.left

    def __repr__(self) -> str:
        return f"<Batch of {len(self.responses)}, {self.left} left>"
