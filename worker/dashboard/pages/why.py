"""Why somebody got a push of an event, or not."""

from typing import Final

from worker.core.ledger_entry import decides
from worker.dashboard.page import Ask, Invalid, Missing, Page, Panel, Values
from worker.database import lookups
from worker.reports.delivery_report import Facts, Person, Report, headline, heads, people, published, unknown
from worker.reports.looking_up import look_up
from worker.reports.reasons import MEMBERS

#: Candidates that are listed.
SHOWN: Final = 60


def _found(ask: Ask) -> tuple[str, str, Facts, Report]:
    app, event = ask.query.get("app", ""), ask.query.get("event", "")
    if not (app and event):
        raise Invalid("Of which event? Look for its id in the box above.")
    facts, made = look_up(ask.stores.keyspace, ask.stores.pool, app, event, secrets=False)
    if not facts.known:
        raise Missing(unknown(app, event, facts))
    return app, event, facts, made


def show(ask: Ask) -> Values:
    app, event, facts, made = _found(ask)
    with ask.stores.pool.connection() as db:
        said = lookups.said(db, [(app, event)]).get((app, event))
    return {"app": app, "event": event, "said": said, "headline": headline(facts, made), "letters": facts.letters}


def report(ask: Ask) -> Values:
    app, event, facts, made = _found(ask)
    named = people(facts, made)
    became: dict[tuple[str, str], int] = {}
    for one in named:
        became[one.state, one.reason] = became.get((one.state, one.reason), 0) + 1
    for reason, n in made.counted.items():
        became["skipped", reason] = became.get(("skipped", reason), 0) + n
    until = made.answered_until()
    state, user = ask.query.get("state", ""), ask.query.get("user", "")
    chosen = [one for one in named if state in ("", one.state) and user in ("", one.user)]
    return {
        "app": app,
        "event": event,
        "published": None if facts.recorded is None else published(facts.recorded.entry),
        "taken": None if facts.recorded is None else facts.recorded.at,
        "repeats": 0 if facts.recorded is None else facts.recorded.repeats,
        "expanded": [part.at for part in facts.parts if decides(part.name)],
        "considered": made.considered + len(made.delayed),
        "pushed": len(made.pushed),
        "providers": [
            (facts.names[id], states, until[id]) for id, states in made.by_provider().items() if id in facts.names
        ],
        "scheduled": facts.scheduled,
        "held": _held(named),
        "notes": [] if facts.parts else heads(facts),
        "people": chosen[:SHOWN],
        "more": len(chosen) - SHOWN,
        "chosen": state,
        "became": sorted(became.items(), key=lambda item: -item[1]),
        "whole": sum(became.values()),
        "because": MEMBERS,
    }


def _held(named: list[Person]) -> list[tuple[str, int]]:
    """What notifications wait for, in words, and how many do."""
    found: dict[str, int] = {}
    for one in named:
        for _, state, words in one.devices:
            if state == "waits":
                found[words] = found.get(words, 0) + 1
    return sorted(found.items(), key=lambda item: -item[1])[:5]


PAGE = Page("why", "/why", "Why", show, panels=[Panel("report", report)], under="log")
