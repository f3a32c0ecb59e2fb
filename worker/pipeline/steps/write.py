from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from worker.core.again import EDITED
from worker.core.batch import Job, batch_id
from worker.core.batch_run import BatchRun
from worker.core.ledger_entry import accounts
from worker.core.outcome import Delivered, Drop
from worker.core.outcome_label import count, ledger_entries, totals
from worker.core.remainder import remainder
from worker.core.reminder import Pushed, name_of
from worker.core.second_look import SecondLook
from worker.core.tally import Tally, encode
from worker.pipeline.insist import Insist
from worker.state.journal import Banner, Journal, Proof, QueuedBatch, QueuedLook
from worker.state.shown import member


@dataclass(frozen=True)
class Write:
    """Writes the outcomes of the batch in one step: counts, ledger entries, its tally, and the batches to try again.

    `now` gives UNIX seconds, `new_id` an id that was never given before. `put_off` gets the batches to try again.
    """

    journal: Journal
    insist: Insist
    now: Callable[[], float]
    new_id: Callable[[], str]
    put_off: Callable[[Sequence[QueuedBatch]], None]

    def __call__(self, run: BatchRun) -> None:
        run.counts, new = count(run)
        again = [
            QueuedBatch(
                batch_id(batch, self.new_id()),
                batch,
                how.delay,
                how.behind,
                put_off=True,
                takes_over=how.takes_over,
            )
            for how, batch in remainder(run, self.now())
        ]
        again += [QueuedBatch(batch_id(batch, self.new_id()), batch) for batch in run.instead]
        counts = totals(new)
        documents = [*_ledger_entries(run, self.now()), _tally(run, counts)]
        left = _looks(run), _banners(run), _pushed(run)
        well = None if run.well is None else Proof(*run.well, max(0.0, self.now() - run.sent_at))
        run.freed = self.insist(self.journal.finish, run.id, again, {run.batch.app: counts}, documents, *left, well)
        run.leaves = bool(again)
        self.put_off(again)


def _tally(run: BatchRun, counts: Mapping[str, int]) -> bytes:
    tally = Tally(run.id, run.batch.provider, run.batch.lane, counts, run.answer_times, run.accept_times)
    return encode(run.batch.app, tally)


def _ledger_entries(run: BatchRun, now: float) -> list[bytes]:
    about = (int(now * 1000), run.batch.provider, int(run.lasted * 1000))
    return accounts(run.batch.app, f"batch:{run.id}", ledger_entries(run), *about)


def _pushed(run: BatchRun) -> list[Pushed]:
    """What was accepted of which users are reminded, each once for all of their devices."""
    if not any(sending.reminds for sending in run.batch.sendings):
        return []
    accepted: dict[Pushed, None] = {}
    for job, outcome in zip(run.jobs, run.outcomes, strict=True):
        of = run.batch.sendings[job.sending]
        if of.reminds and isinstance(outcome, Delivered):
            name = name_of(run.batch.app, of.channel, of.thread, job.user)
            about = of.written, of.message or of.event_id, of.collapse_id, of.sender_name
            accepted[Pushed(name, of.reminds, *about)] = None
    return list(accepted)


def _looks(run: BatchRun) -> list[QueuedLook]:
    """Second looks for those whose queued push was edited, for the devices that did not get it."""
    if not run.drops_any():
        return []
    dropped: defaultdict[int, list[Job]] = defaultdict(list)
    for job, outcome in zip(run.jobs, run.outcomes, strict=True):
        if isinstance(outcome, Drop) and outcome.reason == EDITED:
            dropped[job.sending].append(job)
    return [
        QueuedLook(
            run.batch.sendings[sending].entry,
            f"{int(run.id, 36)}.{sending}",
            run.batch.app,
            run.batch.sendings[sending].place,
            0.0,
            SecondLook("edited", list(dict.fromkeys(job.user for job in jobs)), [job.device for job in jobs]),
        )
        for sending, jobs in dropped.items()
    ]


def _banners(run: BatchRun) -> list[Banner]:
    """What was accepted for devices whose apps take it back if they are asked to."""
    sendings = run.batch.sendings
    newest: dict[str, int] = {}
    for job, outcome in zip(run.jobs, run.outcomes, strict=True):
        if job.clears and isinstance(outcome, Delivered) and (sending := sendings[job.sending]).written:
            name = member(sending.channel, sending.thread, job.user)
            newest[name] = max(sending.written, newest.get(name, 0))
    return [Banner(run.batch.app, name, at) for name, at in newest.items()]
