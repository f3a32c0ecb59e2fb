"""Calls that may get no answer, each in a thread of its own."""

import threading

from tests.processes import PATIENCE
from worker.state.parts import Outcome, Parts


def test_who_makes_a_call_that_another_has_just_begun_gets_what_that_one_comes_to() -> None:
    parts, asked, answered, found = Parts(PATIENCE), threading.Event(), threading.Event(), list[Outcome | None]()

    def ask() -> int:
        asked.set()
        assert answered.wait(PATIENCE)
        return 1

    first = threading.Thread(target=lambda: found.append(parts.call("a", ask)))
    first.start()
    assert asked.wait(PATIENCE)
    second = threading.Thread(target=lambda: found.append(parts.call("a", lambda: 2)))
    second.start()
    answered.set()
    first.join()
    second.join()
    # The second may have come when the first had ended.
    assert found[0] == Outcome(1) or found[1] == Outcome(1)
    assert None not in found


def test_a_call_that_takes_long_is_not_made_again() -> None:
    parts, answered = Parts(0.01), threading.Event()
    assert parts.call("a", lambda: answered.wait(PATIENCE)) is None
    assert parts.call("a", lambda: 2) is None
    answered.set()
    parts.join(PATIENCE)
