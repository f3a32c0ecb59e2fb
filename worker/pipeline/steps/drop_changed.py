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
        pending = [index for index in run.pending() if sendings[run.jobs[index].sending].written]
        changed, read = self._changed(run, pending), self._read(run, pending)
        for index in pending:
            if index in changed or index in read:
                standing = changed.get(index, Standing())._replace(read=index in read)
                run.outcomes[index] = decide_again(sendings[run.jobs[index].sending], standing)

    def _changed(self, run: BatchRun, indexes: Sequence[int]) -> dict[int, Standing]:
        """How the jobs stand whose message was edited or deleted."""
        sendings = [run.batch.sendings[run.jobs[index].sending] for index in indexes]
        asked = [(run.batch.app, sending.channel, sending.message) for sending in sendings]
        found = self.changes(run.batch.app, {key for key in asked if key[2]})
        edits = run.app.attention.edits != "off"
        return {
            index: Standing(deleted=found[key].deleted, edited=edits and _is_edited(found[key], sending))
            for index, key, sending in zip(indexes, asked, sendings, strict=True)
            if key in found
        }

    def _read(self, run: BatchRun, indexes: Sequence[int]) -> set[int]:
        """The jobs whose user has read the message."""
        users: defaultdict[str, list[str]] = defaultdict(list)
        for index in indexes:
            users[self._marker(run, index)].append(run.jobs[index].user)
        marked = [Markers(key, list(dict.fromkeys(of))) for key, of in users.items()]
        until = {key: found for (key, _), found in zip(marked, self.markers(marked), strict=True) if found}
        if not until:
            return set()
        return {
            index
            for index in indexes
            if (found := until.get(self._marker(run, index))) is not None
            and found.get(run.jobs[index].user, 0) >= run.batch.sendings[run.jobs[index].sending].written
        }

    def _marker(self, run: BatchRun, index: int) -> str:
        sending = run.batch.sendings[run.jobs[index].sending]
        return marker(run.batch.app, sending.channel, sending.thread)


def _is_edited(change: Change, sending: Sending) -> bool:
    """An edit that only another release can read changes nothing: expansion would not know what it says either."""
    return change.content != sending.content and change.edit is not None
