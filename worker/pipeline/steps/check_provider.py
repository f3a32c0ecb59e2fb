from collections.abc import Callable
from dataclasses import dataclass

from worker.core import recorded_outcome
from worker.core.batch_run import BatchRun
from worker.core.breaker import Look
from worker.pipeline.exchange import Exchange
from worker.pipeline.insist import Insist
from worker.pipeline.provider_health import ProviderHealth
from worker.pipeline.steps import End
from worker.state.journal import Journal


@dataclass(frozen=True)
class CheckProvider:
    """Over a stopped way one job is sent as a probe. The others go out only if it flows again.

    `now` gives UNIX seconds, `random` a number in [0, 1).
    """

    health: ProviderHealth
    exchange: Exchange
    journal: Journal
    insist: Insist
    now: Callable[[], float]
    random: Callable[[], float]

    def __call__(self, run: BatchRun) -> End | None:
        if run.look is None:
            return None
        flows = self._probe(run, run.look)
        if run.look.alone or (not flows and run.pending()):
            return "return"
        return None if flows else "conclude"

    def _probe(self, run: BatchRun, look: Look) -> bool:
        """Whether the provider flows again."""
        candidates = run.first_of_each_device()
        if not candidates:
            return False
        probe = candidates[int(self.random() * len(candidates))]
        self.exchange.send(run, [probe], timeout=self.health.probe_timeout(look.stopped))
        if not self.health.proves(run, probe, look):
            return False
        # The others have yet to be sent, which may fail: the probe is not to be sent again because of them.
        self.insist(self.journal.mark, run.id, recorded_outcome.encode(run.outcomes))
        run.renewed_at = self.now()
        return self.health.resume(run, look)
