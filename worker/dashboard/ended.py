"""What became of notifications and why members were not pushed to, in words, from counters. Pure."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.reports.history import NO_OUTCOME
from worker.reports.reasons import DROPS, MEMBERS, MESSAGES

#: By the beginning of a counter's name: the colour of its bar, and its words. In the order of the table.
_OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "accepted": ("accepted", "Accepted"),
    "parked": ("held", "Held back, its provider is stopped"),
    "retired": ("refused", "Refused, the device is retired"),
    "dropped": ("refused", "Given up"),
    "retry": ("retry", "To be tried again"),
    "limited": ("retry", "Waited for a rate"),
}


class Ended(NamedTuple):
    """A row. `code` is the counter's name; `outcome` and `reason` are its parts, for the push log."""

    words: str
    code: str
    outcome: str
    reason: str | None
    colour: str
    number: int


def outcomes(counts: Mapping[str, float]) -> list[Ended]:
    """By outcome, then the most frequent first."""
    found = []
    for name, n in counts.items():
        outcome, _, reason = name.partition(".")
        if n > 0 and outcome in _OUTCOMES and (reason or outcome == "accepted") and name != NO_OUTCOME:
            colour, words = _OUTCOMES[outcome]
            if outcome == "dropped":
                words = f"{words}: {DROPS.get(reason, 'refused by the provider')}"
            found.append(Ended(words, name, outcome, reason or None, colour, int(n)))
    order = list(_OUTCOMES)
    return sorted(found, key=lambda one: (order.index(one.outcome), -one.number, one.code))


def skips(counts: Mapping[str, float]) -> list[Ended]:
    """Why members were not pushed to, the most frequent reason first; then why whole messages were not."""
    members = _skipped(counts, "skipped.", MEMBERS, "")
    return members + _skipped(counts, "skipped_message.", MESSAGES, "Nobody: ")


def candidates(counts: Mapping[str, float]) -> int:
    """Members about whom was decided."""
    return int(counts.get("considered", 0))


def _skipped(counts: Mapping[str, float], beginning: str, words: Mapping[str, str], before: str) -> list[Ended]:
    found = []
    for name, n in counts.items():
        if name.startswith(beginning) and n > 0:
            reason = name.removeprefix(beginning)
            text = words.get(reason, reason.replace("_", " "))
            shown = f"{before}{text}" if before else f"{text[:1].upper()}{text[1:]}"
            found.append(Ended(shown, reason, "skipped", reason, "skipped", int(n)))
    return sorted(found, key=lambda one: (-one.number, one.code))
