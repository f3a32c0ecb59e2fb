"""A transport that answers at once without a network, and a worker that has it: what the pipeline costs without the wire.

`python -m benchmarks.support.null COUNTER CONCURRENCY NAME`: `carillon worker` with that transport.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import worker.providers.apns.sender
from benchmarks.support.counter import Counter
from benchmarks.support.stage import DEAD
from worker.core.model import ACCEPTED, Answer, Notification, Response
from worker.providers.apns.sender import ApnsSender


class NullTransport:
    """Accepts what is not dead. Belongs to one event loop, so nobody else writes its counter."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    async def send(
        self,
        requests: Sequence[Notification],
        *,
        authorization: str | None,
        deadline: float,
        seen: list[Response | None] | None = None,
        following: Mapping[int, int] | None = None,
    ) -> list[Response]:
        gone = Answer(410, "Unregistered", int(time.time() * 1000))
        answers: list[Response] = [gone if n.token.startswith(DEAD) else ACCEPTED for n in requests]
        self._counter.add(sum(answer is ACCEPTED for answer in answers))
        return answers

    async def close(self, drain: float = 5.0) -> None:
        """Nothing is open."""


def main() -> None:
    counter, concurrency, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

    def sender(**_: object) -> ApnsSender:
        return ApnsSender(lambda *_: NullTransport(Counter(counter)))

    worker.providers.apns.sender.ApnsSender = sender  # type: ignore[misc,assignment]  # the kind takes it from there
    from worker.cli.worker import worker as run  # noqa: PLC0415 - after the line above

    run(concurrency=concurrency, name=name)


if __name__ == "__main__":
    main()
