from collections.abc import Callable
from dataclasses import dataclass

from worker.core.again import decide_again, is_old
from worker.core.batch_run import BatchRun
from worker.core.outcome import Drop
from worker.database.devices import Devices
from worker.database.standings import Question, Standings


@dataclass(frozen=True)
class DropMoved:
    """A3: a notification for a user is not sent to a device that belongs to another user by now, or to nobody.

    A notification that is sent long after its place is decided again by all rules. `now` gives UNIX seconds.
    """

    devices: Devices
    standings: Standings
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        now, sendings = self.now(), run.batch.sendings
        old = {number for number, sending in enumerate(sendings) if is_old(sending, now)}
        young = {i: (run.jobs[i].device, run.jobs[i].user) for i in run.pending() if run.jobs[i].sending not in old}
        if young:
            owned = self.devices.owned(young.values())
            run.set_outcome([index for index, job in young.items() if job not in owned], Drop("device_moved"))
        if old:
            self._decide_again(run, [index for index in run.pending() if run.jobs[index].sending in old])

    def _decide_again(self, run: BatchRun, indexes: list[int]) -> None:
        sendings = run.batch.sendings
        questions = [
            Question(job.device, job.user, sendings[job.sending].channel, sendings[job.sending].sender)
            for job in (run.jobs[index] for index in indexes)
        ]
        for index, standing in zip(indexes, self.standings.read(run.batch.app, questions), strict=True):
            run.outcomes[index] = decide_again(sendings[run.jobs[index].sending], standing)
