from collections import defaultdict
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

    `changes` gives those of an app's messages that were changed, `markers` as `presence.marked_in` does, `now` UNIX seconds.
    """

    changes: Callable[[str, Collection[MessageKey]], Mapping[MessageKey, Change]]
    markers: Callable[[Collection[str], Callable[[], Sequence[Markers]]], Mapping[str, Mapping[str, int]]]
    now: Callable[[], float]

    def __call__(self, run: BatchRun) -> None:
        if is_fresh(run.batch, self.now()):
            return
        sendings = run.batch.sendings
        shown = {number: sending for number, sending in enumerate(sendings) if sending.written}
        changed, read = self._changed(run, shown), self._read(run, shown)
        if not changed and not read:
            return
        for index in run.pending():
            number = run.jobs[index].sending
            if number in changed or index in read:
                standing = changed.get(number, Standing())._replace(read=index in read)
                run.outcomes[index] = decide_again(sendings[number], standing)

    def _changed(self, run: BatchRun, shown: Mapping[int, Sending]) -> dict[int, Standing]:
        """How those of the sendings stand whose message was edited or deleted."""
        app = run.batch.app
        found = self.changes(app, {(app, one.channel, one.message) for one in shown.values() if one.message})
        if not found:
            return {}
        edits = run.app.attention.edits != "off"
        changed = {number: found.get((app, one.channel, one.message)) for number, one in shown.items()}
        return {
            number: Standing(deleted=change.deleted, edited=edits and _is_edited(change, shown[number]))
            for number, change in changed.items()
            if change is not None
        }

    def _read(self, run: BatchRun, shown: Mapping[int, Sending]) -> set[int]:
        """The pending jobs whose user has read the message."""
        app, jobs = run.batch.app, run.jobs
        of_sending = {number: marker(app, sending.channel, sending.thread) for number, sending in shown.items()}

        def users() -> list[Markers]:
            found: defaultdict[str, dict[str, None]] = defaultdict(dict)
            for index in run.pending():
                job = jobs[index]
                if job.sending in shown:
                    found[of_sending[job.sending]][job.user] = None
            return [Markers(key, list(of)) for key, of in found.items()]

        until = self.markers({*of_sending.values()}, users)
        if not until:
            return set()
        return {
            index
            for index in run.pending()
            if (found := until.get(of_sending.get(jobs[index].sending, ""))) is not None
            and found.get(jobs[index].user, 0) >= shown[jobs[index].sending].written
        }


def _is_edited(change: Change, sending: Sending) -> bool:
    """An edit that only another release can read changes nothing: expansion would not know what it says either."""
    return change.content != sending.content and change.edit is not None
