from collections.abc import Callable
from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.core.outcome import Drop


@dataclass(frozen=True)
class DropExpired:
    """Drops expired jobs. `now` gives UNIX seconds."""

    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        now = self.now()
        if run.first_expires > now:
            return
        run.set_outcome([index for index in run.pending() if run.expires_at(index) <= now], Drop("expired"))
