from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.pipeline.exchange import Exchange


@dataclass(frozen=True)
class Send:
    """Sends the pending jobs. Jobs behind a notification that failed for good are sent in another round."""

    exchange: Exchange

    def __call__(self, run: BatchRun) -> None:
        while indexes := run.pending():
            self.exchange.send(run, indexes)
            if run.pending():
                run.wait_with_earlier(indexes)
