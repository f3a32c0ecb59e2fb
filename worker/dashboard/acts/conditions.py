"""“I am on it”: who takes care of a condition. It hides nothing and changes nothing; the audit log is where it is kept."""

from typing import Final

from worker.dashboard.acts.history import by
from worker.dashboard.page import Act, Ask, Confirmation, Missing
from worker.process.by_hand import by_hand
from worker.reports import watch
from worker.reports.conditions import Condition


def _condition(ask: Ask) -> Condition:
    open_now = {one.key: one for one in watch.current(ask.stores.fleet).conditions}
    found = open_now.get(ask.query.get("key", ""))
    if found is None:
        raise Missing("This condition has ended.")
    return found


def _ask_take(ask: Ask) -> Confirmation:
    one = _condition(ask)
    consequence = f"{one.about}: {one.what}. Your name and note are shown with it until it ends. Nothing else changes."
    return Confirmation("Are you on it?", consequence, "I am on it", ask.back(), one.key)


def _take(ask: Ask, note: str) -> str:
    one = _condition(ask)
    with by_hand(ask.stores.acting, by(ask)) as hand:
        hand.record("condition taken", app=one.app, target=one.key, note=note)
    return f"You are on it: {one.about}"


ACTS: Final = (Act("take", "/conditions/take", "operator", _ask_take, _take),)
