"""What is exported of the shared state, on real engines: the right numbers, also while an engine is away, and no secret."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from producers import events as ev
from producers.partitions import LAYOUT_KEY, Layout, encoded, tags
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from tests.programs import needs
from tests.valkey import free_port
from worker.core.model import Answer
from worker.database import named_apps, tallies
from worker.database.lease import lease_of
from worker.metrics.families import FAMILIES
from worker.metrics.shared import Addresses, Target
from worker.reports.watch import Watch

SECRET = "the cargo is in bay 94"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@contextmanager
def target(pipeline: Pipeline, *, apps: int = 200, redis: str = "", postgres: str = "") -> Iterator[Target]:
    at = Addresses(redis or pipeline.redis_url, postgres or pipeline.postgres_url, postgres or pipeline.postgres_url)
    made = Target(at, apps=apps)
    try:
        yield made
    finally:
        made.close()


def scrape(target: Target) -> str:
    return target.pages()["/metrics"]().body.decode()


def read(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def sums(found: Samples, name: str, *by: str) -> Counter[tuple[str, ...]]:
    total: Counter[tuple[str, ...]] = Counter()
    for (family, labels), value in found.items():
        if family == name:
            total[tuple(dict(labels)[label] for label in by)] += int(value)
    return total


@pytest.fixture
def busy(pipeline: Pipeline) -> Pipeline:
    """Accepted, retired, dropped, held back, to be tried again, skipped; one message waits, and one provider is paused."""
    pipeline.member("general", "leia", "han", "luke", "again", "rey")
    pipeline.publish(ev.UserMuted(**stamp(), user="luke", target="leia"))
    answers = pipeline.apns.answers
    answers[token("han")] = [Answer(410, "Unregistered", int(START.timestamp() * 1000) + 1)]
    answers[token("again")] = [Answer(429, "TooManyRequests")]
    pipeline.publish(message(text=SECRET), message(id="silent", skip_push=True))
    pipeline.run()
    pipeline.breaker.stop(pipeline.provider.id, SECRET, pipeline.now, manual=True)
    pipeline.publish(message(id="waits", text=SECRET))
    pipeline.run()
    while pipeline.ledger.flush(pipeline.journal):
        pass
    Watch(pipeline.keyspace, pipeline.pool).look()
    return pipeline


def test_the_counters_are_those_of_the_pipeline(busy: Pipeline) -> None:
    with target(busy) as made:
        found = read(scrape(made))
    counts = busy.journal.counts("demo")
    assert of(found, "carillon_messages_expanded_total", app="demo") == counts["messages"] > 0
    assert of(found, "carillon_notifications_made_total", app="demo") == counts["jobs"] > 0
    outcomes = sums(found, "carillon_notifications_total", "app", "kind", "outcome", "reason")
    assert outcomes["demo", "apns", "accepted", ""] == counts["accepted"] > 0
    assert outcomes["demo", "apns", "retired", "Unregistered"] == counts["retired"] > 0
    assert sums(found, "carillon_notification_retries_total", "app")["demo",] == counts["retry"] > 0
    members = sums(found, "carillon_members_total", "decision")
    assert members["pushed",] == counts["pushed"] > 0
    assert members["skipped",] == sum(n for name, n in counts.items() if name.startswith("skipped.")) > 0
    assert sums(found, "carillon_messages_skipped_total", "reason") == {("skip_push",): 1}
    assert sums(found, "carillon_device_changes_total", "change")["registered",] == 5


def test_what_is_now_is_there(busy: Pipeline) -> None:
    with target(busy) as made:
        found = read(scrape(made))
    stopped = {"app": "demo", "provider": "apns", "kind": "apns", "scope": "provider", "reason": "provider_paused"}
    assert of(found, "carillon_provider_stopped", **stopped) == 1
    assert sums(found, "carillon_condition", "name", "app", "provider")["provider_paused", "demo", "apns"] == 1
    assert sums(found, "carillon_backlog_batches", "app", "state")["demo", "held"] >= 1
    assert sums(found, "carillon_backlog_bytes", "app", "state")["demo", "held"] > 0
    assert of(found, "carillon_providers", kind="apns") == 1
    assert (of(found, "carillon_redis_memory_bytes") or 0) > 0
    assert of(found, "carillon_leader") is not None
    assert set(sums(found, "carillon_scrape_part_up", "part").values()) == {1}


def test_O5_no_secret_and_no_id_is_in_it_and_every_metric_is_on_the_list(busy: Pipeline) -> None:
    with target(busy) as made:
        text = scrape(made)
    for planted in (SECRET, "bay 94", token("han"), "leia", "general", "silent", busy.secret_key):
        assert planted not in text
    families = {family.name for family in text_string_to_metric_families(text)}
    assert families <= {name.removesuffix("_total") for name in FAMILIES}
    labels = {label for _, of_sample in read(text) for label, _ in of_sample}
    assert labels <= {label for family in FAMILIES.values() for label in family.labels} | {"le"}


def test_promtool_finds_nothing_to_say(busy: Pipeline) -> None:
    with target(busy) as made:
        text = scrape(made)
    done = subprocess.run(
        [needs("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("away", "there", "missing"),
    [
        ({"redis": "redis://127.0.0.1:{}/0"}, {"counters", "postgres", "outbox", "conditions"}, {"backlog", "redis"}),
        (
            {"postgres": "postgresql://carillon@127.0.0.1:{}/none"},
            {"redis", "conditions"},
            {"counters", "backlog", "postgres", "outbox"},
        ),
    ],
)
def test_O6_a_scrape_has_what_can_be_read(
    busy: Pipeline, away: dict[str, str], there: set[str], missing: set[str]
) -> None:
    redis, postgres = (away.get(name, "").format(free_port()) for name in ("redis", "postgres"))
    with target(busy, redis=redis, postgres=postgres) as made:
        found = read(scrape(made))
    parts = {labels[0][1]: up for (name, labels), up in found.items() if name == "carillon_scrape_part_up"}
    assert {part for part, up in parts.items() if up} >= there
    assert {part for part, up in parts.items() if not up} >= missing


def counted(pipeline: Pipeline, **apps: int) -> None:
    with pipeline.pool.connection() as db, db.transaction():
        tallies.add(db, "ledger", {(app, 0): {"jobs": n} for app, n in apps.items()})


def test_only_the_busiest_have_their_names_and_no_counter_decreases_as_they_change(pipeline: Pipeline) -> None:
    def made(target: Target) -> Counter[tuple[str, ...]]:
        return sums(read(scrape(target)), "carillon_notifications_made_total", "app")

    counted(pipeline, a=100, b=50, c=1)
    with target(pipeline, apps=2) as first:
        assert made(first) == {("a",): 100, ("b",): 50, ("other",): 1}
    counted(pipeline, b=3, c=1_000)
    with target(pipeline, apps=2) as second:
        assert made(second) == {("a",): 100, ("c",): 0, ("other",): 1_001}, "what came before is where it was"
    counted(pipeline, b=5_000, c=10)
    with target(pipeline, apps=2) as third:
        assert made(third) == {("b",): 53, ("c",): 10, ("other",): 1_001 + 5_000}
    with pipeline.pool.connection() as db:
        rest = named_apps.read(db).sides["a"].rest
    assert rest == {0: {"jobs": 100}}


def test_names_are_chosen_where_postgres_takes_writes_and_stay_where_it_does_not(pipeline: Pipeline) -> None:
    counted(pipeline, a=100)
    with pipeline.pool.connection() as db:
        db.execute("SET default_transaction_read_only = on")
        named_apps.try_choose(db, 5, 0.0)
        assert named_apps.read(db).sides == {}
        db.execute("SET default_transaction_read_only = off")
        named_apps.try_choose(db, 5, 0.0)
        assert named_apps.read(db).sides["a"].named


def test_it_reads_the_new_partitions_once_they_were_changed(pipeline: Pipeline) -> None:
    with target(pipeline) as made:
        assert len(made._leases()) == 1
        pipeline.redis.set(LAYOUT_KEY, encoded(Layout(2, tags(4))))
        made.pages()["/healthz"]()
        assert made._leases() == [lease_of(p, tagged=True) for p in range(4)]
