"""What to do, as a page says it: one step a line, and commands marked as such."""

import pytest

from worker.dashboard.text import steps


@pytest.mark.parametrize(
    ("advice", "expected"),
    [
        ("set both by NTP", ["Set both by NTP"]),
        (
            "carillon provider resume hooks --app fleet",
            ["<code>carillon provider resume hooks --app fleet</code>"],
        ),
        (
            "add workers: carillon worker --lane bulk; all of it is of app chat, see its rate: carillon app show chat",
            [
                "Add workers: <code>carillon worker --lane bulk</code>",
                "All of it is of app chat, see its rate: carillon app show chat",
            ],
        ),
        (
            "store it with carillon push apn --app chat --name apns, or change to a key",
            ["Store it with <code>carillon push apn --app chat --name apns</code>, or change to a key"],
        ),
        ("see <b>\u202e --app", ["See &lt;b&gt;\\u202e --app"]),
    ],
)
def test_steps_have_commands_marked_and_nothing_else(advice: str, expected: list[str]) -> None:
    assert [str(step) for step in steps(advice)] == expected
