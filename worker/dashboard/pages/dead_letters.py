"""Documents that could not be processed: why, and what to do with them."""

from typing import Final

from worker.dashboard.page import Ask, Missing, Page, Panel, Values, after_id, keyset
from worker.database.ledger import Selection
from worker.reports.letters import without_texts

_ROWS: Final = 50


def selection(ask: Ask) -> Selection:
    """The letters that the query names: `app`, with `-` for those whose app is not known, and a part of the error."""
    app = ask.query.get("app") or None
    return Selection("" if app == "-" else app, error=ask.query.get("error") or None)


def rows(ask: Ask) -> Values:
    which, position, ledger = selection(ask), after_id(ask), ask.stores.ledger
    page = which if position is None else which._replace(upto=position - 1)
    shown = keyset(ledger.dead_letters(_ROWS + 1, which=page), _ROWS, lambda letter: [letter.id])
    given = {name: ask.query.get(name) or None for name in ("app", "error")}
    # What comes after the page was drawn is not among those that its buttons are about.
    newest = ledger.dead_letters(1, which=which)
    number = ledger.count(which._replace(upto=newest[0].id)) if newest else 0
    return {
        "letters": shown.rows,
        "older": shown.older,
        "given": given,
        "number": number,
        "may_change": ask.stores.may_change,
        "upto": newest[0].id if newest else None,
    }


def first(ask: Ask) -> Values:
    after_id(ask)
    return {}


def letter(ask: Ask) -> Values:
    id, may_change = int(ask.path["id"]), ask.stores.may_change
    if may_change:
        found = ask.stores.acting.ledger.dead_letter(id)
    else:
        found = next((one for one in ask.stores.ledger.dead_letters(1, which=Selection(upto=id)) if one.id == id), None)
    if found is None:
        raise Missing(
            f"There is no dead letter {ask.path['id']}. It was retried or dropped, as the audit log has it, or was too old."
        )
    return {
        "one": found,
        "document": without_texts(found.letter.document).split("\n") if may_change and found.whole else None,
        "may_change": may_change,
    }


PAGE = Page(
    "dead-letters",
    "/dead-letters",
    "Dead letters",
    show=first,
    panels=[Panel("rows", rows, every=10)],
    bar="Dead letters",
    key="d",
)
ONE = Page("dead-letter", "/dead-letters/{id:int}", "Dead letter", show=letter, under="dead-letters")
