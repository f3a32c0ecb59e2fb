"""A system that is measured on a stage, as running processes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.support.processes import Children, tail
from benchmarks.support.stage import Stage

PATIENCE: Final = 60.0

Events = Sequence[dict[str, Any]]


@dataclass
class System:
    """A variant that is running: how to publish to it, what it has accepted, whether it is done, and its processes."""

    publish: Callable[[Events], object]
    accepted: Callable[[], int]
    idle: Callable[[], bool]
    children: Children
    groups: dict[str, list[int]] = field(default_factory=dict)
    #: Whether the rest will never come, for a system that may lose notifications. The others must deliver each once.
    lost: Callable[[], bool] | None = None

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until the condition holds. Raises TimeoutError, or RuntimeError where a process has ended.

        A look costs the simulator a little, so a long wait looks less often: the time found is up to 2 % too long.
        """
        began = time.monotonic()
        while not condition():
            waited = time.monotonic() - began
            if waited > PATIENCE:
                raise TimeoutError(f"{what}: not within {PATIENCE:.0f} s\n{tail(self.children.log)}")
            self.children.check()
            time.sleep(min(0.2, max(0.01, waited / 50)))


def simulated(place: Stage) -> Callable[[], int]:
    """How many pushes the simulator has accepted so far, of all kinds."""
    return lambda: sum(int(one.counts()["accepted"]) for one in place.simulator.controls.values())
