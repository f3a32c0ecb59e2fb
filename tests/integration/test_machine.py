"""The table of the machine that every figure is shown with."""

from pathlib import Path

from benchmarks.support.figures import machine, table
from worker.embedded import machine as of_machine


def test_the_machine_has_a_row_for_each_thing_a_figure_depends_on():
    labels = [line.split("|")[1].strip() for line in table().splitlines()[2:]]
    assert labels == [
        *("Processor", "Cores", "Memory", "System", "Python", "PostgreSQL", "Valkey", "Load average"),
    ]
    assert machine()["cores"] >= 1
    assert machine()["memory_gb"] > 0


def test_an_engine_that_is_not_installed_is_none(monkeypatch):
    def nowhere() -> Path:
        raise RuntimeError("there is no embedded Valkey")

    monkeypatch.setattr(of_machine, "binary", nowhere)
    assert of_machine.this_machine().valkey == "none"


def test_docs_of_benchmarks_begin_with_the_table_of_the_machine():
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    shown = [line for line in text.splitlines() if line.startswith("|")]
    assert shown[0] == table().splitlines()[0]
