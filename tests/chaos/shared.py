"""Whether the counters that the fleet shares say what the ledger says."""

from collections import Counter
from typing import Any

import psycopg

from worker.core.outcome_label import OVERTOOK
from worker.database import tallies

#: What both have. The ledger has no messages and no jobs, and enters a wait once.
_OUTCOMES = ("accepted", "overtaken", "retry", "retired", "dropped", "parked")
_DECISIONS = ("considered", "pushed", "skipped", "skipped_message")


def differences(db: psycopg.Connection[Any]) -> list[str]:
    """The counters that have another number than the ledger, in words."""
    counted = {
        (row.app, row.provider, name): int(n)
        for row in tallies.read(db)
        for name, n in row.totals.items()
        if name.partition(".")[0] in (_OUTCOMES if row.provider else _DECISIONS)
        and ("." in name or name in ("accepted", "overtaken", "considered", "pushed"))
    }
    kept = Counter({key: n for key, n in in_ledger(db).items() if not key[2].startswith("limited.")})
    return [
        f"{name} of provider {provider} of {app}: {counted.get((app, provider, name), 0)},"
        f" and {kept[app, provider, name]} in the ledger"
        for app, provider, name in sorted(counted.keys() | kept.keys())
        if counted.get((app, provider, name), 0) != kept[app, provider, name]
    ]


def in_ledger(db: psycopg.Connection[Any]) -> Counter[tuple[str, int, str]]:
    """The ledger's own account by app, provider and counter: outcomes of jobs, and decisions about members."""
    kept: Counter[tuple[str, int, str]] = Counter()
    entries = db.execute(
        "SELECT app, provider, part, account, coalesce(message_id, '') <> '' FROM carillon.ledger"
        " LEFT JOIN carillon.messages USING (app, event_id)"
    ).fetchall()
    for app, provider, part, account, of_channel in entries:
        if part.startswith("batch:"):
            for label, jobs in account.items():
                kept[app, provider, "overtaken" if label == OVERTOOK else label] += len(jobs)
            continue
        if "message" in account:
            kept[app, 0, f"skipped_message.{account['message']}"] += 1
        if of_channel:  # of a targeted push nobody decides
            kept[app, 0, "considered"] += account.get("considered", 0)
            kept[app, 0, "pushed"] += len(account.get("pushed", ()))
            for reason, users in account.get("skipped", {}).items():
                kept[app, 0, f"skipped.{reason}"] += len(users)
            for reason, n in account.get("rest", {}).items():
                kept[app, 0, f"skipped.{reason}"] += n
    return kept
