"""Notifications that are sent together and the responses they got so far. Knows no connection."""

from collections.abc import Mapping, Sequence
from typing import Final

from worker.core.model import ACCEPTED, HELD_UP, Notification, Response

_NONE: Final[Mapping[int, int]] = {}


class Batch:
    """One response for each notification; complete when `left` is 0. `repr` shows no token."""

    __slots__ = ("authorization", "following", "freed", "left", "notifications", "resent", "responses")

    def __init__(
        self,
        notifications: Sequence[Notification],
        authorization: str | None,
        responses: list[Response | None] | None = None,
        following: Mapping[int, int] = _NONE,
    ) -> None:
        """`responses` is the list to fill, one None for each notification; a new one where none is given.

        `following`: the place of a notification -> that of the one which may be sent once it is accepted.
        """
        self.notifications = notifications
        #: The provider token, or None with a client certificate.
        self.authorization = authorization
        self.responses: list[Response | None] = [None] * len(notifications) if responses is None else responses
        #: Notifications without a response.
        self.left = len(notifications)
        #: How often a notification was given to another connection, by its place; only those that were.
        self.resent: dict[int, int] = {}
        self.following = following
        #: Followers that may be sent now; the owner empties it.
        self.freed: list[int] = []

    def first(self) -> Sequence[int]:
        """Places of the notifications that wait for no other one."""
        if not self.following:
            return range(len(self.notifications))
        waiting = set(self.following.values())
        return [index for index in range(len(self.notifications)) if index not in waiting]

    def set_response(self, index: int, response: Response) -> bool:
        """Notes the response of the notification at `index`; true when none is missing any more.

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
