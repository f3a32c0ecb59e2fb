"""When a part of a process counts as stuck: not while an engine is away."""

import time

import pytest

from worker.metrics.engines import Engines
from worker.process import exporter, watchdog


def away() -> None:
    raise ConnectionError("refused")


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watchdog, "alive", {})
    return watchdog.alive


@pytest.mark.parametrize(
    ("still", "ask", "stuck"),
    [(1.0, lambda: None, False), (exporter.STILL + 5, lambda: None, True), (exporter.STILL + 5, away, False)],
)
def test_what_has_not_moved_for_long_is_stuck_unless_an_engine_is_away(alive, monkeypatch, still, ask, stuck) -> None:
    monkeypatch.setattr(exporter._Current, "engines", Engines({"redis": ask}))
    exporter.moving("beat", lambda: time.monotonic() - still)
    found = watchdog.faults()
    assert found.keys() == {"beat"}
    assert (found["beat"] is not None) == stuck
