"""Decide again: a notification that is sent long after its place is checked once more. The check only removes, it never adds."""

from typing import Final, NamedTuple

from worker.core.batch import Sending
from worker.core.outcome import Drop

#: Seconds from its place in the stream for which a decision holds.
HOLDS: Final = 10.0


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


def is_old(sending: Sending, now: float) -> bool:
    """Whether its decision is too old to be sent without another check. `now` in UNIX seconds."""
    return now - sending.at > HOLDS


def decide_again(sending: Sending, standing: Standing) -> Drop | None:
    """Why a push is no longer sent; None: it is sent. A listed recipient need not be a member."""
    if not standing.owned:
        return Drop("device_moved")
    if not sending.channel or not sending.at:  # in no channel, or of a release before, which kept too little of it
        return None
    if not standing.member and not sending.listed:
        return Drop("left")
    if standing.muted:
        return Drop("muted")
    return None if standing.channel_on else Drop("channel_off")
