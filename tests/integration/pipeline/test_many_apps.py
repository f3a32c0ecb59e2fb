"""With thousands of apps: what is asked after a change, and each second, in numbers of rows and commands."""

from collections.abc import Callable
from typing import Any

import pytest

from producers.events import app_stream
from tests.integration.pipeline.harness import Pipeline
from tests.integration.pipeline.test_rounds import ids, says
from worker.core.model import AppSettings
from worker.pipeline import rounds
from worker.pipeline.apps import Apps
from worker.reports.reading import read
from worker.state.breaker import Breaker
from worker.state.limiter import Limiter
from worker.state.origins import Origins

MANY = 3_000


@pytest.fixture
def many(pipeline: Pipeline) -> Pipeline:
    """Apps with two providers each that are copies of the one of `demo`, and a template for each of these."""
    with pipeline.pool.connection() as db:
        db.execute("INSERT INTO carillon.apps (name) SELECT 'app-' || n FROM generate_series(1, %s) n", (MANY,))
        columns = (
            "environment, topic, team_id, key_id, credential, host, port, ca, kind, password, url, signing, settings"
        )
        db.execute(
            f"INSERT INTO carillon.providers (app, name, {columns}) SELECT a.name, of, {columns.replace('kind', 'p.kind')}"
            " FROM carillon.apps a, carillon.providers p, unnest(ARRAY['one', 'two']) of WHERE a.name <> 'demo'".encode()
        )
        db.execute(
            "INSERT INTO carillon.templates (provider_id, kind, locale, document)"
            " SELECT id, '', '', '{\"aps\": {\"alert\": \"hello\"}}' FROM carillon.providers"
        )
    return pipeline


def commands(pipeline: Pipeline, run: Callable[[], Any]) -> int:
    """How many commands Redis gets while it runs, those of scripts included."""

    def calls() -> int:
        return sum(of["calls"] for of in pipeline.redis.info("commandstats").values())

    before = calls()
    run()
    return int(calls() - before - 1)


def test_after_a_change_only_its_app_is_read(many: Pipeline) -> None:
    apps = Apps(many.registry, ttl=0.0)
    assert len(apps.names()) == MANY + 1 and len(apps.providers()) == 2 * MANY + 1
    first = many.registry.snapshot()
    assert many.registry.snapshot(first.version)[1:5] == (frozenset(), {}, {}, [])
    many.registry.save_app(AppSettings("app-7", max_age=60))
    found = many.registry.snapshot(first.version)
    assert (len(found.apps), len(found.providers), len(found.templates)) == (1, 2, 2)
    assert apps.app("app-7") == AppSettings("app-7", max_age=60)
    with many.pool.connection() as db:  # by hand
        db.execute(
            "UPDATE carillon.templates SET document = '{}' WHERE provider_id = (SELECT max(id) FROM carillon.providers)"
        )
    found = many.registry.snapshot(found.version)
    assert (len(found.apps), len(found.providers), len(found.templates)) == (1, 2, 2)


def test_templates_are_compiled_for_an_app_that_needs_them(many: Pipeline) -> None:
    apps = Apps(many.registry)
    assert len(apps.templates_of("app-9")) == 2
    assert set(apps._compiled) == {"app-9"}


def test_credentials_are_decrypted_for_an_app_that_needs_them(many: Pipeline) -> None:
    apps = Apps(many.registry)
    assert set(apps.providers_of("app-9")) == {"one", "two"} and apps.providers_of("nobody") == {}
    assert {provider.app for _, provider in apps._opened.values() if provider} == {"app-9"}
    assert len(apps._opened) == 2
    assert apps.provider(many.provider.id) == many.provider
    assert apps.providers_of("app-9") is apps.providers_of("app-9")


def test_looking_whether_providers_flow_costs_a_command_for_hundreds(many: Pipeline) -> None:
    providers = sorted(many.registry.providers())
    breaker, limiter, origins = Breaker(many.partition), Limiter(many.partition), Origins(many.partition)
    breaker.stop(providers[5], "revoked", 5.0)
    limiter.over_quota(providers[9], least=9.0, jitter=0.0, reason="TooManyRequests")
    origins.note(providers[7], ["https://push.example"])
    with many.pool.connection() as db:
        n = commands(many, lambda: read(many.keyspace, db))
        facts = read(many.keyspace, db).snapshot.providers
    assert n < MANY, "each provider was asked about"
    assert len(facts or ()) == 2 * MANY + 1
    assert sum(bool(one.ways) for one in facts or ()) == 2
    assert breaker.stopped_among(providers).keys() == {providers[5]}
    assert limiter.quotas(providers).keys() == {providers[9]}
    assert {id: len(of) for id, of in origins.ways(providers).items() if len(of) > 1} == {providers[7]: 2}


def test_quiet_streams_are_looked_at_in_turn_and_those_in_use_each_time(
    many: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "_IN_TURN", 500)
    many.lead()
    asked: list[set[str]] = []
    look = many.rounds._streams.look

    def spy(streams: Any) -> Any:
        asked.append(set(streams))
        return look(streams)

    monkeypatch.setattr(many.rounds._streams, "look", spy)
    many.redis.xadd(app_stream("app-5"), {"event": says("app-5", "e")})
    for _ in range(MANY // 500 + 1):
        many.rounds.look()
    assert all(len(of) <= 502 for of in asked)
    assert len(set().union(*asked)) == MANY + 2, "the inlet, and every app"
    many.take()
    assert ids(many, "app-5") == ["e"]
    asked.clear()
    many.rounds.look()
    assert app_stream("app-5") in asked[0], "it is in use"


def test_a_round_goes_over_no_stream_on_which_nothing_waits(many: Pipeline) -> None:
    many.publish(*(says(f"app-{n}", "e") for n in range(1, 101)))
    many.take()
    assert not many.rounds._lines.waiting
    many.redis.xadd(app_stream("app-7"), {"event": says("app-7", "e2")})
    many.rounds.look(every=True)
    assert [line.app for line in many.rounds._lines.of_apps()] == ["app-7"]
    assert next(many.rounds._lines.latest()).stream in many.rounds._lines
    many.take()
    assert ids(many, "app-7") == ["e", "e2"]
