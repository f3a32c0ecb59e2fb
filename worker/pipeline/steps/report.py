import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from config.seldom import Seldom
from worker.core.batch_run import BatchRun
from worker.core.outcome import Drop

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: Events of a batch that its line names.
_SHOWN: Final = 5


@dataclass(frozen=True)
class Report:
    """Logs the batch in one line: "delivered" only for accepted notifications. Faults of the ways are conditions.

    `name` gives a provider's name for people, `now` UNIX seconds.
    """

    name: Callable[[int], str]
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        where = {"app": run.batch.app, "provider": self.name(run.batch.provider)}
        if run.batch.origin:
            where["origin"] = run.batch.origin
        about = {"batch": run.id, "lane": run.batch.lane, "jobs": len(run.jobs), "events": _events(run)}
        took = {"seconds": round(self.now() - run.taken_at, 3)}
        accepted = run.counts["accepted"] > 0
        if run.faults:
            what = "batch delivered in part" if accepted else "batch not delivered"
        else:
            what = "batch delivered" if accepted else "batch done"
        log.info(what, extra={**where, **about, **_fields(run.counts), **took})
        if run.is_delivered:
            return
        bugs = Counter(o.reason for o in run.outcomes if isinstance(o, Drop) and o.alarm)
        for reason, n in bugs.items():
            seldom.error(
                "notifications refused for good, which is a fault of Carillon's: report it with this line",
                about=f"{run.batch.provider} {reason}",
                extra={**where, "reason": reason, "count": n},
            )


def _events(run: BatchRun) -> str:
    """The ids of some of the events, and how many more there are."""
    sendings = run.batch.sendings
    more = len(sendings) - _SHOWN
    return " ".join([sending.event_id for sending in sendings[:_SHOWN]]) + (f" and {more:,} more" if more > 0 else "")


def _fields(counts: Mapping[str, int]) -> dict[str, int]:
    return {label.replace(".", "_").lower(): n for label, n in counts.items()}
