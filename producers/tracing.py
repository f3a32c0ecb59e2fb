"""The caller's span, as the `traceparent` of an event: https://www.w3.org/TR/trace-context/."""

import sys


def current_traceparent() -> str:
    """That of the caller's OpenTelemetry span, if there is one and its trace is sampled, else ''."""
    # Imports nothing: without OpenTelemetry nobody has a span.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
