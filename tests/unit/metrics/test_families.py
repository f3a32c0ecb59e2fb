"""Names and labels by the conventions: https://prometheus.io/docs/practices/naming/."""

import re

import pytest

from worker.metrics.families import FAMILIES, Family

LABELS = {
    *("app", "provider", "kind", "lane", "outcome", "reason", "decision", "type", "limit", "change", "what", "state"),
    *("name", "severity", "scope", "part", "engine", "result", "version", "python"),
}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_name_says_its_unit_and_its_type(family: Family) -> None:
    assert re.fullmatch(r"carillon_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") == (family.type == "counter")
    assert not re.search(r"_(ms|milliseconds|minutes|kb|megabytes|percent|count|sum|bucket)(_total)?$", family.name)
    if family.type == "histogram":
        assert family.name.endswith("_seconds")
    assert family.help[0].isupper() or family.help[0].isdigit() or family.help.startswith("`")
    assert family.help.endswith(".")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_O5_a_label_is_one_whose_values_are_bounded(family: Family) -> None:
    assert set(family.labels) <= LABELS
    assert len(set(family.labels)) == len(family.labels)
    if family.type == "histogram":
        assert "app" not in family.labels
