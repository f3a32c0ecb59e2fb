from dataclasses import dataclass
from typing import Final

from worker.core.batch import has_badges
from worker.core.batch_run import EARLIER, BatchRun, Wait
from worker.pipeline.steps import End
from worker.state import redis
from worker.state.homes import Homes
from worker.state.journal import Journal

#: Seconds for which a batch waits for devices that a batch of another partition has.
BUSY: Final = 0.1
#: Seconds for which home knows at least that a batch was done: a cluster takes up to twenty to replace a server, by its defaults,
#: and the new one may have the batch still.
KNOWN: Final = 60.0


@dataclass(frozen=True)
class NumberAtHome:
    """Takes the badge numbers, and the devices, at the home of the app, where that is another partition.

    A job whose device is busy waits; the batch as a whole, where all are. Then it gives back its devices, and the numbers of what
    it drops: two batches may wait for each other otherwise, each with devices of jobs that were sent before its worker died.
    Elsewhere this costs nothing.
    """

    journal: Journal
    homes: Homes

    def __call__(self, run: BatchRun) -> End | None:
        if (home := self.homes.of(run.batch.app)) is None or not has_badges(run.batch):
            return None
        again = run.numbered
        given = home.number(run.id, run.batch, again=again, lease=self.journal.lease)
        if not again:
            self.journal.note_numbered(run.id)
        run.numbered = True
        # When it was taken before it may have had others of its devices.
        run.claims = again or any(job.device not in given.blocked for job in run.jobs)
        run.set_numbers(given.badges)
        if given.blocked:
            pending = run.pending()
            blocked = [index for index in pending if run.jobs[index].device in given.blocked]
            if blocked and len(blocked) == len(pending):
                return "wait"
            run.set_outcome(blocked, Wait(EARLIER, BUSY, in_flight=True))
        return None


@dataclass(frozen=True)
class ReleaseAtHome:
    """Others have the devices there again; `done`: the batch is finished, else it is taken again.

    What cannot be released, as while home is away, ends with its lease.
    """

    homes: Homes
    #: Seconds of a batch's lease. After so many, and a replaced server, a batch that was done may be taken again.
    lease: float

    def __call__(self, run: BatchRun, *, done: bool = True) -> None:
        if not (run.claims or (done and run.numbered)) or (home := self.homes.of(run.batch.app)) is None:
            return
        run.claims = False
        try:
            freed = home.release(run.id, done=max(KNOWN, 2 * self.lease) if done else 0.0)
        except redis.Error:
            return
        run.freed_at_home = home.partition.index, freed
