"""After a year each statement costs what it did in the first days, and none reads all of a table that grows with time."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp
from tests.integration.stores.year import Costs, explained, fill
from tests.valkey import emptied
from worker import facts
from worker.database import audit, history, incidents, lookups
from worker.database.migrate import migrate
from worker.metrics.shared import Addresses, Target
from worker.reports import history as samples
from worker.reports import push_log
from worker.reports.got_and_missed import of_user
from worker.reports.looking_up import look_up
from worker.reports.reading import read
from worker.reports.watch import Watch

#: Messages a day; rows that one statement may read one by one, and pages that it may touch more than in the first days.
MESSAGES, SCANNED, MORE = 400, 2_500, 400
DAY = 86_400


def works(pipeline: Pipeline) -> None:
    """What workers do for chat servers: events of every kind are applied, expanded and delivered, and their outcomes recorded."""
    pipeline.member("general", "leia", "han", "luke")
    pipeline.publish(
        message(id="e1", message_id="m1", mentioned=["han"]),
        message(id="e2", message_id="m2", parent_id="m1", sender="han"),
        message(id="e3", message_id="m3", channel="old-7", sender="u7"),
        ev.UserMuted(**stamp(), user="han", target="leia"),
        ev.PreferencesUpdated(**stamp(), user="luke", level="mentions"),
        ev.MemberRemoved(**stamp(), channel=ev.ChannelId(id="general"), users=["luke"]),
        ev.MessageDeleted(**stamp(), channel=ev.ChannelId(id="general"), message=ev.MessageId(id="m2")),
    )
    pipeline.run()
    while pipeline.ledger.flush(pipeline.journal):
        pass


def ticks(pipeline: Pipeline) -> None:
    """What the tick deletes and counts, and what is looked for each few seconds."""
    pool = pipeline.pool
    pipeline.ledger.prune(30)
    facts.forget_old(pool, 30)
    pipeline.ledger.forget_letters(90)
    audit.forget(pool)
    incidents.forget(pool, seconds=0.5)
    pipeline.upkeep.prune(30, bite=1_000)
    samples.Sampler(pipeline.keyspace, pool).sample()
    history.roll_up(pool, time.time())
    Watch(pipeline.keyspace, pool).look()


def people_look(pipeline: Pipeline) -> None:
    """What commands, the dashboard and Prometheus ask."""
    pool, since = pipeline.pool, time.time() - 3_600
    look_up(pipeline.keyspace, pool, "demo", "e1")
    of_user(pipeline.keyspace, pool, "demo", ["han"], since)
    push_log.read(pool, push_log.Filter(since, app="demo"))
    push_log.read(pool, push_log.Filter(since, user="u5", app="demo"))
    audit.newest(pool, audit.Which(), 50)
    pipeline.ledger.dead_letters(limit=20, app="demo")
    with pool.connection() as db:
        samples.read(db, "24h", [("demo", 0)], now=time.time())
        incidents.read(db, since=datetime.now(UTC) - timedelta(days=1))
        lookups.users_named(db, ["demo"], "han")
        lookups.devices_of(db, "demo", "han", 10)
        lookups.history(db, [1], 10)
        lookups.events_named(db, ["demo"], "e1", 10)
        history.providers(db, time.time())
        read(pipeline.keyspace, db)
    target = Target(Addresses(pipeline.redis_url, pipeline.postgres_url, pipeline.postgres_url), apps=200)
    target.pages()["/metrics"]()
    target.close()


def costs(postgres_url: str, redis_url: str, days: int, monkeypatch: pytest.MonkeyPatch) -> Costs:
    pipeline = Pipeline(postgres_url, emptied(redis_url))
    try:
        with pipeline.pool.connection() as db:
            fill(db, days, MESSAGES)
        with explained(monkeypatch, scanned=SCANNED) as found:
            works(pipeline)
            ticks(pipeline)
            people_look(pipeline)
        assert len(pipeline.apns.sent) >= 4
    finally:
        pipeline.close()
    return found


def test_each_statement_costs_after_a_year_what_it_costs_in_the_first_days(
    empty_postgres_url: str, postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = costs(postgres_url, redis_url, 365, monkeypatch)
    assert len(old.pages) > 60
    assert old.scans == {}
    migrate(empty_postgres_url)
    young = costs(empty_postgres_url, redis_url, 2, monkeypatch)
    grown = {
        of: (young.pages[of], n)
        for of, n in old.pages.items()
        if of in young.pages and n > _times(of) * young.pages[of] + MORE
    }
    assert grown == {}


def _times(statement: str) -> int:
    """Days of the ledger and of the devices' history have a table each, of 30 and of 90 days at most, and a week ahead."""
    return 10 if re.search(r"carillon\.(ledger|device_history|keep_days)\b", statement) else 2
