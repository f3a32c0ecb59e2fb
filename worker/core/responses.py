"""The responses to requests that are sent together, and when each came."""

from collections.abc import Sequence

from worker.core.model import ACCEPTED, Response


class Responses(list[Response | None]):
    """One response for each request, None while there is none.

    `written`, `answered`: when each request was written last, and when its answer came, in seconds as of `time.monotonic`; 0.0:
    not known. Not every transport tells.
    """

    __slots__ = ("answered", "written")

    def __init__(self, requests: int) -> None:
        super().__init__([None] * requests)
        self.written = [0.0] * requests
        self.answered = [0.0] * requests


def all_accepted(responses: Sequence[Response | None]) -> bool:
    """As mostly."""
    return responses.count(ACCEPTED) == len(responses)
