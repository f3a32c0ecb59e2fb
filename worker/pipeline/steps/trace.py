from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.core.outcome_label import outcome_label
from worker.pipeline.spans import Attributes, Export, Request, counted, span


@dataclass(frozen=True)
class Trace:
    """Exports a span for each traced event of the batch, with what became of its jobs on this try.

    `name` gives a provider's name for people, `now` UNIX seconds.
    """

    export: Export
    name: Callable[[int], str]
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        batch = run.batch
        if not any(sending.traceparent for sending in batch.sendings):
            return
        outcomes: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        tries: Counter[tuple[str, str]] = Counter()
        for job, outcome in zip(run.jobs, run.outcomes, strict=True):
            sending = batch.sendings[job.sending]
            if sending.traceparent:
                event = sending.traceparent, sending.event_id
                outcomes[event][outcome_label(outcome)] += 1
                tries[event] = max(tries[event], job.attempt + 1)
        times = (run.taken_at, self.now())
        about: Attributes = {
            "carillon.provider": self.name(batch.provider),
            "carillon.lane": batch.lane,
            "messaging.batch.message_count": len(batch.sendings),
        }
        self.export(
            [
                span(
                    *("deliver", parent, times, batch.app, event),
                    {**about, "carillon.try": tries[parent, event], **counted(of_event)},
                    _request(run, of_event),
                )
                for (parent, event), of_event in outcomes.items()
            ]
        )


def _request(run: BatchRun, outcomes: Counter[str]) -> Request | None:
    if not run.sent_at:
        return None
    kind = run.provider.kind
    about = {"carillon.provider.kind": kind, **counted(outcomes)}
    return Request(f"send {kind}", run.sent_at, run.answered_at, about)
