"""How much of a stream the leader takes in one step."""

from typing import Final, NamedTuple, Self

#: Octets of documents, and rows that they become in Postgres, in the largest step.
OCTETS: Final = 4 << 20
ROWS: Final = 20_000
#: Seconds that a round over all streams is meant to take, and a step at least.
ROUND: Final = 0.25
LEAST: Final = 0.02
#: Share of the largest step that a new leader begins with: the leader before it may have ended because of the stream.
CAUTIOUS: Final = 1 / 8
_SMALLEST: Final = 1 / 4096
#: A step of this share or less takes long because of its round trips, or because others have the processor: with fewer entries it
#: would take as long, and the stream would only come on more slowly.
_FEW: Final = 1 / 32


class Pace(NamedTuple):
    """The size of the next step, as a share of the largest. It shrinks where a step fails or takes long, and grows back."""

    share: float = CAUTIOUS

    def of(self, most: int) -> int:
        """The share of a bound, at least 1."""
        return max(1, int(most * self.share))

    def after(self, seconds: float, aim: float) -> Self:
        """A step took so long, and `aim` is how long it should."""
        factor = 2.0 if seconds * 2 <= aim else aim / seconds
        return type(self)(min(1.0, max(min(self.share, _FEW), self.share * factor)))

    def failed(self) -> Self:
        return type(self)(max(_SMALLEST, self.share * CAUTIOUS))


def aim(streams: int) -> float:
    """Seconds for a step, where so many streams wait for theirs."""
    return max(LEAST, ROUND / max(1, streams))
