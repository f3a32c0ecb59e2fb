from dataclasses import dataclass

from worker.core.activities import KIND
from worker.core.batch_run import BatchRun
from worker.core.outcome import Drop
from worker.state.activities import Activities


@dataclass(frozen=True)
class DropSuperseded:
    """Of the updates of a Live Activity that wait only the newest is sent."""

    activities: Activities

    def __call__(self, run: BatchRun) -> None:
        sendings = run.batch.sendings
        if KIND not in run.kinds or not any(one.kind == KIND and one.activity for one in sendings):
            return
        waiting = [(index, run.jobs[index].user, sendings[run.jobs[index].sending]) for index in run.pending()]
        waiting = [one for one in waiting if one[2].activity]
        newest = self.activities.newest(run.batch.app, [(sending.activity, user) for _, user, sending in waiting])
        for (index, _, sending), at in zip(waiting, newest, strict=True):
            if at > sending.said_at:
                run.outcomes[index] = Drop("superseded")
