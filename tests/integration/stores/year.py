"""A system of some age: the rows that retention has left of all that happened, and what each statement costs on it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import pytest

from worker.database.postgres import Connection

#: Days for which rows of a kind are there.
MESSAGES, LETTERS, HISTORY, INCIDENTS, AUDIT, DEVICES = 30, 90, 35, 35, 365, 90
#: Tables whose rows come with time: nothing reads all of one.
AGE: Final = frozenset(
    {
        *("messages", "ledger", "device_history", "history", "dead_letters", "audit", "incidents", "threads"),
        *("thread_participants", "members", "devices", "mutes", "preferences", "quiet", "message_changes", "channels"),
        *("member_past", "mute_past", "channel_past", "device_use"),
    }
)
#: By statement: `%(n)s` is the number of days, `%(day)s` the number of messages a day.
_FILLED: Final = (
    # Who is there does not depend on the age.
    "INSERT INTO carillon.channels (app, id, name) SELECT 'demo', 'old-' || n, 'Old' FROM generate_series(1, 500) n",
    (
        "INSERT INTO carillon.members (app, channel, user_id, at, present)"
        " SELECT 'demo', 'old-' || n %% 500, 'u' || n, 1, true FROM generate_series(1, 20000) n"
    ),
    (
        "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
        " SELECT 'demo', 'old' || n, 'u' || n, 1, 1790000000000, true FROM generate_series(1, 20000) n"
    ),
    "INSERT INTO carillon.device_use (device, accepted) SELECT id, current_date FROM carillon.devices",
    # What happened, as old as it may be.
    (
        "INSERT INTO carillon.messages (app, event_id, position, entry, message_id, channel, sender, seen_at, written)"
        " SELECT 'demo', 'old' || d || '-' || n, d * 1000000 + n, '17' || d || '-' || n, 'm' || d || '-' || n,"
        " 'old-' || n %% 500, 'u' || n, now() - make_interval(days => d, secs => n), 0"
        " FROM generate_series(0, least(%(n)s, 30) - 1) d, generate_series(1, %(day)s) n"
    ),
    (
        "INSERT INTO carillon.ledger (app, event_id, part, at, day, account, moment, provider)"
        " SELECT 'demo', 'old' || d || '-' || n, part, now() - make_interval(days => d, secs => n),"
        " (now() AT TIME ZONE 'utc')::date - d,"
        " CASE part WHEN 'page:0' THEN jsonb_build_object('pushed', jsonb_build_array('u' || n), 'considered', 1)"
        " ELSE jsonb_build_object('accepted', jsonb_build_array(jsonb_build_array('u' || n, n))) END,"
        " 0, CASE part WHEN 'page:0' THEN 0 ELSE 1 END"
        " FROM generate_series(0, least(%(n)s, 30) - 1) d, generate_series(1, %(day)s) n, unnest(ARRAY['page:0', 'batch:x']) part"
    ),
    (
        "INSERT INTO carillon.threads (app, channel, id, root_seen, people, day)"
        " SELECT 'demo', 'old-' || n %% 500, 'm' || d || '-' || n, true, 2, current_date - d"
        " FROM generate_series(0, least(%(n)s, 30) - 1) d, generate_series(1, %(day)s / 10) n"
    ),
    (
        "INSERT INTO carillon.thread_participants (app, thread, channel, user_id, since)"
        " SELECT app, id, channel, 'u' || p, 1 FROM carillon.threads, generate_series(1, 2) p"
    ),
    (
        "INSERT INTO carillon.members (app, channel, user_id, at, present, changed_on)"
        " SELECT 'demo', 'old-' || n %% 500, 'gone' || d || '-' || n, 1, false, current_date - d"
        " FROM generate_series(0, least(%(n)s, 30) - 1) d, generate_series(1, %(day)s / 20) n"
    ),
    (
        "INSERT INTO carillon.device_history (device, what, user_id, at, day)"
        " SELECT n, 'registered', 'u' || n, now() - make_interval(days => d), (now() AT TIME ZONE 'utc')::date - d"
        " FROM generate_series(0, least(%(n)s, 90) - 1) d, generate_series(1, %(day)s / 10) n"
    ),
    (
        "INSERT INTO carillon.dead_letters (entry, app, event_id, error, document, size, at)"
        " SELECT d || '-' || n, 'demo', 'bad' || d || '-' || n, 'bad', 'x', 1, now() - make_interval(days => d)"
        " FROM generate_series(0, least(%(n)s, 90) - 1) d, generate_series(1, 20) n"
    ),
    (
        "INSERT INTO carillon.audit (who, host, act, app, at)"
        " SELECT 'mira', 'h', 'act ' || n, 'demo', now() - make_interval(days => d)"
        " FROM generate_series(0, least(%(n)s, 365) - 1) d, generate_series(1, 10) n ORDER BY d DESC"
    ),
    (
        "INSERT INTO carillon.incidents (name, app, severity, what, began, ended)"
        " SELECT 'late', 'demo', 'warning', 'x', now() - make_interval(days => d, mins => n), now() - make_interval(days => d)"
        " FROM generate_series(0, least(%(n)s, 35) - 1) d, generate_series(1, 20) n"
    ),
    (
        "INSERT INTO carillon.history (step, at, app, provider, seconds, counts, peaks)"
        " SELECT 900, (extract(epoch FROM now())::bigint / 900 - s) * 900, app, p, 900, '{\"accepted\": 5}', '{}'"
        " FROM generate_series(192, 96 * least(%(n)s, 35)) s, (VALUES ('', 0), ('demo', 0), ('demo', 1)) w (app, p)"
    ),
    (
        "INSERT INTO carillon.history (step, at, app, provider, seconds, counts, peaks)"
        " SELECT 180, (extract(epoch FROM now())::bigint / 180 - s) * 180, app, p, 180, '{\"accepted\": 5}', '{}'"
        " FROM generate_series(40, 960) s, (VALUES ('', 0), ('demo', 0), ('demo', 1)) w (app, p)"
    ),
)


def fill(db: Connection, days: int, messages: int) -> None:
    """A system that is so many days old, with so many messages a day. What it dropped when it was time is not there."""
    for name, kept in (("ledger", MESSAGES), ("device_history", DEVICES)):
        for (part,) in db.execute("SELECT part FROM carillon.days_of(%s::regclass)", (f"carillon.{name}",)).fetchall():
            db.execute(f"DROP TABLE carillon.{part}".encode())
        for at in (*range(-min(days, kept), 0, 7), 0):  # as the ticks of those days
            db.execute("SELECT carillon.keep_days(%s, 10000, (now() AT TIME ZONE 'utc')::date + %s)", (name, at))
    for statement in _FILLED:
        db.execute(statement.encode(), {"n": days, "day": messages})
    db.execute("ANALYZE")


@dataclass
class Costs:
    """Of each statement: the most pages that a call touched, and the tables of age of which it read very many rows one by one."""

    pages: dict[str, int] = field(default_factory=dict)
    scans: dict[str, set[str]] = field(default_factory=dict)


@contextmanager
def explained(monkeypatch: pytest.MonkeyPatch, *, scanned: int) -> Iterator[Costs]:
    """Runs each statement of the product twice: first as EXPLAIN ANALYZE, and nothing of that stays."""
    costs, execute, busy = Costs(), psycopg.Connection.execute, list[int]()

    def run(self: Connection, query: Any, *args: Any, **more: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else str(query)
        if not busy and re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", text) and "advisory" not in text:
            busy.append(1)
            try:
                with self.transaction(force_rollback=True):
                    explain = b"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + text.encode()
                    [(found,)] = execute(self, explain, *args).fetchall()
                _note(costs, text, found[0]["Plan"], scanned)
            finally:
                busy.pop()
        return execute(self, query, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", run)
        yield costs


def _note(costs: Costs, text: str, plan: dict[str, Any], scanned: int) -> None:
    statement = re.sub(r"\s+", " ", text)
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    costs.pages[statement] = max(pages, costs.pages.get(statement, 0))
    for node in _nodes(plan):
        rows = (node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0)) * node.get("Actual Loops", 1)
        table = re.sub(r"_(\d{8}|default|before)$", "", node.get("Relation Name", ""))
        if node["Node Type"] == "Seq Scan" and table in AGE and rows > scanned:
            costs.scans.setdefault(statement, set()).add(table)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for one in plan.get("Plans", ()):
        yield from _nodes(one)
