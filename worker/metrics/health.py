"""`/healthz`: what `carillon health --alarms --json` finds, for load balancers and monitors that ask over HTTP."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from worker.database.postgres import Pool
from worker.metrics.cached import Cached
from worker.metrics.engines import Engines
from worker.metrics.http import Answer, Page
from worker.reports import watch
from worker.reports.conditions import Condition, find, word
from worker.reports.faults import sentence
from worker.reports.reading import Reading, read
from worker.reports.words import instant
from worker.state.redis import Error, Redis

#: Seconds for which a look is good, and for which a probe waits for one.
_FRESH: Final = 2.0
_PATIENCE: Final = 5.0
#: Severities with which everything flows.
_FLOWS: Final = ("warning", "notice")
_JSON: Final = "application/json"

Finding = Mapping[str, Any]


def page(engines: Engines, redis: Callable[[], Redis], pool: Callable[[], Pool]) -> Page:
    """200, or 503 where a finding is critical. `redis` and `pool` are called where these engines answer."""
    looked = Cached(lambda: _findings(engines, redis, pool), seconds=_FRESH, patience=_PATIENCE)

    def answer() -> Answer:
        try:
            findings = looked.get()
        except TimeoutError:
            findings = [_finding("engines", f"no answer within {_PATIENCE:g} s", "error")]
        critical = any(one["severity"] not in _FLOWS for one in findings)
        status = "critical" if critical else "warning" if findings else "ok"
        document = json.dumps({"status": status, "findings": findings}, ensure_ascii=False, indent=1)
        code = HTTPStatus.SERVICE_UNAVAILABLE if critical else HTTPStatus.OK
        return Answer(f"{document}\n".encode(), code, _JSON)

    return answer


def _findings(engines: Engines, redis: Callable[[], Redis], pool: Callable[[], Pool]) -> list[Finding]:
    """What is not well: engines that are away, conditions, and what could not be looked at."""
    faults = engines.faults()
    reading, unknown = look(faults, redis, pool)
    return [
        *(_finding(engine, fault, "error") for engine, fault in faults.items() if fault is not None),
        *(_of(one) for one in _conditions(reading, None if faults.get("redis") else redis())),
        *(_finding(part, f"unknown, because it could not be checked: {why}", "warning") for part, why in unknown),
    ]


def _conditions(reading: Reading, client: Redis | None) -> list[Condition]:
    try:
        return find(reading.snapshot) if client is None else watch.agreed(reading, watch.known(client))
    except Error:
        return find(reading.snapshot)


def look(
    faults: Mapping[str, str | None], redis: Callable[[], Redis], pool: Callable[[], Pool]
) -> tuple[Reading, list[tuple[str, str]]]:
    """The conditions' snapshot of the engines without a fault; and what could not be read of it, with why."""
    client = None if faults.get("redis") else redis()
    if faults.get("postgres"):
        reading = read(client, None)
        return reading, list(reading.unknown)
    try:
        with pool().connection() as db:
            reading = read(client, db)
            return reading, list(reading.unknown)
    except Exception as fault:  # noqa: BLE001 - whatever it was, Redis is still worth a look
        reading = read(client, None)
        return reading, [*reading.unknown, ("postgres", sentence(fault))]


def _of(one: Condition) -> Finding:
    times = {name: None if at is None else instant(at) for name, at in (("since", one.since), ("until", one.until))}
    about = {"condition": one.name, "app": one.app, "provider": one.provider, "origin": one.origin}
    return _finding(one.about, one.text, word(one.severity)) | about | times


def _finding(part: str, text: str, severity: str) -> dict[str, Any]:
    """With the fields of `carillon health --json`."""
    fields = ("condition", "app", "provider", "since", "origin", "until")
    return {"part": part, "well": False, "text": text, "severity": severity} | dict.fromkeys(fields)
