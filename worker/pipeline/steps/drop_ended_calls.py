from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.core.calls import CALL, ENDED, any_of_call, is_of_call
from worker.core.outcome import Drop
from worker.state.calls import Calls


@dataclass(frozen=True)
class DropEndedCalls:
    """A call that has ended is not sent any more, and its end goes to no device that did not get the call."""

    calls: Calls

    def __call__(self, run: BatchRun) -> None:
        sendings = run.batch.sendings
        if not any_of_call(sendings, run.kinds):
            return
        ids = list({one.collapse_id: None for one in sendings if is_of_call(one)})
        app = run.batch.app
        known = dict(zip(ids, self.calls.known([(app, id) for id in ids]), strict=True))
        for index in run.pending():
            job = run.jobs[index]
            sending = sendings[job.sending]
            if not is_of_call(sending):
                continue
            call = known[sending.collapse_id]
            if sending.kind == CALL and call.ended_for(job.user) is not None:
                run.outcomes[index] = Drop("call_ended")
            elif sending.kind == ENDED and job.device not in call.shown:
                run.outcomes[index] = Drop("call_not_shown")
