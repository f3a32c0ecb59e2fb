"""Retry or drop a dead letter, or all that a filter selects."""

from typing import Final

from worker.dashboard.acts.history import by
from worker.dashboard.page import Act, Ask, Changed, Confirmation, Invalid, Missing
from worker.dashboard.pages.dead_letters import selection
from worker.database.ledger import Selection, StoredLetter
from worker.process import dead_letters
from worker.reports.words import counted

#: Letters that one retry publishes, within the time that an act has.
_AT_ONCE: Final = 200


def _letter(ask: Ask) -> StoredLetter:
    found = ask.stores.acting.ledger.dead_letter(int(ask.path["id"]))
    if found is None:
        raise Missing(f"There is no dead letter {ask.path['id']} any more.")
    return found


def _ask_retry(ask: Ask) -> Confirmation:
    one = _letter(ask)
    if not one.whole:
        raise Invalid("Only the beginning of this document is kept, so it cannot be published again.")
    consequence = (
        f"It is published once more, as if it came now, and is a dead letter no more. If its cause lasts, it comes back:"
        f" {one.letter.error}"
    )
    return Confirmation(f"Retry dead letter {one.id}?", consequence, "Retry it", ask.back())


def _retry(ask: Ask, note: str) -> str:
    one = _letter(ask)
    dead_letters.retry(ask.stores.acting, one, by=by(ask), note=note)
    return f"Dead letter {one.id} is published once more"


def _ask_drop(ask: Ask) -> Confirmation:
    one = _letter(ask)
    consequence = (
        f"The document is deleted for good, and nobody is notified of what is in it. Its error: {one.letter.error}"
    )
    return Confirmation(f"Drop dead letter {one.id}?", consequence, "Drop it", ask.back(), typed=str(one.id))


def _drop(ask: Ask, note: str) -> str:
    one = _letter(ask)
    if not dead_letters.drop(ask.stores.acting, one, by=by(ask), note=note):
        raise Changed("Somebody retried or dropped it just now.")
    return f"Dead letter {one.id} is dropped"


def _selected(ask: Ask) -> tuple[Selection, int]:
    """Those that were there when the page was drawn, and how many of them are there still."""
    upto = ask.query.get("upto", "")
    if not upto.isdecimal() or len(upto) > 18:
        raise Invalid("Which letters are meant? Open the page of dead letters again.")
    which = selection(ask)._replace(upto=int(upto))
    number = ask.stores.ledger.count(which)
    if not number:
        raise Missing("There are no such dead letters any more.")
    return which, number


def _ask_retry_all(ask: Ask) -> Confirmation:
    _, number = _selected(ask)
    now = min(number, _AT_ONCE)
    which = (
        f"The oldest {now} of {counted(number, 'document')} are" if now < number else f"{counted(number, 'document')}:"
    )
    consequence = (
        f"{which} published once more, as if they came now. Those whose cause lasts come back as dead letters."
    )
    return Confirmation(f"Retry {number:,} dead letters?", consequence, f"Retry {now:,}", ask.back(), str(number))


def _retry_all(ask: Ask, note: str) -> str:
    which, _ = _selected(ask)
    done = dead_letters.retry_selected(ask.stores.acting, which, _AT_ONCE, by=by(ask), note=note)
    cannot = f"; {done.kept:,} cannot be" if done.kept else ""
    return f"{counted(done.published, 'document is', 'documents are')} published once more{cannot}; {done.left:,} left"


def _ask_drop_all(ask: Ask) -> Confirmation:
    _, number = _selected(ask)
    which = counted(number, "document is", "documents are")
    consequence = f"{which} deleted for good, and nobody is notified of what is in them."
    version = str(number)
    return Confirmation(
        f"Drop {counted(number, 'dead letter')}?", consequence, f"Drop {number:,}", ask.back(), version, typed=version
    )


def _drop_all(ask: Ask, note: str) -> str:
    which, _ = _selected(ask)
    dropped = dead_letters.drop_selected(ask.stores.acting, which, by=by(ask), note=note)
    return f"{counted(dropped, 'dead letter is', 'dead letters are')} dropped"


ACTS: Final = (
    Act("retry-letter", "/dead-letters/{id:int}/retry", "operator", _ask_retry, _retry),
    Act("drop-letter", "/dead-letters/{id:int}/drop", "admin", _ask_drop, _drop),
    Act("retry-letters", "/dead-letters/retry", "operator", _ask_retry_all, _retry_all),
    Act("drop-letters", "/dead-letters/drop", "admin", _ask_drop_all, _drop_all),
)
