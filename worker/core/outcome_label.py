"""What became of a batch's jobs, as counts and the ledger have it: by label. The labels are stored, so none is renamed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from worker.core.batch_run import EARLIER, BatchRun, JobOutcome, Wait
from worker.core.outcome import Delivered, Drop, OpenBreaker, Retry, Unregister
from worker.core.purposes import BROADCAST

ACCEPTED: Final = "accepted"
#: In a ledger entry: a job whose notification went before an earlier one of its device and channel.
OVERTOOK: Final = "overtook"


def outcome_label(outcome: JobOutcome | None) -> str:
    match outcome:
        case Delivered():
            return ACCEPTED
        case Retry(reason=reason):
            return f"retry.{reason}"
        case Unregister(reason=reason):
            return f"retired.{reason}"
        case Drop(reason=reason):
            return f"dropped.{reason}"
        case OpenBreaker(reason=reason):
            return f"parked.{reason}"
        case Wait(limit=limit):
            return f"limited.{limit}"
        case None:
            raise AssertionError("a job without an outcome")


def count(run: BatchRun) -> tuple[Counter[str], Counter[str]]:
    """The jobs by label, and those of them that were not counted on an earlier try."""
    counts = Counter({ACCEPTED: len(run.outcomes)}) if run.is_delivered else Counter(map(outcome_label, run.outcomes))
    new = counts - Counter(outcome_label(run.outcomes[index]) for index in run.still_waiting())
    if overtaking := sum(isinstance(run.outcomes[index], Delivered) for index in run.overtaking):
        counts["overtaken"] = new["overtaken"] = overtaking
    return counts, new


def totals(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts, and sums over the reasons of each outcome."""
    sums: Counter[str] = Counter(counts)
    for label, n in counts.items():
        if "." in label:
            sums[label.partition(".")[0]] += n
    return dict(sums)


class _Accepted(msgspec.Struct, frozen=True, gc=False):
    """Users and devices of one message by label where all have this one: cheaper to make than a dictionary of one."""

    accepted: Sequence[tuple[str, int]]


def ledger_entries(run: BatchRun) -> Mapping[str, object]:
    """For each message of the batch, however many ways it was rendered: its users and devices by label, to be encoded.

    A wait is entered once: not again where a device waits for another of its app's limits. One that only waits for an earlier
    notification is not entered. What stands for a broadcast channel is device 0.
    """
    entered, broadcasts = run.batch.reserved > 0, run.batch.origin == BROADCAST
    if run.is_delivered and not run.overtaking and not broadcasts:
        accepted: dict[str, list[tuple[str, int]]] = {sending.event_id: [] for sending in run.batch.sendings}
        of_sending = [accepted[sending.event_id] for sending in run.batch.sendings]
        for job in run.jobs:
            of_sending[job.sending].append((job.user, job.device))
        return {event: _Accepted(of_event) for event, of_event in accepted.items()}
    by_event: dict[str, dict[str, list[Any]]] = {sending.event_id: {} for sending in run.batch.sendings}
    for index, (job, outcome) in enumerate(zip(run.jobs, run.outcomes, strict=True)):
        if isinstance(outcome, Wait) and (entered or outcome.limit == EARLIER):
            continue
        device = 0 if broadcasts else job.device
        entry = by_event[run.batch.sendings[job.sending].event_id]
        entry.setdefault(outcome_label(outcome), []).append((job.user, device))
        if index in run.overtaking and isinstance(outcome, Delivered):
            entry.setdefault(OVERTOOK, []).append((job.user, device))
    return by_event
