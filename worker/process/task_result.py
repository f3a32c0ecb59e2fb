"""What one task did, as Flower shows it: counts by outcome for each app and provider. No ids, tokens or texts."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from worker.process.celery_request import show_arguments

Result = dict[str, Any]
#: Apps with their providers, and outcomes of one, that are shown: those with the most; and characters of a name.
_PLACES, _OUTCOMES, _NAME = 5, 6, 60


class Work:
    """Counts while a task runs. Its result and the arguments that Flower shows are made once, at its end."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, app: str, provider: str | None, counts: Mapping[str, int]) -> None:
        self._counts[_cut(app) if provider is None else f"{_cut(app)}/{_cut(provider)}"].update(counts)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def result(self, task_id: str | None) -> Result:
        """`{"chat/apns": {"accepted": 480, "retired.Unregistered": 20}, "and": "12 more"}`; shows where, as arguments, too."""
        if not self._counts:
            return {}
        every = sorted(self._counts.items(), key=lambda one: -one[1].total())
        more = _more(len(every) - _PLACES)
        show_arguments(task_id, ", ".join([*(place for place, _ in every[:_PLACES]), *more.values()]))
        return {place: _most(counts) for place, counts in every[:_PLACES]} | more


def _most(counts: Counter[str]) -> Result:
    # Codes of stored outcomes outlive the words of the glossary.
    shown = {label.replace("parked", "held_back", 1): n for label, n in counts.most_common(_OUTCOMES)}
    return shown | _more(len(counts) - _OUTCOMES)


def _more(number: int) -> Result:
    return {"and": f"{number:,} more"} if number > 0 else {}


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[:_NAME]}…"
