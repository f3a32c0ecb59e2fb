"""A token bucket as a value. Its clock is that of the counted events, so that catching up with a backlog exceeds no limit."""

from typing import NamedTuple, Self


class Bucket(NamedTuple):
    """`left` tokens at the time `at`, in milliseconds."""

    left: float
    at: int

    def take(self, at: int, *, rate: float, burst: int, clock: int) -> tuple[Self, bool]:
        """One token at the time `at`, where there is one: `rate` tokens a second come in, and `burst` fit.

        Neither time counts as later than `clock`, which is now: ids that were ahead once must not stop the bucket until then.
        """
        now = max(min(at, clock), min(self.at, clock))
        left = min(float(burst), self.left + (now - min(self.at, clock)) * rate / 1000)
        taken = left >= 1.0
        return type(self)(left - taken, now), taken
