"""Spans of traced events: one trace through every stage, also after a retry, and nothing in it that is secret."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from worker.core import batch
from worker.core.batch import Sending
from worker.core.model import Answer
from worker.process.traces import Traces

TRACE, PUBLISHER = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7
CONTEXT = f"00-{TRACE:032x}-{PUBLISHER:016x}-01"
TEXT = "meet me at the pier at nine"
Run = Callable[..., list[ReadableSpan]]


def traced(id: str = "e1", context: str = CONTEXT, **fields: Any) -> ev.MessageNew:
    return replace(message(id=id, text=TEXT, **fields), traceparent=context)


@pytest.fixture
def run(postgres_url: str, redis_url: str) -> Iterator[Run]:
    """Publishes events to three members, one of them the sender, and gives the spans of a run, in the order of their ends."""
    pipelines = []

    def run(
        *events: ev.AnyEvent, sample: float = 1.0, prepare: Callable[[Pipeline], object] = lambda _: None
    ) -> list[ReadableSpan]:
        exporter = InMemorySpanExporter()
        traces = Traces(sample, exporter)
        pipelines.append(pipeline := Pipeline(postgres_url, redis_url, export=traces.export))
        pipeline.member("general", "leia", "han", "luke")
        prepare(pipeline)
        pipeline.publish(*events)
        pipeline.run()
        while pipeline.later():
            pipeline.run()
        traces.close()
        return list(exporter.get_finished_spans())

    yield run
    for pipeline in pipelines:
        pipeline.close()


def named(spans: Sequence[ReadableSpan], name: str) -> list[dict[str, Any]]:
    return [dict(span.attributes or {}) for span in spans if span.name.startswith(name)]


def parent(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def test_O11_one_trace_has_a_span_of_each_stage_below_the_publisher_s(run: Run) -> None:
    spans = run(traced())
    assert {span.context.trace_id for span in spans} == {TRACE}
    kinds = {span.name: span.kind for span in spans}
    assert kinds == {
        "intake carillon:events": SpanKind.CONSUMER,
        "expand carillon:events": SpanKind.CONSUMER,
        "deliver carillon:events": SpanKind.CONSUMER,
        "send apns": SpanKind.CLIENT,
    }
    (send,) = (span for span in spans if span.name == "send apns")
    (deliver,) = (span for span in spans if span.name.startswith("deliver"))
    assert parent(send) == deliver.context.span_id
    assert {parent(span) for span in spans if span is not send} == {PUBLISHER}


def test_their_attributes_say_what_became_of_it(run: Run) -> None:
    spans = run(traced())
    about = {
        "messaging.system": "carillon",
        "messaging.destination.name": "carillon:events",
        "messaging.operation.type": "process",
        "messaging.message.id": "e1",
        "carillon.app": "demo",
    }
    (intake,), (expand,), (deliver,), (send,) = (named(spans, name) for name in ("intake", "expand", "deliver", "send"))
    count = "messaging.batch.message_count"
    assert intake.items() >= {**about, "carillon.event.type": "message.new", "carillon.outcome": "taken"}.items()
    assert expand == about | {
        "messaging.operation.name": "expand", count: 1, "carillon.page": 0,
        "carillon.considered": 3, "carillon.outcome.pushed": 2, "carillon.outcome.skipped.sender": 1,
    }  # fmt: skip
    assert deliver == about | {
        "messaging.operation.name": "deliver", count: 1, "carillon.provider": "apns", "carillon.lane": "urgent",
        "carillon.try": 1, "carillon.outcome.accepted": 2,
    }  # fmt: skip
    assert send == {"carillon.provider.kind": "apns", "carillon.outcome.accepted": 2}


def test_a_retry_is_in_the_same_trace(run: Run) -> None:
    def prepare(pipeline: Pipeline) -> None:
        pipeline.apns.answers[token("han")] = [Answer(429, "TooManyRequests"), Answer(200)]

    spans = run(traced(), prepare=prepare)
    assert {span.context.trace_id for span in spans} == {TRACE}
    first, second = named(spans, "deliver")
    assert (first["carillon.try"], first["carillon.outcome.retry.TooManyRequests"]) == (1, 1)
    assert (second["carillon.try"], second["carillon.outcome.accepted"]) == (2, 1)
    assert len(named(spans, "send")) == 2


def test_events_of_one_step_link_to_each_other_from_their_own_traces(run: Run) -> None:
    contexts = [f"00-{n:032x}-{n:016x}-01" for n in (1, 2, 3)]
    spans = run(*(traced(f"e{n}", context) for n, context in enumerate(contexts)), message(id="untraced"))
    for name in ("intake", "expand", "deliver"):
        of_step = {span.context.trace_id: span for span in spans if span.name.startswith(name)}
        assert sorted(of_step) == [1, 2, 3]
        links = {id: sorted(link.context.trace_id for link in span.links) for id, span in of_step.items()}
        assert links == {1: [2, 3], 2: [1], 3: [1]}


def test_targeted_pushes_and_cleared_badges_are_traced_too(run: Run) -> None:
    push = ev.PushSend(**stamp() | {"id": "p1"}, where=ev.Where(user="han"), alert=TEXT, traceparent=CONTEXT)
    cleared = ev.BadgeCleared(**stamp() | {"id": "b1"}, user="han", traceparent=CONTEXT)

    def prepare(pipeline: Pipeline) -> None:
        pipeline.publish(message())
        pipeline.run()

    spans = run(push, cleared, prepare=prepare)
    assert Counter((span.name.split()[0], named([span], "")[0].get("messaging.message.id")) for span in spans) == {
        ("intake", "p1"): 1, ("expand", "p1"): 1, ("deliver", "p1"): 1,
        ("intake", "b1"): 1, ("expand", "b1"): 1, ("deliver", "b1"): 1,
        ("send", None): 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        pytest.param(replace(message(), app="nobody", traceparent=CONTEXT), "refused", id="of an unknown app"),
        pytest.param(
            ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="c"), users=["x"], traceparent=CONTEXT),
            "taken",
            id="that is no message",
        ),
    ],
)
def test_an_event_that_ends_at_the_intake_has_one_span(run: Run, event: ev.AnyEvent, outcome: str) -> None:
    (span,) = named(run(event), "")
    assert span["carillon.outcome"] == outcome


def test_a_repeat_says_so(run: Run) -> None:
    assert {one["carillon.outcome"] for one in named(run(traced(), traced()), "intake")} == {"taken", "repeat"}


def test_a_message_that_is_skipped_as_a_whole_says_why(run: Run) -> None:
    spans = run(traced(skip_push=True))
    assert named(spans, "expand")[0]["carillon.outcome.skipped_message.skip_push"] == 1
    assert not named(spans, "deliver")


@pytest.mark.parametrize(
    "context",
    ["", "nonsense", CONTEXT[:-1] + "0", CONTEXT.upper()],
    ids=["none", "no context", "unsampled", "capitals"],
)
def test_what_is_not_sampled_or_not_valid_is_pushed_without_a_span(run: Run, context: str) -> None:
    sent = []
    assert run(traced(context=context), prepare=lambda pipeline: sent.append(pipeline.apns.sent)) == []
    assert len(sent[0]) == 2


def test_the_share_is_chosen_by_the_trace_so_that_every_process_chooses_the_same(run: Run) -> None:
    few, many = f"00-{'0' * 31}1-{'1' * 16}-01", f"00-{'f' * 32}-{'1' * 16}-01"
    spans = run(traced("e1", few), traced("e2", many), sample=0.5)
    assert {one["messaging.message.id"] for one in named(spans, "intake")} == {"e1"}
    assert {span.context.trace_id for span in spans} == {1}
    assert {span.name.split()[0] for span in spans} == {"intake", "expand", "deliver", "send"}


def test_no_span_has_a_user_a_token_or_a_text(run: Run) -> None:
    spans = run(traced(mentioned=["han"]))
    written = "".join(span.to_json() for span in spans)
    assert "e1" in written
    assert [secret for secret in ("leia", "han", "luke", token("han"), TEXT, "general") if secret in written] == []


class Away(SpanExporter):
    """A collector that is away until it is `here`."""

    here = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self.here else SpanExportResult.FAILURE


def test_a_collector_that_is_away_is_one_line_and_one_when_it_is_back(
    postgres_url: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    away = Away()
    traces = Traces(1.0, away)
    pipeline = Pipeline(postgres_url, redis_url, export=traces.export)
    pipeline.member("general", "leia", "han")
    for n in range(3):
        pipeline.publish(traced(f"e{n}"))
        assert len(pipeline.run()) == 1
        traces.flush()
    assert len([one for one in caplog.records if "traces are lost" in one.message]) == 1
    away.here = True
    pipeline.publish(traced("e4"))
    pipeline.run()
    traces.close()
    pipeline.close()
    (back,) = (one for one in caplog.records if one.message == "traces are exported again")
    assert vars(back)["lost"] == 12


def test_a_fault_of_a_trace_costs_no_push(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    traces = Traces(1.0, InMemorySpanExporter())
    monkeypatch.setattr(traces, "_begun", None)
    pipeline = Pipeline(postgres_url, redis_url, export=traces.export)
    pipeline.member("general", "leia", "han")
    pipeline.publish(traced())
    assert len(pipeline.run()) == 1
    assert pipeline.journal.backlog() == (0, 0)
    assert [one.message for one in caplog.records] == ["spans are lost"] * 3
    traces.close()
    pipeline.close()


class Before(msgspec.Struct, frozen=True, array_like=True):
    """The last fields of a sending of the release before."""

    entry: str
    event_id: str
    prefix: str
    suffix: str
    expires_at: int
    collapse_id: str
    push_type: str
    priority: int
    badge: int
    kind: str
    channel: str
    place: int
    at: int
    sender: str
    listed: bool
    own: bool = False


def test_a_worker_of_the_release_before_reads_a_sending_with_a_context_and_this_one_reads_its() -> None:
    sending = Sending("1-1", "e1", "{", "}", 1, "c", traceparent=CONTEXT)
    document = batch.encode(batch.Batch("demo", 1, "urgent", [sending], []))
    before = msgspec.json.decode(json.dumps(json.loads(document)[3][0]), type=Before)
    assert (before.event_id, before.own) == ("e1", False)
    after = msgspec.json.decode(msgspec.json.encode(before), type=Sending)
    assert (after.event_id, after.traceparent) == ("e1", "")
