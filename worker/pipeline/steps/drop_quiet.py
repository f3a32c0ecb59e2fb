from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from worker.core.again import Standing, decide_again, is_old, old
from worker.core.attention import Attention
from worker.core.batch_run import BatchRun
from worker.core.quiet import Quiet, begun_since, passes
from worker.database.audience import UserKey


@dataclass(frozen=True)
class DropQuiet:
    """A retry, or what waited, is not sent in a quiet time that began meanwhile. Nothing is looked up for what is sent at once.

    `settings` gives the quiet time of those of the users who have any, `now` UNIX seconds.
    """

    settings: Callable[[Mapping[str, Attention], Collection[UserKey]], Mapping[UserKey, Quiet]]
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        now = self.now()
        if not run.tried and not old(run.batch.sendings, now, run.first_came):
            return
        late = [index for index in run.pending() if self._is_late(run, index, now)]
        if not late:
            return
        app, attention = run.batch.app, run.app.attention
        settings = self.settings({app: attention}, {(app, run.jobs[index].user) for index in late})
        for index in late:
            setting = settings.get((app, run.jobs[index].user))
            if setting is not None and self._is_quiet(run, index, setting, now):
                run.outcomes[index] = decide_again(run.batch.sendings[run.jobs[index].sending], Standing(quiet=True))

    def _is_late(self, run: BatchRun, index: int, now: float) -> bool:
        job, sending = run.jobs[index], run.batch.sendings[run.jobs[index].sending]
        return bool(sending.channel) and (job.attempt > 0 or is_old(sending, now))

    def _is_quiet(self, run: BatchRun, index: int, setting: Quiet, now: float) -> bool:
        job, sending = run.jobs[index], run.batch.sendings[run.jobs[index].sending]
        decided = run.batch.decided / 1000 or sending.at
        if not begun_since(decided, setting, now):
            return False
        urgent, sender, channel = sending.urgent, sending.sender, sending.channel
        return passes(setting.allow, urgent=urgent, triggers=(job.why,), sender=sender, channel=channel) is None
