"""One trace through real processes: from the publisher's span to the push service's answer, at a collector over the wire."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from tests.integration.pipeline.harness import token
from tests.processes import wait_until
from tests.system.fleet import Fleet
from tests.system.pipeline.collector import Collector
from tests.system.pipeline.test_workers import new_message, populate
from worker.simulator import Answer, Rule, Script


def traced_by(url: str) -> dict[str, str]:
    return {"CARILLON_TRACES_SAMPLE": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "100"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def chat_server(collector: Collector, share: float) -> TracerProvider:
    """OpenTelemetry as a chat server has it."""
    provider = TracerProvider(resource=Resource({"service.name": "chat"}), sampler=TraceIdRatioBased(share))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
    return provider


def outcomes(span: Any) -> dict[str, int]:
    return {
        one.key.removeprefix("carillon.outcome."): one.value.int_value
        for one in span.attributes
        if one.key.startswith("carillon.outcome.")
    }


def test_a_push_is_one_trace_from_publish_to_answer_also_after_a_retry(
    postgres_url, redis_url, tmp_path, collector: Collector
):
    with Fleet(postgres_url, redis_url, tmp_path, **traced_by(collector.url)) as fleet:
        fleet.simulator.set_script(Script(rules=(Rule(token=token("han"), count=1, answer=Answer("Shutdown")),)))
        fleet.start("worker")
        populate(fleet, "general", ["leia", "han", "luke"])
        with chat_server(collector, 1.0).get_tracer("chat").start_as_current_span("publish"):
            fleet.publisher.publish(new_message("e1"))
        with chat_server(collector, 0.0).get_tracer("chat").start_as_current_span("publish"):
            fleet.publisher.publish(new_message("e2"))
        wait_until(lambda: len(fleet.simulator.accepted) == 4 and fleet.idle())
        wait_until(lambda: len([span for span in collector.spans if span.name == "send apns"]) == 2)
    assert collector.services == {"chat", "carillon"}
    assert len({span.trace_id for span in collector.spans}) == 1, "e2 is not sampled"
    (publish,) = (span for span in collector.spans if span.name == "publish")
    by_name: dict[str, list[Any]] = {}
    for span in sorted(collector.spans, key=lambda span: span.start_time_unix_nano):
        by_name.setdefault(span.name, []).append(span)
    assert {name: len(spans) for name, spans in by_name.items()} == {
        "publish": 1, "intake carillon:events": 1, "expand carillon:events": 1,
        "deliver carillon:events": 2, "send apns": 2,
    }  # fmt: skip
    delivered = by_name["deliver carillon:events"]
    for span in (*by_name["intake carillon:events"], *by_name["expand carillon:events"], *delivered):
        assert span.parent_span_id == publish.span_id
        assert publish.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    assert [span.parent_span_id for span in by_name["send apns"]] == [span.span_id for span in delivered]
    assert [outcomes(span) for span in delivered] == [{"accepted": 1, "retry.Shutdown": 1}, {"accepted": 1}]


def test_a_collector_that_is_away_delays_no_push_and_no_end(postgres_url, redis_url, tmp_path, collector: Collector):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with Fleet(postgres_url, redis_url, tmp_path, **traced_by(url), OTEL_EXPORTER_OTLP_TIMEOUT="1") as fleet:
            worker = fleet.start("worker")
            populate(fleet, "general", ["leia", "han"])
            for n in range(3):
                with chat_server(collector, 1.0).get_tracer("chat").start_as_current_span("publish"):
                    fleet.publisher.publish(new_message(f"e{n}"))
            wait_until(lambda: len(fleet.simulator.accepted) == 3 and fleet.idle())
            wait_until(lambda: "traces are lost" in fleet.output())
            assert fleet.stop(worker) == 0
            assert fleet.output().count("traces are lost") == 1
            assert "Traceback" not in fleet.output() and "opentelemetry" not in fleet.output()
