"""People read a sentence for every reason of ours. What a provider says goes by its own code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker
from worker.core.rules import MESSAGE_RULES, OVER_CAP, RULES
from worker.reports.reasons import DROPS, MEMBERS, MESSAGES
from worker.state.scheduled import CANCELLED

ROOT = Path(worker.__file__).parent


def given_up() -> Iterator[str]:
    """The reasons that stand in `Drop("...")` outside the kinds of provider."""
    for folder in ("core", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for one in ast.walk(ast.parse(path.read_text())):
                if isinstance(one, ast.Call) and ast.unparse(one.func).endswith("Drop") and one.args:
                    match one.args[0]:
                        case ast.Constant(value=str(reason)):
                            yield reason
                        case _:
                            pass


def test_every_reason_for_which_a_push_is_given_up_has_a_sentence() -> None:
    found = set(given_up())
    assert {"expired", "device_moved", "left", "delivery_failed"} <= found
    assert found - DROPS.keys() == set()


@pytest.mark.parametrize("reason", [rule.reason for rule in RULES] + [OVER_CAP])
def test_every_reason_to_skip_a_member_has_a_sentence(reason: str) -> None:
    assert MEMBERS[reason]


@pytest.mark.parametrize("reason", [*MESSAGE_RULES, CANCELLED])
def test_every_reason_to_skip_a_message_has_a_sentence(reason: str) -> None:
    assert MESSAGES[reason]
