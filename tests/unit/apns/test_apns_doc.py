"""docs/apns.md says what the tables say."""

from pathlib import Path

import pytest

from worker.core.push_ids import NAMESPACE
from worker.core.push_types import PUSH_TYPES
from worker.providers.apns.reasons import ACTIONS, Action

PAGE = (Path(__file__).parents[3] / "docs" / "apns.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("push_type", list(PUSH_TYPES))
def test_the_page_has_the_rule_of_every_push_type(push_type: str) -> None:
    rule = PUSH_TYPES[push_type]  # type: ignore[index]
    (row,) = [row for row in ROWS if row[0] == f"`{push_type}`"]
    topic = f"`{rule.suffix}`" if rule.suffix else row[1]
    assert row[1:] == [topic, ", ".join(map(str, rule.priorities)), str(rule.limit)]
    assert rule.priorities[0] == rule.priority


def test_every_answer_that_is_not_simply_dropped_is_on_the_page() -> None:
    dropped = {Action.FIX_REQUEST, Action.DELETE_CHANNEL_RECORD, Action.SUCCESS}
    missing = [reason for (_, reason), action in ACTIONS.items() if action not in dropped and f"`{reason}`" not in PAGE]
    assert missing == []


def test_the_namespace_of_apns_ids_is_on_the_page() -> None:
    assert f"`{NAMESPACE}`" in PAGE
