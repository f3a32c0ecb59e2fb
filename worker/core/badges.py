"""Which of a user's devices have their badge cleared, and which of them get a push about it."""

from collections.abc import Collection, Sequence
from typing import NamedTuple


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
