"""What the journal reads of the scripts' answers, and what it gives them."""

import pytest

from worker.state import journal
from worker.state.journal import DONE, Opened


@pytest.mark.parametrize(
    ("listed", "numbers"),
    [
        pytest.param(b"", [], id="none"),
        pytest.param(b"7", [7], id="one"),
        pytest.param(b"0,12,99999999999999999999", [0, 12, 99999999999999999999], id="some"),
        pytest.param(b"3,4,", [3, 4], id="jobs that were recorded as accepted"),
        pytest.param(b",", [], id="nothing that was recorded"),
    ],
)
def test_numbers_are_listed_with_commas(listed: bytes, numbers: list[int]) -> None:
    assert journal._numbers(listed) == numbers


def test_what_was_taken_is_known_by_its_state_and_by_its_group() -> None:
    parts = [
        *(b"1-1", b"demo\n\n11\n0a", b"{}", b"3@demo"),
        *(b"1-2", b"demo\n\n12\n0b", b"{}", b"3@demo"),
        *(b"0.1/1-3", b"demo\nwhat\n13\n", b"{}", b""),
        *(b"1-4", b"demo\n", b"{}", b""),  # as a release before kept it
    ]
    assert list(journal._opened(parts, "5")) == [
        Opened("1-1", "demo", "", b"{}", 11, "demo\n\n11\n0a", "3@demo", "5"),
        Opened("1-2", "demo", "", b"{}", 12, "demo\n\n12\n0b", "3@demo", "5"),
        Opened("1-3", "demo", "what", b"{}", 13, "demo\nwhat\n13\n", "", "5", "0.1"),
        Opened("1-4", "demo", "", b"{}", 0, "demo\n", "", "5"),
    ]


def test_steps_are_those_of_tasks_or_single() -> None:
    of_group = [Opened(f"1-{n}", "demo", "", b"{}", n, "state", "3@demo", "5") for n in (1, 2)]
    look = Opened("1-3", "demo", "", b"{}", 13, "what", look="0.1")
    steps = journal._steps([of_group[0].step(DONE), look.step(DONE), of_group[1].step("han")])
    assert steps.tasks == [("3@demo", "5", 2)]
    assert steps.steps == ["1-1", "1-2"]
    assert steps.single == [("0.1/1-3", "what")]
    assert steps.pages == [("1-2", "han")]
