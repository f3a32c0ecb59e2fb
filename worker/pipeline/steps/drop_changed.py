from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from worker.core.again import Standing, decide_again, is_fresh
from worker.core.batch import Sending
from worker.core.batch_run import BatchRun
from worker.facts.changes import Change, MessageKey
from worker.state.presence import Markers, marker


@dataclass(frozen=True)
class DropChanged:
    """What was read, edited or deleted since it was decided is not sent as it is. Nothing is looked up where that was just now.

    `changes` gives those of an app's messages that were changed, `markers` user -> ms of the newest message read, `now`
    UNIX seconds.
    """

    changes: Callable[[str, Collection[MessageKey]], Mapping[MessageKey, Change]]
    markers: Callable[[Sequence[Markers]], Sequence[Mapping[str, int]]]
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        if is_fresh(run.batch, self.now()):
            return
        sendings = run.batch.sendings
        shown = {number: sending for number, sending in enumerate(sendings) if sending.written}
        pending = [index for index in run.pending() if run.jobs[index].sending in shown]
        changed, read = self._changed(run, shown), self._read(run, pending, shown)
        if not changed and not read:
            return
        for index in pending:
            number = run.jobs[index].sending
            if number in changed or index in read:
                standing = changed.get(number, Standing())._replace(read=index in read)
                run.outcomes[index] = decide_again(sendings[number], standing)

    def _changed(self, run: BatchRun, shown: Mapping[int, Sending]) -> dict[int, Standing]:
        """How those of the sendings stand whose message was edited or deleted."""
        app = run.batch.app
        asked = {number: (app, sending.channel, sending.message) for number, sending in shown.items()}
        found = self.changes(app, {key for key in asked.values() if key[2]})
        edits = run.app.attention.edits != "off"
        return {
            number: Standing(deleted=found[key].deleted, edited=edits and _is_edited(found[key], shown[number]))
            for number, key in asked.items()
            if key in found
        }

    def _read(self, run: BatchRun, indexes: Sequence[int], shown: Mapping[int, Sending]) -> set[int]:
        """The jobs whose user has read the message."""
        app, jobs = run.batch.app, run.jobs
        of_sending = {number: marker(app, sending.channel, sending.thread) for number, sending in shown.items()}
        users: dict[str, dict[str, None]] = {key: {} for key in of_sending.values()}
        for index in indexes:
            job = jobs[index]
            users[of_sending[job.sending]][job.user] = None
        marked = [Markers(key, list(of)) for key, of in users.items() if of]
        until = {key: found for (key, _), found in zip(marked, self.markers(marked), strict=True) if found}
        if not until:
            return set()
        return {
            index
            for index in indexes
            if (found := until.get(of_sending[jobs[index].sending])) is not None
            and found.get(jobs[index].user, 0) >= shown[jobs[index].sending].written
        }


def _is_edited(change: Change, sending: Sending) -> bool:
    """An edit that only another release can read changes nothing: expansion would not know what it says either."""
    return change.content != sending.content and change.edit is not None
