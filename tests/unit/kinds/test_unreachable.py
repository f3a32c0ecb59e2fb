"""A host that cannot be reached, or whose certificate has ended, opens the circuit breaker, whatever the kind of its provider."""

import pytest

from worker.core.breaker import SILENT, UNREACHABLE, fault_reason, is_fault
from worker.core.model import NoAnswer
from worker.core.outcome import Retry
from worker.providers.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("response", "reason"),
    [
        pytest.param(NoAnswer("not_sent", "connect: refused"), UNREACHABLE, id="refused"),
        pytest.param(NoAnswer("not_sent", "dns"), UNREACHABLE, id="no such host"),
        pytest.param(
            NoAnswer("not_sent", "connect: certificate not valid now"), UNREACHABLE, id="its certificate ended"
        ),
        pytest.param(NoAnswer("not_sent", "connect: certificate not trusted"), UNREACHABLE, id="not trusted"),
        pytest.param(NoAnswer("unknown", "deadline"), SILENT, id="silent"),
    ],
)
def test_it_is_a_fault_of_the_way_and_costs_no_attempt(kind: str, response: NoAnswer, reason: str) -> None:
    outcome = KINDS[kind].decide(response, registered_at=0, sent_at=1_800_000_000_000, attempt=1)
    assert isinstance(outcome, Retry)
    assert is_fault(outcome)
    assert fault_reason([outcome], said=0, alive=False) == reason
