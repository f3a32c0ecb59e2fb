"""The steps of a delivery, one a file. `worker/pipeline/delivery.py` has their order."""

from collections.abc import Callable, Sequence
from typing import Literal

from worker.core.batch_run import BatchRun

#: How a run ends before the last step: `conclude`, because no job is left to send; `return`, because none may be sent now: the
#: batch is the first of its line again; `wait`, because all of its devices are busy elsewhere.
End = Literal["conclude", "return", "wait"]
#: Does one thing to a run. None: the next step follows.
Step = Callable[[BatchRun], End | None]


def perform(steps: Sequence[Step], run: BatchRun, pause: Callable[[], None]) -> End | None:
    """All of the steps, or those up to one that ends the run. `pause` is called between steps on the bulk lane."""
    bulk = run.batch.lane == "bulk"
    for step in steps:
        if bulk:
            pause()
        if (end := step(run)) is not None:
            return end
    return None
