from collections import defaultdict
from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.core.calls import CALL, any_of_call, is_of_call
from worker.core.outcome import Delivered
from worker.pipeline.insist import Insist
from worker.state.calls import Calls


@dataclass(frozen=True)
class NoteCalls:
    """Notes the devices that got a call: they get its end too."""

    calls: Calls
    insist: Insist

    def __call__(self, run: BatchRun) -> None:
        if not any_of_call(run.batch.sendings, run.kinds):
            return
        shown: defaultdict[str, list[int]] = defaultdict(list)
        for job, outcome in zip(run.jobs, run.outcomes, strict=True):
            sending = run.batch.sendings[job.sending]
            if isinstance(outcome, Delivered) and sending.kind == CALL and is_of_call(sending):
                shown[sending.collapse_id].append(job.device)
        for call, devices in shown.items():
            self.insist(self.calls.note_shown, (run.batch.app, call), devices)
