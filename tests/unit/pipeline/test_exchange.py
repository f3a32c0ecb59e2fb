"""Sending some jobs of a batch: how long answers took, and acceptances since the messages came."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.pipeline.runs import NOW, NOWHERE, fake, job, new_run, sending
from worker.core.batch_run import EARLIER, Wait
from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer, Response
from worker.core.outcome import Drop
from worker.core.responses import Responses
from worker.pipeline.bulkhead import Bulkhead
from worker.pipeline.exchange import Exchange
from worker.pipeline.insist import Insist
from worker.pipeline.steps.send import Send
from worker.providers.base import Sent


class Client:
    """Answers with what it was given; each answer came `later` seconds after its request was written."""

    def __init__(self, responses: Sequence[Response], later: Sequence[float]) -> None:
        self._responses, self._later = list(responses), later
        self.rounds = 0

    def send(self, provider: Any, requests: Any, *, seen: Responses, **_: Any) -> Sent:
        self.rounds += 1
        began = time.monotonic()
        seen.written[:] = [began] * len(requests)
        seen.answered[:] = [began + seconds for seconds in self._later[: len(requests)]]
        return Sent(self._responses[: len(requests)])


class Recorder:
    @contextmanager
    def watch(self, *_: Any) -> Iterator[Any]:
        yield SimpleNamespace(renewed_at=NOW)


def exchange(client: Any) -> Exchange:
    made: dict[str, Any] = {"now": lambda: NOW, "random": lambda: 0.5, "lease": 60.0, "timeout": 10.0}
    parts: Any = (lambda _: client, fake(), Recorder(), Bulkhead(), Insist(lambda: NOW), NOWHERE)
    return Exchange(*parts, **made)


def test_times_count_by_the_answer_and_by_the_millisecond_in_which_the_message_came() -> None:
    came = int(NOW * 1000) - 4_000
    sendings = [
        sending(entry=f"{came}-1"),
        sending(entry=f"{came}-2"),
        sending(entry=f"{came - 60_000}-0"),
        sending(entry=""),
    ]
    run = new_run(*(job(n, sending=n % 4) for n in range(8)), sendings=sendings)
    exchange(Client([ACCEPTED] * 8, [0.0] * 4 + [0.15] * 4)).send(run, run.pending())
    assert run.is_delivered
    assert sorted(run.answer_times.buckets.values()) == [4, 4]
    assert run.answer_times.seconds == pytest.approx(0.6)
    # Nobody knows when the two of no entry came.
    assert sorted(run.accept_times.buckets.values()) == [2, 4]
    assert run.accept_times.seconds == pytest.approx(4 * 4.0 + 2 * 64.0, abs=1.0)


def test_a_refusal_counts_as_an_answer_alone_and_no_answer_not_at_all() -> None:
    run = new_run(job(1), job(2), job(3), sendings=[sending(entry=f"{int(NOW * 1000)}-1")])
    responses: list[Response] = [ACCEPTED, Answer(400, "BadCollapseId"), NoAnswer("unknown", "deadline")]
    exchange(Client(responses, [0.0] * 3)).send(run, run.pending())
    assert sum(run.answer_times.buckets.values()) == 2
    assert sum(run.accept_times.buckets.values()) == 1


def test_what_is_behind_one_whose_life_ends_without_an_answer_waits_and_takes_no_round_of_its_own() -> None:
    run = new_run(*(job(1) for _ in range(25)), sendings=[sending(expires_at=int(NOW))])
    client = Client([NoAnswer("unknown", "deadline"), *[HELD_UP] * 24], [0.0] * 25)
    Send(exchange(client))(run)
    assert client.rounds == 1
    dropped, *others = run.outcomes
    assert dropped == Drop("expired", cause="deadline")
    assert all(isinstance(one, Wait) and one.limit == EARLIER and one.delay > 0.0 for one in others)
