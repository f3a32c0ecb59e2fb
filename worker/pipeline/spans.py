"""What a step did for events whose publisher traces them, as spans. `worker/process/traces.py` exports them.

A span's parent is the publisher's own span, whichever step it is of: so a trace is whole even if a worker dies in the middle.
Names and attributes follow https://opentelemetry.io/docs/specs/semconv/messaging/. No span has a user, a device, a token or
a text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from producers.events import STREAM

Attributes = Mapping[str, str | int]


class Span(NamedTuple):
    """One step of one event. Times in UNIX seconds."""

    name: str
    #: `traceparent` of the span above.
    parent: str
    began: float
    ended: float
    attributes: Attributes
    #: The request to the push service within it.
    request: "Request | None" = None


class Request(NamedTuple):
    """A request to a push service: it may be for many devices, and of other events too."""

    name: str
    began: float
    ended: float
    attributes: Attributes


#: Exports the spans of one step, which was done for all of their events together. Never fails and never waits.
Export = Callable[[Sequence[Span]], None]


def span(
    operation: Literal["intake", "expand", "deliver"],
    parent: str,
    times: tuple[float, float],
    app: str,
    event: str,
    more: Attributes,
    request: Request | None = None,
) -> Span:
    """`times`: began and ended. `event`: its id."""
    attributes = {
        "messaging.system": "carillon",
        "messaging.destination.name": STREAM,
        "messaging.operation.name": operation,
        "messaging.operation.type": "process",
        "messaging.message.id": event,
        "carillon.app": app,
    }
    return Span(f"{operation} {STREAM}", parent, *times, {**attributes, **more}, request)


def counted(outcomes: Mapping[str, int]) -> Attributes:
    """How many by outcome, as attributes."""
    return {f"carillon.outcome.{label}": n for label, n in outcomes.items()}
