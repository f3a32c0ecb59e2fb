from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.state.homes import Home, Homes
from worker.state.journal import Journal


@dataclass(frozen=True)
class Uncount:
    """Badges count what is sent: jobs that are dropped before that give their numbers back. Where none is, this costs nothing.

    A part of a batch that is dropped before home was asked for its numbers has them of that batch: home learns of it first.
    """

    journal: Journal
    homes: Homes

    def __call__(self, run: BatchRun) -> None:
        if dropped := run.to_uncount():
            numbers = self.homes.of(run.batch.app) or self.journal
            if isinstance(numbers, Home) and not run.numbered and run.counted_earlier(dropped):
                numbers.number(run.id, run.batch, again=False, lease=self.journal.lease)
                run.numbered = run.claims = True
            if badges := numbers.uncount(run.id, dropped):
                run.set_numbers(badges)
            run.uncounted.update(dropped)
