"""A token bucket as a value. Its clock is that of what it counts, so that catching up with a backlog exceeds no limit."""

from typing import NamedTuple, Self


class Bucket(NamedTuple):
    """`left` tokens at the time `at`, in milliseconds."""

    left: float
    at: int

    def take(self, at: int, *, rate: float, burst: int) -> tuple[Self, bool]:
        """One token at the time `at`, where there is one: `rate` tokens a second come in, and `burst` fit."""
        now = max(at, self.at)
        left = min(float(burst), self.left + (now - self.at) * rate / 1000)
        taken = left >= 1.0
        return type(self)(left - taken, now), taken
