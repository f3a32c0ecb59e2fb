from worker.core.batch_run import BatchRun
from worker.pipeline.steps import End


def hold_back(run: BatchRun) -> End | None:
    """Its way does not flow, and no probe is due: the batch was handed out only to drop its expired jobs."""
    return "return" if run.look is not None and not run.look.probe and run.pending() else None
