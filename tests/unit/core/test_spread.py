"""Leads are spread evenly over the workers, and stay where they are as far as that is possible."""

from collections import Counter
from typing import Final

import pytest

from worker.core.spread import AGAIN, PATIENCE, STEADY, chosen, hands_over, may_try

WORKERS: Final = [f"worker-{n}@host" for n in range(12)]


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("partitions", [1, 2, 4, 7, 16, 64])
def test_no_worker_has_more_than_its_share(workers: int, partitions: int) -> None:
    found = chosen(WORKERS[:workers], partitions)
    assert len(found) == partitions and set(found) <= set(WORKERS[:workers])
    assert max(Counter(found).values()) <= -(-partitions // workers)


def test_every_worker_finds_the_same_whatever_order_it_knows_them_in() -> None:
    assert chosen(WORKERS, 16) == chosen(WORKERS[::-1], 16) == chosen(set(WORKERS), 16)


@pytest.mark.parametrize(("workers", "partitions"), [(2, 16), (4, 16), (4, 64), (8, 64)])
def test_a_worker_that_ends_moves_little_more_than_what_it_led(workers: int, partitions: int) -> None:
    before, after = chosen(WORKERS[:workers], partitions), chosen(WORKERS[: workers - 1], partitions)
    gone = WORKERS[workers - 1]
    kept = [was for was, now in zip(before, after, strict=True) if was == now]
    assert gone not in after
    assert len(kept) >= (partitions - before.count(gone)) // 2


@pytest.mark.parametrize(
    ("choice", "nobody_for", "tries"),
    [
        pytest.param("me", 0.0, True, id="it is mine"),
        pytest.param("other", 0.0, False, id="another's"),
        pytest.param("other", PATIENCE - 0.1, False, id="the other has a moment to come"),
        pytest.param("other", PATIENCE, True, id="the other does not come"),
    ],
)
def test_who_tries_to_lead(choice: str, nobody_for: float, *, tries: bool) -> None:
    assert may_try("me", choice, nobody_for) is tries


@pytest.mark.parametrize(
    ("choice", "chosen_for", "since_last", "over"),
    [
        pytest.param("me", 1e9, 1e9, False, id="it is mine"),
        pytest.param("other", STEADY - 0.1, 1e9, False, id="a worker that may be gone again"),
        pytest.param("other", STEADY, AGAIN, True, id="a worker that came to stay"),
        pytest.param("other", 1e9, AGAIN - 0.1, False, id="it did not take what it was just handed"),
    ],
)
def test_when_a_leader_hands_over(choice: str, chosen_for: float, since_last: float, *, over: bool) -> None:
    assert hands_over("me", choice, chosen_for, since_last) is over
