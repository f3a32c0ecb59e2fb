from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.core.outcome import Drop
from worker.pipeline.apps import Apps
from worker.pipeline.steps import End
from worker.state.breaker import Breaker


@dataclass(frozen=True)
class FindProvider:
    """Finds the app and the provider as they are now. Where one is gone, or the app's pushes are off, every job is dropped."""

    apps: Apps
    breaker: Breaker

    def __call__(self, run: BatchRun) -> End | None:
        provider, app = self.apps.provider(run.batch.provider), self.apps.app(run.batch.app)
        if provider is None:
            run.set_outcome(run.pending(), Drop("no_provider"))
            self.breaker.resume(run.batch.provider, by_hand=True)
            return "conclude"
        if app is None or not app.push_enabled:
            run.set_outcome(run.pending(), Drop("app_push_off"))
            return "conclude"
        run.app, run.provider = app, provider
        return None
