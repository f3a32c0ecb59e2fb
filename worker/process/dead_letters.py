"""What a person does with dead letters: publish them once more, or drop them. Each act is in the audit log."""

from typing import Any, NamedTuple

from worker.database.ledger import Selection, StoredLetter
from worker.process.by_hand import by_hand
from worker.process.runtime import Runtime
from worker.reports.acts import By, Name
from worker.reports.words import instant
from worker.state.publishing import publish


class Retried(NamedTuple):
    """How many were published; how many of those looked at cannot be; how many of the selection are there still."""

    published: int
    kept: int
    left: int


def retry(runtime: Runtime, letter: StoredLetter, *, by: By | None = None, note: str | None = None) -> bool:
    """Publishes the letter's document again. False: only its beginning was kept, so nothing was done."""
    if not letter.whole:
        return False
    _forget_message(runtime, letter)
    with by_hand(runtime, by) as hand:
        hand.record("dead letters retried", app=letter.letter.app, detail=_of(letter), note=note)
        _publish(hand.runtime, letter)
    return True


def retry_selected(
    runtime: Runtime, which: Selection, limit: int, *, by: By | None = None, note: str | None = None
) -> Retried:
    """Publishes the oldest `limit` of those selected."""
    published = kept = 0
    try:
        for id in runtime.ledger.select(which, limit):
            letter = runtime.ledger.dead_letter(id)
            # A batch is no event: published, it would come back as another dead letter.
            well = letter is not None and letter.whole and not letter.letter.entry.startswith("batch:")
            if letter is not None and well:
                _forget_message(runtime, letter)
                _publish(runtime, letter)
            published, kept = published + well, kept + (not well)
        left = runtime.ledger.count(which)
    finally:
        # What was published before a fault is in the log too.
        _record(runtime, "dead letters retried", which.app, _meant(which) | {"letters": published}, by, note)
    return Retried(published, kept, left)


def drop(runtime: Runtime, letter: StoredLetter, *, by: By | None = None, note: str | None = None) -> bool:
    """Deletes the letter for good. False: it is gone already."""
    with by_hand(runtime, by) as hand:
        dropped = hand.runtime.ledger.drop_letter(letter.id)
        if dropped:
            detail = _of(letter) | {"error": letter.letter.error}
            hand.record("dead letters dropped", app=letter.letter.app, detail=detail, note=note)
    return dropped


def drop_selected(runtime: Runtime, which: Selection, *, by: By | None = None, note: str | None = None) -> int:
    """Deletes all that are selected; returns how many."""
    dropped = runtime.ledger.drop_letters(which)
    _record(runtime, "dead letters dropped", which.app, _meant(which) | {"letters": dropped}, by, note)
    return dropped


def _forget_message(runtime: Runtime, stored: StoredLetter) -> None:
    """So that its id counts as new. Committed before it is published: the intake would wait for the row."""
    letter = stored.letter
    if letter.app is not None and letter.event_id is not None:
        runtime.ledger.forget_message(letter.app, letter.event_id)


def _publish(runtime: Runtime, stored: StoredLetter) -> None:
    publish(runtime.keyspace, [stored.letter.document])
    runtime.ledger.drop_letter(stored.id)


def _record(
    runtime: Runtime, act: Name, app: str | None, detail: dict[str, Any], by: By | None, note: str | None
) -> None:
    with by_hand(runtime, by) as hand:
        hand.record(act, app=app or None, detail=detail, note=note)


def _of(letter: StoredLetter) -> dict[str, Any]:
    return {"letter": letter.id, "event": letter.letter.event_id}


def _meant(which: Selection) -> dict[str, Any]:
    """What the selection says beside the app."""
    before = None if which.before is None else instant(which.before, to="seconds")
    given = {"error": which.error, "upto": which.upto, "older_than": before}
    return {name: value for name, value in given.items() if value is not None}
