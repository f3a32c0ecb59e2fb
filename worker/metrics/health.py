"""`/healthz`: what `carillon health --alarms --json` says, for load balancers and monitors that ask over HTTP.

It is what the watch of the fleet found out last, so it costs a few milliseconds and agrees with every other place.
"""

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from worker.metrics.cached import Cached
from worker.metrics.http import Answer, Page
from worker.reports import watch
from worker.reports.conditions import Condition, find, word
from worker.reports.snapshot import Snapshot
from worker.reports.watch import Current
from worker.reports.words import instant
from worker.state.partition import Fleet

#: Seconds for which a look is good, and for which a probe waits for one.
_FRESH: Final = 1.0
_PATIENCE: Final = 5.0
_JSON: Final = "application/json"
_TIMES: Final = ("since", "until", "first_loss")
_FIELDS: Final = ("app", "provider", "since", "origin", "until", "place", "waiting", "first_loss", "figures")


def page(fleet: Callable[[], Fleet], alone: Callable[[], Current | None] = lambda: None) -> Page:
    """200, or 503 where a condition is critical. The JSON has the status, and the findings, the worst first.

    `alone` gives what this process has found by itself, if the fleet cannot look.
    """
    looked = Cached(lambda: alone() or watch.current(fleet()), seconds=_FRESH, patience=_PATIENCE)

    def answer() -> Answer:
        try:
            found = looked.get()
        except TimeoutError:
            found = Current(find(Snapshot(time.time(), redis_fault=f"no answer within {_PATIENCE:g} s")), (), (), None)
        status = found.conditions[0].severity if found.conditions else "ok"
        document = json.dumps({"status": status, "findings": _findings(found)}, ensure_ascii=False, indent=1)
        code = HTTPStatus.SERVICE_UNAVAILABLE if status == "critical" else HTTPStatus.OK
        return Answer(f"{document}\n".encode(), code, _JSON)

    return answer


def _findings(found: Current) -> list[dict[str, Any]]:
    names = {one.name for one in found.conditions}
    return [
        *(_of(one) for one in found.conditions),
        *(_finding(part, f"unknown, because it could not be checked: {why}", "warning") for part, why in found.unknown),
        *(_finding(one.part, one.value, None) for one in found.checks if not names & {*one.names}),
    ]


def _of(one: Condition) -> dict[str, Any]:
    fields = {name: getattr(one, name) for name in _FIELDS}
    times = {name: None if fields[name] is None else instant(fields[name], to="seconds") for name in _TIMES}
    return _finding(one.about, one.text, word(one.severity)) | {"condition": one.name} | fields | times


def _finding(part: str, text: str, severity: str | None) -> dict[str, Any]:
    """With the fields of `carillon health --json`. Without a severity it is well."""
    about = dict.fromkeys(("condition", *_FIELDS)) | {"origin": "", "place": "", "figures": ""}
    return {"part": part, "well": severity is None, "text": text, "severity": severity or "error"} | about
