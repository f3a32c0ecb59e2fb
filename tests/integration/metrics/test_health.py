"""`/healthz` says what `carillon health --json` says."""

import json
from typing import Any

from tests.integration.pipeline.harness import Pipeline
from tests.valkey import free_port
from worker.cli import _checks
from worker.metrics import health
from worker.reports import watch
from worker.reports.watch import Watch
from worker.state.partition import Keyspace
from worker.state.redis import connect


def asked(pipeline: Pipeline) -> tuple[int, dict[str, Any]]:
    answer = health.page(lambda: pipeline.keyspace.fleet)()
    assert answer.content_type == "application/json"
    return answer.status, json.loads(answer.body)


def test_O2_it_has_the_findings_of_carillon_health_word_for_word(pipeline: Pipeline) -> None:
    pipeline.breaker.stop(pipeline.provider.id, "InvalidProviderToken", pipeline.now)
    Watch(pipeline.keyspace, pipeline.pool).look()
    found = watch.current(pipeline.keyspace.fleet)
    status, document = asked(pipeline)
    assert (status, document["status"]) == (503, "critical")
    findings = document["findings"]
    assert "provider_stopped" in {one["condition"] for one in findings}
    assert all(one.keys() == set(_checks.Finding._fields) for one in findings)
    bad = [one for one in findings if one["condition"]]
    assert bad == [_checks.finding(one).as_json() for one in found.conditions]
    assert {one["part"] for one in findings if one["well"]} >= {"dead letters", "redis persistence"}


def test_a_system_that_is_well_is_200(pipeline: Pipeline) -> None:
    Watch(pipeline.keyspace, pipeline.pool).look()
    status, document = asked(pipeline)
    assert document["status"] != "critical" and status == 200


def test_a_redis_that_is_away_is_the_finding() -> None:
    with connect(f"redis://127.0.0.1:{free_port()}/0", timeout=1, retries=0) as nobody:
        answer = health.page(lambda: Keyspace(nobody).fleet)()
    found = json.loads(answer.body)
    assert (answer.status, found["status"]) == (503, "critical")
    assert [one["condition"] for one in found["findings"]] == ["redis_away"]
