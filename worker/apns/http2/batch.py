"""Notifications that are sent together and the responses they got so far. Knows no connection."""

from collections.abc import Sequence

from worker.core.model import Notification, Response


class Batch:
    """One response for each notification; complete when `left` is 0. `repr` shows no token."""

    __slots__ = ("authorization", "left", "notifications", "resent", "responses")

    def __init__(
        self,
        notifications: Sequence[Notification],
        authorization: str | None,
        responses: list[Response | None] | None = None,
    ) -> None:
        """`responses` is the list to fill, one None for each notification; a new one where none is given."""
        self.notifications = notifications
        #: The provider token, or None with a client certificate.
        self.authorization = authorization
        self.responses: list[Response | None] = [None] * len(notifications) if responses is None else responses
        #: Notifications without a response.
        self.left = len(notifications)
        #: How often a notification was given to another connection, by its place; only those that were.
        self.resent: dict[int, int] = {}

    def settle(self, index: int, response: Response) -> bool:
        """Notes the response of the notification at `index`; true when it was the last one missing."""
        self.responses[index] = response
        self.left -= 1
        return not self.left

    def __repr__(self) -> str:
        return f"<Batch of {len(self.responses)}, {self.left} left>"
