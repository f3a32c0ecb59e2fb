from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from worker.core.again import Standing, decide_again, is_fresh
from worker.core.batch import Sending
from worker.core.batch_run import BatchRun
from worker.facts.changes import Change, MessageKey


@dataclass(frozen=True)
class DropChanged:
    """What was edited or deleted since it was decided is not sent as it is. One look-up, where that was not just now.

    `changes` gives those of the messages that were changed, `now` UNIX seconds.
    """

    changes: Callable[[Collection[MessageKey]], Mapping[MessageKey, Change]]
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        if is_fresh(run.batch, self.now()):
            return
        sendings = run.batch.sendings
        pending = [index for index in run.pending() if sendings[run.jobs[index].sending].message]
        keys = {number: _key(run, sendings[number]) for number in {run.jobs[index].sending for index in pending}}
        changes = self.changes(set(keys.values()))
        for index in pending:
            number = run.jobs[index].sending
            if (change := changes.get(keys[number])) is not None:
                edited = run.app.attention.edits != "off" and _is_edited(change, sendings[number])
                run.outcomes[index] = decide_again(sendings[number], Standing(deleted=change.deleted, edited=edited))


def _key(run: BatchRun, sending: Sending) -> MessageKey:
    return run.batch.app, sending.channel, sending.message


def _is_edited(change: Change, sending: Sending) -> bool:
    """An edit that only another release can read changes nothing: expansion would not know what it says either."""
    return change.content != sending.content and change.edit is not None
