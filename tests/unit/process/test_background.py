"""How long a process that ends waits for what it has in its hands."""

from types import SimpleNamespace
from typing import Any

import pytest

from worker.pipeline.insist import INSIST_SECONDS
from worker.process import background


def test_work_that_was_handed_over_has_as_long_as_a_task_to_write_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, waits = [], list[float]()
    thread: Any = SimpleNamespace(stop=lambda: stopped.append("thread"), join=waits.append)
    hand_over = SimpleNamespace(stop=lambda: stopped.append("work"), join=waits.append)
    monkeypatch.setattr(background, "_threads", [thread])
    monkeypatch.setattr(background, "get_runtime", lambda: SimpleNamespace(hand_over=hand_over))
    monkeypatch.setattr(background, "close_runtime", lambda: stopped.append("runtime"))
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=lambda: 0.0))
    background._close()
    assert waits == [background.LAST_STEP, background.PATIENCE]
    assert waits[1] > INSIST_SECONDS
    assert stopped == ["thread", "work", "runtime"]
