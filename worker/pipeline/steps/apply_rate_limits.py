from collections.abc import Callable
from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.pipeline.rate_limits import limit
from worker.state.limiter import Limiter


@dataclass(frozen=True)
class ApplyRateLimits:
    """What is over a rate waits for its time, and later notifications of its device and channel with it.

    `now` gives UNIX seconds.
    """

    limiter: Limiter
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        limit(run, self.limiter, now=self.now())
        if any(run.outcomes):
            run.wait_with_earlier(range(len(run.jobs)))
