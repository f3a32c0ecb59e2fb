"""Publishers put the caller's span into an event, and no span costs a push."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from producers import EventError, MessageNew, decode, encode
from producers.testing import AsyncRecordingPublisher, RecordingPublisher
from tests.unit.producers.examples import EVERY_TYPE, MESSAGE, changed

OWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def published(event: Any) -> dict[str, Any]:
    with RecordingPublisher() as publisher:
        publisher.publish(event)
        found: dict[str, Any] = json.loads(publisher.recorded.documents[0])
    return found


def published_async(event: Any) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        async with AsyncRecordingPublisher() as publisher:
            await publisher.publish(event)
            found: dict[str, Any] = json.loads(publisher.recorded.documents[0])
        return found

    return asyncio.run(run())


def as_struct(document: dict[str, Any]) -> Any:
    return decode(json.dumps(document))


@pytest.mark.parametrize("publish", [published, published_async])
@pytest.mark.parametrize("form", [dict, as_struct])
@pytest.mark.parametrize("event", EVERY_TYPE, ids=lambda event: event["type"])
def test_an_event_gets_the_span_that_is_active(
    event: dict[str, Any], form: Callable[[Any], Any], publish: Callable[[Any], dict[str, Any]]
) -> None:
    with TracerProvider(sampler=ALWAYS_ON).get_tracer("test").start_as_current_span("send") as span:
        document = publish(form(event))
    context = span.get_span_context()
    assert (
        document["traceparent"]
        == f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}-01"
    )


@pytest.mark.parametrize("form", [dict, as_struct])
def test_its_own_stays(form: Callable[[Any], Any]) -> None:
    with TracerProvider(sampler=ALWAYS_ON).get_tracer("test").start_as_current_span("send"):
        assert published(form(changed(MESSAGE, traceparent=OWN)))["traceparent"] == OWN


def test_a_document_stays_as_it_is() -> None:
    with TracerProvider(sampler=ALWAYS_ON).get_tracer("test").start_as_current_span("send"):
        assert published(json.dumps(MESSAGE)) == MESSAGE


@pytest.mark.parametrize("form", [dict, as_struct])
def test_without_a_sampled_span_there_is_no_field_so_that_an_earlier_worker_reads_the_event(
    form: Callable[[Any], Any],
) -> None:
    assert "traceparent" not in published(form(MESSAGE))
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("test").start_as_current_span("send"):
        assert "traceparent" not in published(form(MESSAGE))


@pytest.mark.parametrize("given", ["", "nonsense", OWN.upper(), "00-\n", "ä" * 255, OWN.replace("01", "zz")])
def test_a_malformed_one_costs_no_push(given: str) -> None:
    event = decode(json.dumps(changed(MESSAGE, traceparent=given)))
    assert isinstance(event, MessageNew) and event.traceparent == given
    assert decode(encode(event)) == event


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        pytest.param(1, "traceparent: expected a string, got a whole number", id="a number"),
        pytest.param("x" * 256, "traceparent: at most 255 characters are taken", id="too long"),
        pytest.param("\0", "traceparent: must not have a NUL", id="what no database stores"),
    ],
)
def test_what_breaks_the_contract_is_refused(given: object, fault: str) -> None:
    with pytest.raises(EventError, match=fault):
        decode(json.dumps(changed(MESSAGE, traceparent=given)))


def test_an_event_without_one_is_encoded_without_the_field() -> None:
    assert "traceparent" not in msgspec.json.decode(encode(decode(json.dumps(MESSAGE))))
