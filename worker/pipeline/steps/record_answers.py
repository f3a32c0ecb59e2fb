from dataclasses import dataclass

from worker.core import recorded_outcome
from worker.core.batch_run import BatchRun
from worker.core.outcome import Unregister
from worker.pipeline.insist import Insist
from worker.state.journal import Journal


@dataclass(frozen=True)
class RecordAnswers:
    """Records final outcomes before they are carried out: a worker that resumes the batch sends none of them again.

    Where no device is to be retired, the last step does it: nothing comes before that.
    """

    journal: Journal
    insist: Insist

    def __call__(self, run: BatchRun) -> None:
        if run.is_delivered:
            return
        if run.unconfirmed or any(isinstance(outcome, Unregister) for outcome in run.outcomes):
            self.insist(self.journal.mark, run.id, recorded_outcome.encode(run.outcomes))
