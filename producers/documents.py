"""Turns what a caller passes into the checked document that goes on the stream."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from msgspec import structs

from producers.checks import check_free
from producers.errors import EventError
from producers.events import AnyEvent, Event, decode, dump, encode, utf8
from producers.tracing import current_traceparent

#: An event of `producers.events`, the same as a mapping, or its JSON.
Publishable: TypeAlias = AnyEvent | Mapping[str, Any] | bytes | str


def document(event: Publishable) -> bytes:
    """The event's document, checked against the contract. Raises `EventError` naming the field.

    An event without a `traceparent` gets the caller's, where there is a sampled span. JSON is left as it is.
    """
    return _document(event, current_traceparent())


def documents(events: Iterable[Publishable]) -> list[bytes]:
    """The documents of all events; an `EventError` names the event too, as in `events[3].message.text`."""
    checked, traceparent = [], current_traceparent()
    for index, event in enumerate(events):
        try:
            checked.append(_document(event, traceparent))
        except EventError as fault:
            raise EventError(f"events[{index}].{fault}") from None
    return checked


def _document(event: Publishable, traceparent: str) -> bytes:
    if type(event) is dict:  # of most; what else may be a mapping takes longer to find out
        checked = _dumped(event, traceparent)
    elif isinstance(event, Event):
        if traceparent and not event.traceparent:
            event = structs.replace(event, traceparent=traceparent)
        return encode(event)
    elif isinstance(event, bytes):
        checked = event
    elif isinstance(event, str):
        checked = utf8(event)
    elif isinstance(event, Mapping):
        checked = _dumped(dict(event), traceparent)
    else:
        raise EventError(f"document: expected an event, a mapping, bytes or a string, got {type(event).__name__}")
    decode(checked)
    return checked


def _dumped(plain: dict[str, Any], traceparent: str) -> bytes:
    if traceparent and not plain.get("traceparent"):
        plain = {**plain, "traceparent": traceparent}
    written = dump(plain)
    if written.find(b"null") >= 0:  # NaN and Infinity are written so
        # Its own depth begins two levels above that of `data`.
        check_free(plain, "document", depth=-1)
    return written
