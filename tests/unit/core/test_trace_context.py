"""https://www.w3.org/TR/trace-context/#traceparent-header"""

import msgspec
import pytest

from worker.core.trace_context import sampled

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(CONTEXT, id="sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-03", id="with another flag too"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01", id="of a later version"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-what-will-be", id="of a later version that says more"),
    ],
)
def test_a_sampled_context_is_read_in_version_00(given: str) -> None:
    assert sampled(given) == CONTEXT


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(msgspec.UNSET, id="none"),
        pytest.param("", id="an empty one"),
        pytest.param(f"00-{TRACE}-{SPAN}-00", id="not sampled"),
        pytest.param(f"00-{TRACE}-{SPAN}-02", id="not sampled, with another flag"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", id="no trace"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", id="no span"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", id="a version that cannot be"),
        pytest.param(f"00-{TRACE}-{SPAN}-01-more", id="version 00 says no more"),
        pytest.param(CONTEXT.upper(), id="capitals"),
        pytest.param(f" {CONTEXT}", id="a blank"),
        pytest.param(f"{CONTEXT}\n", id="a line break"),
        pytest.param(CONTEXT[:-1], id="too short"),
        pytest.param("anything", id="anything"),
    ],
)
def test_any_other_is_ignored(given: str | msgspec.UnsetType) -> None:
    assert sampled(given) == ""
