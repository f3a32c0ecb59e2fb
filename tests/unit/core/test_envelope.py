"""Whose a refused document is can be read from nearly any."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.envelope import identify


@pytest.mark.parametrize(
    ("document", "found"),
    [
        pytest.param(
            b'{"app": "chat", "id": "evt-9", "message": {"text": null}}', ("chat", "evt-9"), id="a wrong field"
        ),
        pytest.param(b'{"app": 5, "id": "evt-9"}', (None, "evt-9"), id="a wrong app"),
        pytest.param(b'{"id": "evt-9", "app": "chat", "message": {"id": "m1", "te', ("chat", "evt-9"), id="cut off"),
        pytest.param(b'{"message": {"id": "m1"}, "app": "chat", "id":', (None, None), id="cut off behind an object"),
        pytest.param(b'{"id": "e\\"\\u00e9", "app": "chat", "x": \xff}', ("chat", 'e"é'), id="no UTF-8"),
        pytest.param(rb'{"app": "chat", "id": "e1", "text": "\ud83d"}', ("chat", "e1"), id="half a surrogate pair"),
        pytest.param(rb'{"app": "chat", "id": "\ud83d"}', ("chat", None), id="half a surrogate pair in the id"),
        pytest.param(b'{"app": "chat", "id": "' + b"x" * 256 + b'"}', ("chat", None), id="an id that is too long"),
        pytest.param(rb'{"app": "chat", "id": "a\u0000b"}', ("chat", None), id="NUL"),
        pytest.param(b"[1]", (None, None), id="a list"),
        pytest.param(b"", (None, None), id="nothing"),
        pytest.param(b'{"app": "chat", "id": "e", "data": ' + b"[" * 5000, ("chat", "e"), id="deep"),
    ],
)
def test_app_and_id_are_read_whatever_else_is_wrong(document, found):
    assert identify(document) == found


@given(st.binary(max_size=300) | st.text(alphabet='{}[]":,\\ aapid', max_size=300).map(str.encode))
def test_no_document_makes_it_fail(document):
    identify(document)


def test_a_hostile_document_takes_no_time():
    began = time.process_time()
    identify(b'{"a": "' + b'\\" ' * 2000 + b" " * 4000)
    identify(b"{" + b'"" ' * 4000)
    assert time.process_time() - began < 5
