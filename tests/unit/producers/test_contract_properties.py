"""What holds for any input: nothing but an `EventError` comes out, and what is taken is stored and sent without harm."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as some

from producers import EventError, decode, encode
from producers.events import AnyEvent
from tests.unit.producers.examples import EVERY_TYPE

JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


def taken(document: bytes) -> AnyEvent | None:
    """The event, or None for one that was refused as it should be: any other exception fails the test."""
    try:
        return decode(document)
    except EventError as fault:
        if not fault.field:
            raise
        return None


def paths(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [path, *[found for key, item in value.items() for found in paths(item, (*path, key))]]


@some.composite
def mutated(draw: some.DrawFn) -> dict[str, Any]:
    """A good document with one value exchanged for any other."""
    document: dict[str, Any] = json.loads(json.dumps(draw(some.sampled_from(EVERY_TYPE))))
    *parents, name = draw(some.sampled_from(paths(document)[1:]))
    place = document
    for parent in parents:
        place = place[parent]
    place[draw(some.just(name) | some.text(max_size=8))] = draw(JSON)
    return document


@settings(deadline=None, max_examples=400)
@example({**EVERY_TYPE[0], ":\x1f": []})
@given(mutated())
def test_a_document_is_refused_by_name_or_harmless(document: dict[str, Any]) -> None:
    event = taken(json.dumps(document).encode())
    if event is None:
        return
    encoded = encode(event)
    assert decode(encoded) == event
    assert b"\\u0000" not in encoded.replace(b"\\\\", b"")


@settings(deadline=None, max_examples=200)
@given(some.binary(max_size=64) | some.text(max_size=64).map(str.encode))
def test_any_bytes_are_refused_by_an_event_error(document: bytes) -> None:
    assert taken(document) is None


@settings(deadline=None, max_examples=200)
@given(some.sampled_from(EVERY_TYPE), some.data())
def test_a_damaged_document_never_breaks_the_reader(document: dict[str, Any], data: some.DataObject) -> None:
    written = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(some.integers(1, 4))):
        written[data.draw(some.integers(0, len(written) - 1))] = data.draw(some.integers(0, 255))
    taken(bytes(written))


def test_a_key_said_twice_never_breaks_the_reader() -> None:
    for more in ('"type":"user.muted"', '"v":2', '"channel":{"x":1},"type":"user.muted"', '"x":1,"type":7'):
        for document in EVERY_TYPE:
            taken(f"{json.dumps(document)[:-1]},{more}}}".encode())
