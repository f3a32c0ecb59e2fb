from worker.core.batch_run import BatchRun
from worker.core.fleet import may_push_to
from worker.core.outcome import Drop


def drop_not_allowed(run: BatchRun) -> None:
    """Drops jobs for users to whom this environment may not push."""
    if run.app.only_to is not None:
        elsewhere = [index for index in run.pending() if not may_push_to(run.app, run.jobs[index].user)]
        run.set_outcome(elsewhere, Drop("not_allowed_here"))
