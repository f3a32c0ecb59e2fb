from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.core.again import decide_again, is_fresh, old
from worker.core.batch_run import BatchRun
from worker.core.model import AppSettings
from worker.core.outcome import Drop
from worker.core.purposes import BROADCAST
from worker.core.triggers import trigger
from worker.database.devices import Devices
from worker.database.standings import Question, Standings
from worker.facts.preferences import Pushed


@dataclass(frozen=True)
class DropMoved:
    """A3: a notification for a user is not sent to a device that belongs to another user by now, or to nobody.

    What was decided only just now, and was in no line since, is not looked up. A notification that is sent long after its
    place is decided again by all rules. `refused` says why users want theirs no more, `now` gives UNIX seconds.
    """

    devices: Devices
    standings: Standings
    refused: Callable[[AppSettings, Sequence[Pushed], float], Sequence[str]]
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        if run.batch.origin == BROADCAST:
            return
        now, sendings = self.now(), run.batch.sendings
        late, jobs, pending = old(sendings, now, run.first_came), run.jobs, run.pending()
        young = [index for index in pending if jobs[index].sending not in late] if late else pending
        if young and not (run.just_decided and is_fresh(run.batch, now)):
            run.set_outcome(self._moved(run, young), Drop("device_moved"))
        if late:
            self._decide_again(run, [index for index in pending if jobs[index].sending in late])

    def _moved(self, run: BatchRun, indexes: Sequence[int]) -> list[int]:
        """The jobs whose device is not their user's any more, mostly none."""
        devices, users = run.device_of_each(indexes), [job.user for job in run.jobs_at(indexes)]
        meant = dict(zip(devices, users, strict=True))
        # A device has two users here if it changed hands between two of these messages.
        if list(map(meant.get, devices)) == users and self.devices.are_owned(meant):
            return []
        owners = self.devices.owners(devices)
        return [
            index for index, device, user in zip(indexes, devices, users, strict=True) if owners.get(device) != user
        ]

    def _decide_again(self, run: BatchRun, indexes: list[int]) -> None:
        sendings = run.batch.sendings
        questions = [
            Question(job.device, job.user, sendings[job.sending].channel, sendings[job.sending].sender)
            for job in (run.jobs[index] for index in indexes)
        ]
        refused = self._refused(run, indexes)
        for index, standing in zip(indexes, self.standings.read(run.batch.app, questions), strict=True):
            by_now = standing._replace(refused=refused.get(index, ""))
            run.outcomes[index] = decide_again(sendings[run.jobs[index].sending], by_now)

    def _refused(self, run: BatchRun, indexes: Sequence[int]) -> dict[int, str]:
        """By job, why its user wants it no more."""
        asked = {}
        for index in indexes:
            job, sending = run.jobs[index], run.batch.sendings[run.jobs[index].sending]
            if sending.channel and (why := trigger(job.why)) is not None:
                asked[index] = Pushed(job.user, sending.channel, sending.thread, why)
        return dict(zip(asked, self.refused(run.app, [*asked.values()], self.now()), strict=True)) if asked else {}
