"""Exports spans to an OpenTelemetry collector (OTLP over HTTP). Nothing imports this module unless spans are exported.

A thread of the SDK exports, from a bounded queue. If no collector answers, spans are lost and nothing waits. The environment
variables of OpenTelemetry apply: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_BSP_MAX_QUEUE_SIZE` and so on.
"""

import logging
import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased

from worker.pipeline.spans import Request, Span

log = logging.getLogger(__name__)

#: Seconds that a stopping process gives to the export of its last spans.
LAST: Final = 2.0
#: Loggers of the SDK that log each failed export, and each span that finds no room.
_TALKATIVE: Final = ("opentelemetry.exporter.otlp", "opentelemetry.sdk._shared_internal")


class Traces:
    """`sample`: the share of the traces that is exported. All processes choose the same, by the trace's id.

    `exporter` takes another one's place than the collector's.
    """

    def __init__(self, sample: float, exporter: SpanExporter | None = None) -> None:
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: "carillon"}).merge(OTELResourceDetector().detect()),
            sampler=ParentBased(ALWAYS_OFF, remote_parent_sampled=TraceIdRatioBased(sample)),
            # It would wait for a collector that is away.
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(_Telling(exporter or OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer("carillon")

    def export(self, spans: Sequence[Span]) -> None:
        """Those of one step. The first links to the others, and each of these to the first. Never fails."""
        try:
            self._export(spans)
        except Exception:  # a trace must not cost a push
            log.exception("spans are lost")

    def _export(self, spans: Sequence[Span]) -> None:
        first: trace.Span | None = None
        ends = 0
        for span in spans:
            made = self._begun(span, first)
            if not made.is_recording():
                continue
            if span.request is not None:
                self._request(span.request, made)
            if first is None:
                first, ends = made, _nanoseconds(span.ended)
            else:
                first.add_link(made.get_span_context())
                made.end(_nanoseconds(span.ended))
        if first is not None:
            first.end(ends)

    def flush(self) -> None:
        """Exports what is left. Waits for the collector."""
        self._provider.force_flush()

    def close(self) -> None:
        """Exports what is left, for `LAST` seconds at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="carillon-traces", daemon=True)
        closing.start()
        closing.join(LAST)

    def _begun(self, span: Span, first: trace.Span | None) -> trace.Span:
        return self._tracer.start_span(
            span.name,
            trace.set_span_in_context(trace.NonRecordingSpan(_remote(span.parent))),
            trace.SpanKind.CONSUMER,
            attributes=span.attributes,
            links=[] if first is None else [trace.Link(first.get_span_context())],
            start_time=_nanoseconds(span.began),
        )

    def _request(self, request: Request, within: trace.Span) -> None:
        self._tracer.start_span(
            request.name,
            trace.set_span_in_context(within),
            trace.SpanKind.CLIENT,
            attributes=request.attributes,
            start_time=_nanoseconds(request.began),
        ).end(_nanoseconds(request.ended))


class _Telling(SpanExporter):
    """The same exporter, which logs one line when its collector stops taking spans, and one when it takes them again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter, self._lost = exporter, 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                log.warning("traces are lost: the collector does not take them, see OTEL_EXPORTER_OTLP_ENDPOINT")
            self._lost += len(spans)
        elif self._lost:
            log.info("traces are exported again", extra={"lost": self._lost})
            self._lost = 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _remote(traceparent: str) -> trace.SpanContext:
    _, id, span, flags = traceparent.split("-")
    return trace.SpanContext(int(id, 16), int(span, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16)))


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
