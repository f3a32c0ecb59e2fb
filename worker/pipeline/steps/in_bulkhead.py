from collections.abc import Sequence
from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.steps import End, Step, perform


@dataclass(frozen=True)
class InBulkhead:
    """The steps that may wait for the provider. Of a way only its share of the process's threads takes them at once."""

    bulkhead: Bulkhead
    steps: Sequence[Step]

    def __call__(self, run: BatchRun) -> End | None:
        if not self.bulkhead.enter(run.way):
            return "return"
        try:
            return perform(self.steps, run, self.bulkhead.pause)
        finally:
            self.bulkhead.leave(run.way, answered=run.answered)
