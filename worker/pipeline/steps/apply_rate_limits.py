from collections.abc import Callable
from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.pipeline.rate_limits import limit
from worker.state.homes import Homes
from worker.state.limiter import Limiter


@dataclass(frozen=True)
class ApplyRateLimits:
    """Jobs over a rate wait for their time. Later notifications of their device and channel wait with them.

    `now` gives UNIX seconds.
    """

    limiter: Limiter
    homes: Homes
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        home = self.homes.of(run.batch.app)
        limit(run, self.limiter, self.limiter if home is None else home.limiter, now=self.now())
        if run.outcomes.count(None) < len(run.outcomes):
            run.wait_with_earlier(range(len(run.jobs)))
