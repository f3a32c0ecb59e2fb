"""What `carillon doctor` looks at, part by part. Changes nothing."""

import time
from collections.abc import Iterator
from typing import Final

from worker.cli import _checks
from worker.cli._checks import Finding
from worker.cli._session import app_named, session
from worker.core.model import Provider
from worker.database.postgres import missing_role_settings
from worker.process.runtime import Runtime
from worker.providers.base import SettingsError
from worker.providers.kinds import kind_of
from worker.reports.faults import sentence
from worker.reports.invariants import check_invariants
from worker.reports.words import counted
from worker.state.invariants import TooLargeError

#: Violations of invariants that are shown.
_SHOWN: Final = 20


def examine(app: str | None, timeout: float, *, workers: bool, deep: bool = False) -> list[Finding]:
    """Findings, the most basic first; what rests on a part that is away is not looked at."""
    lanes = ["urgent", "bulk"] if workers else []
    plan = _checks.Plan(lanes=lanes, beat=workers, engines=True, alarms=True, workers=workers, thorough=True)
    basic = _checks.examine(_checks.Plan(lanes=[], engines=True), timeout)
    if not all(finding.well for finding in basic):
        return _checks.examine(plan, timeout)  # what of it can be asked
    with session() as runtime:
        only = None if app is None else app_named(runtime, app).name
        every = runtime.registry.providers()
        opened = {id: p.readable for id, p in every.items()}
        ends = {id: end for id, p in every.items() if (end := kind_of(p).ends_at(p)) is not None}
        findings = _checks.examine(plan, timeout, _checks.Known(opened, ends))
        providers = [p for p in every.values() if only in (None, p.app)]
        findings += _pooler(runtime)
        findings += _state(runtime) if deep else ()
        if all(opened[p.id] for p in providers):  # else the conditions say which cannot
            findings.append(Finding("secrets", True, f"{counted(len(providers), 'credential')} can be read"))
        findings += [_provider(runtime, p, timeout) for p in providers if opened[p.id]]
    return [finding for finding in findings if only is None or finding.app in (None, only)]


def _pooler(runtime: Runtime) -> Iterator[Finding]:
    with runtime.pool.connection() as db:
        lines = missing_role_settings(db)
    if lines:
        text = "a pooler stands before Postgres, so the role needs the timeouts that our sessions have: "
        yield Finding("postgres pooler", False, text + " ".join(lines))


def _state(runtime: Runtime) -> Iterator[Finding]:
    """What docs/state.md says must hold."""
    try:
        with runtime.pool.connection() as db:
            # The conditions name those that do not answer.
            found = check_invariants(runtime.keyspace.answering()[0], db)
    except TooLargeError as much:
        yield Finding("state", False, f"not compared: {much}; try again when less waits", "warning")
        return
    if not found:
        yield Finding("state", True, "the pipeline's keys and rows agree")
    for one in found[:_SHOWN]:
        yield Finding("state", False, f"{one}: this is a fault of Carillon, report it with this line")
    if len(found) > _SHOWN:
        yield Finding("state", False, f"{len(found) - _SHOWN:,} more of these")


def _provider(runtime: Runtime, provider: Provider, timeout: float) -> Finding:
    part = f"provider {_named(provider)}"
    try:
        proof = runtime.clients.of(provider).prove(provider, deadline=timeout)
    except SettingsError as fault:
        return Finding(part, False, str(fault))
    except Exception as fault:  # noqa: BLE001 - whatever it is, the other providers are still worth a look
        return Finding(part, False, f"could not be asked: {sentence(fault)}")
    end = kind_of(provider).ends_at(provider) if proof.well else None
    yet = "" if end is None else f", for {counted(round((end - time.time()) / 86_400), 'day')} yet"
    return Finding(part, proof.well, f"{proof.text}{yet}")


def _named(provider: Provider) -> str:
    return f"{provider.name!r} of app {provider.app!r}"
