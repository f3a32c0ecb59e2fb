"""What becomes of badges: of those who get a message, and of those who have seen it. Pure."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from producers.events import Message
from worker.core.batch import COUNT, LEAVE


def badge_of(message: Message, own: int | None) -> int:
    """What becomes of the badges of a message's user: their true number, else what the message says, else one more."""
    if own is not None:
        return own
    word = message.badge
    if word is None or word == "increment":
        return COUNT
    return word if isinstance(word, int) else LEAVE


class Clearing(NamedTuple):
    """A clearing as it was published."""

    entry: str
    app: str
    user: str
    #: The device on which the user saw the messages, in every form of its token; None: anywhere.
    tokens: Sequence[str] | None
    #: Whether the user's other devices are cleared too.
    others: bool
    place: int


class Cleared(NamedTuple):
    """The devices whose badge is cleared. `quiet` of them get no push, because they know already."""

    entry: str
    app: str
    devices: Sequence[int]
    quiet: Collection[int] = ()
    place: int = 0


def cleared(one: Clearing, owned: Sequence[tuple[int, str]]) -> Cleared:
    """`owned`: id and token of the user's devices. The device on which the user saw it is cleared and gets no push."""
    here = {id for id, token in owned if token in (one.tokens or ())}
    devices = [id for id, _ in owned if one.others or id in here]
    return Cleared(one.entry, one.app, devices, here, one.place)
