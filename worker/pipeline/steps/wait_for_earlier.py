import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from worker.core.batch import NEVER
from worker.core.batch_run import EARLIER, BatchRun, Wait
from worker.core.triggers import CALLED
from worker.pipeline.steps import End

#: Seconds after which a job checks again that waits for a notification without a try.
LONG: Final = 300.0


@dataclass(frozen=True)
class WaitForEarlier:
    """A job waits for an earlier one of its device and channel that is put off. A mention passes those that a rate holds.

    One whose device another batch has had in flight for long waits for that batch; those of other devices go. `now` gives UNIX
    seconds.
    """

    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> End | None:
        now = self.now()
        for index, (until, batch) in run.waits.items():
            passes = run.app.channel_rate is not None and run.jobs[index].why in CALLED
            if run.outcomes[index] is None and not passes:
                # A job without a try ends when it expires. Jobs that wait for it are released when it is done.
                seconds = LONG if until == NEVER else max(1.0, math.ceil(until - now))
                run.outcomes[index] = Wait(EARLIER, seconds, behind=batch)
        if run.blocked:
            blocked = [index for index in run.pending() if run.jobs[index].device in run.blocked]
            run.set_outcome(blocked, Wait(EARLIER, 0.0, in_flight=True))
        return None if run.pending() else "conclude"
