from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.state.homes import Homes
from worker.state.journal import Journal


@dataclass(frozen=True)
class Uncount:
    """Badges count what is sent: jobs that are dropped before that give their numbers back. Where none is, this costs nothing."""

    journal: Journal
    homes: Homes

    def __call__(self, run: BatchRun) -> None:
        if dropped := run.to_uncount():
            numbers = self.homes.of(run.batch.app) or self.journal
            if badges := numbers.uncount(run.id, dropped):
                run.set_numbers(badges)
            run.uncounted.update(dropped)
