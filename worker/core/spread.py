"""Which worker leads which partition: evenly, and as it was before wherever that is possible."""

from collections import Counter
from collections.abc import Collection
from hashlib import sha256
from typing import Final

#: Seconds for which nobody has led a partition before a worker that is not the chosen one may.
PATIENCE: Final = 1.0
#: Seconds for which another worker has been the chosen one before the leader hands over, and in which it does not do so again.
STEADY: Final = 6.0
AGAIN: Final = 60.0


def chosen(workers: Collection[str], partitions: int) -> list[str]:
    """The worker for each partition; none has more than its share, rounded up. Needs a worker.

    Each partition has an order of its own of all workers, so one that comes or goes moves few partitions.
    """
    most = -(-partitions // len(workers))
    has = Counter[str]()
    found = []
    for partition in range(partitions):
        order = sorted(workers, key=lambda worker: _weight(worker, partition), reverse=True)
        one = next(worker for worker in order if has[worker] < most)
        has[one] += 1
        found.append(one)
    return found


def may_try(me: str, choice: str, nobody_for: float) -> bool:
    """Whether a worker tries to lead a partition. `nobody_for`: seconds for which nobody has led it, as far as it knows."""
    return me == choice or nobody_for >= PATIENCE


def hands_over(me: str, choice: str, chosen_for: float, since_last: float) -> bool:
    """Whether the leader lets the chosen one lead. `chosen_for`: seconds for which it has been; `since_last`: since a try."""
    return me != choice and chosen_for >= STEADY and since_last >= AGAIN


def _weight(worker: str, partition: int) -> bytes:
    return sha256(f"{partition}\n{worker}".encode()).digest()
