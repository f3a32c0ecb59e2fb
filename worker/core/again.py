"""Decide again: a notification that is sent long after its place is checked once more. The check only removes, it never adds."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.core.batch import Batch, Sending
from worker.core.outcome import Drop

#: Seconds from its place in the stream for which a decision holds.
HOLDS: Final = 10.0
#: Seconds from the decision for which it holds that a message was not read, edited or deleted.
FRESH: Final = 1.0
#: Why a push is dropped whose user gets the message as it reads now in its place.
EDITED: Final = "edited"


class Standing(NamedTuple):
    """How a device, its user and a message stand to each other now."""

    #: Whether the device is still the user's.
    owned: bool = True
    #: Whether the user is a member of the message's channel.
    member: bool = True
    #: Whether the user muted the message's sender.
    muted: bool = False
    #: Whether the channel's pushes are on.
    channel_on: bool = True
    #: Why the user wants it no more, by their preferences; '' where they may want it.
    refused: str = ""
    #: Whether the message was deleted, whether the user has read it, and whether it reads otherwise than what was queued.
    deleted: bool = False
    read: bool = False
    edited: bool = False
    #: Whether it is the user's quiet time, which began since the push was decided, and nothing lets the message through.
    quiet: bool = False


def is_old(sending: Sending, now: float) -> bool:
    """Whether its decision is too old to be sent without another check. `now` in UNIX seconds."""
    return now - sending.at > HOLDS


def old(sendings: Sequence[Sending], now: float, first_came: int) -> set[int]:
    """The places of those of which this is so. `first_came`: when the first of their entries came, in UNIX seconds."""
    before = now - HOLDS
    return {place for place, sending in enumerate(sendings) if sending.at < before} if first_came < before else set()


def is_fresh(batch: Batch, now: float) -> bool:
    """Whether it was decided only just now. `now` in UNIX seconds."""
    return now - batch.decided / 1000 <= FRESH


def decide_again(sending: Sending, standing: Standing) -> Drop | None:
    """Why a push is no longer sent; None: it is sent. A listed recipient need not be a member."""
    if not standing.owned:
        return Drop("device_moved")
    if not sending.channel or not sending.at:  # in no channel, or of a release before, which kept too little of it
        return None
    if standing.deleted:
        return Drop("deleted")
    if not standing.member and not sending.listed:
        return Drop("left")
    if standing.muted:
        return Drop("muted")
    if not standing.channel_on:
        return Drop("channel_off")
    if standing.refused:
        return Drop(standing.refused)
    if standing.read:
        return Drop("read")
    if standing.quiet:
        return Drop("quiet")
    return Drop(EDITED) if standing.edited else None
