import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.core.outcome import Drop

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """Logs the batch: "delivered" only for accepted notifications, and a warning for faults of the provider or the network.

    `name` gives a provider's name for people.
    """

    name: Callable[[int], str]

    def __call__(self, run: BatchRun) -> None:
        where = {"app": run.batch.app, "provider": self.name(run.batch.provider)}
        if run.batch.origin:
            where["origin"] = run.batch.origin
        extra = {**where, "batch": run.id, "jobs": len(run.jobs), **_fields(run.counts)}
        accepted = run.counts["accepted"] > 0
        if not run.faults:
            log.info("batch delivered" if accepted else "batch done", extra=extra)
        else:
            log.warning("batch delivered in part" if accepted else "batch not delivered", extra=extra)
        bugs = Counter(o.reason for o in run.outcomes if isinstance(o, Drop) and o.alarm)
        for reason, n in bugs.items():
            log.error(
                "notifications refused for good: this is a fault of ours", extra={**where, "reason": reason, "count": n}
            )


def _fields(counts: Mapping[str, int]) -> dict[str, int]:
    return {label.replace(".", "_").lower(): n for label, n in counts.items()}
