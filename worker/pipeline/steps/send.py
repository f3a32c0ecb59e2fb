from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.pipeline.exchange import Exchange


@dataclass(frozen=True)
class Send:
    """Sends what is pending. What follows a notification that is over for good goes in another round."""

    exchange: Exchange

    def __call__(self, run: BatchRun) -> None:
        while indexes := run.pending():
            self.exchange.send(run, indexes)
            if run.pending():
                run.wait_with_earlier(indexes)
