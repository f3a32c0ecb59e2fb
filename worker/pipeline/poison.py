"""A batch that a bug of ours keeps from being delivered: tried again, then narrowed down to the job at fault, a dead letter."""

import logging
from collections.abc import Callable
from typing import Any, Final

from worker.core.backoff import backoff
from worker.core.batch import encode
from worker.core.batch_run import BatchRun
from worker.core.outcome import Delivered, Drop, Retry, Unregister
from worker.core.tally import Tally
from worker.core.tally import encode as encode_tally
from worker.database.ledger import DeadLetter
from worker.state.journal import Journal, UnreadableError

log = logging.getLogger(__name__)

#: Tries that a batch has before it is narrowed down, and one job before it is a dead letter.
TRIES: Final = 3
#: Parts into which a batch is narrowed down: its other jobs wait for two or three rounds of tries at most.
PARTS: Final = 8
#: Tries of a batch that cannot be read: while releases are mixed, the next worker may be able to.
READINGS: Final = 12
#: Seconds before the second try; five times as many before the third. Of a batch that cannot be read: twice as many each time.
PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0


class Poison:
    """`add_dead_letter` keeps a dead letter; a second one of the same entry changes nothing. `name` gives a provider's name."""

    def __init__(
        self, journal: Journal, add_dead_letter: Callable[[DeadLetter], None], name: Callable[[int], str]
    ) -> None:
        self._journal, self._add_dead_letter, self._name = journal, add_dead_letter, name

    def put_off(self, run: BatchRun, fault: Exception) -> bool:
        """True: the batch was handed back, and is tried again. False: each pending job has an outcome to carry out."""
        tries = self._journal.failed(run.id)
        log.error(
            "batch cannot be delivered: report it with these lines",
            extra=self._about(run) | {"tries": tries, "fault": type(fault).__name__},
            exc_info=fault,
        )
        if tries < TRIES:
            self._journal.return_batch(run.id, backoff(tries, base=PAUSE, longest=_LONGEST_PAUSE, growth=5))
            return True
        undone = [i for i, o in enumerate(run.outcomes) if not isinstance(o, Delivered | Unregister | Drop)]
        if not undone:  # what was decided cannot be carried out, and only a retirement is more than a note of it
            undone, run.unconfirmed = [i for i, o in enumerate(run.outcomes) if isinstance(o, Unregister)], []
        elif len(undone) > 1:
            for part in range(PARTS):
                again = Retry(1.0 + part / PARTS, type(fault).__name__, spends_attempt=False)
                run.set_outcome(undone[part::PARTS], again)
            return False
        run.set_outcome(undone, Drop("delivery_failed", alarm=True, cause=type(fault).__name__))
        for sending in {run.jobs[index].sending for index in undone}:
            of = run.batch.sendings[sending]
            error = f"delivery failed: {type(fault).__name__}. A retry also pushes to devices that have it"
            document = self._journal.document(of.entry)
            self._add_dead_letter(DeadLetter(of.entry, run.batch.app, of.event_id, error, document))
        return False

    def give_up(self, run: BatchRun, fault: Exception) -> None:
        """The batch ends as a dead letter: what became of its jobs cannot be written down."""
        what = "batch given up, it is a dead letter: see carillon dead-letters"
        log.error(what, extra=self._about(run) | {"fault": type(fault).__name__})
        error = f"batch cannot be carried out: {type(fault).__name__}"
        self._add_dead_letter(DeadLetter(f"batch:{run.id}", run.batch.app, None, error, encode(run.batch)))
        counts = {"dropped.delivery_failed": len(run.pending())}
        tally = Tally(run.id, run.batch.provider, run.batch.lane, counts)
        self._journal.finish(run.id, [], {run.batch.app: counts}, [encode_tally(run.batch.app, tally)])

    def _about(self, run: BatchRun) -> dict[str, Any]:
        """Fields of a log line."""
        return {"app": run.batch.app, "provider": self._name(run.batch.provider), "batch": run.id}

    def put_off_unread(self, batch: UnreadableError) -> None:
        """The same for a batch that cannot be read."""
        tries = self._journal.failed(batch.id)
        log.error("batch cannot be read: is it of a newer release?", extra={"batch": batch.id, "tries": tries})
        if tries < READINGS:
            self._journal.return_batch(batch.id, backoff(tries, base=PAUSE, longest=_LONGEST_PAUSE, growth=2))
            return
        self._add_dead_letter(
            DeadLetter(f"batch:{batch.id}", None, None, f"batch cannot be read: {batch}", batch.document)
        )
        self._journal.finish(batch.id, [], {}, [])
