"""A script for the simulator, as data: answers on demand, latency, and rules that match requests. JSON or Python."""

import re
from typing import Literal

import msgspec

from worker.simulator.faults import Fault
from worker.simulator.reasons import STATUS_OF


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A response. The status follows from a known reason; `timestamp` is in milliseconds since the epoch, 410 gets now."""

    reason: str | None = None
    status: int | None = None
    timestamp: int | None = None
    #: Seconds, as the Retry-After header.
    retry_after: int | None = None
    #: The header has the date instead.
    retry_at_date: bool = False
    #: Instead of the JSON that reason and timestamp make.
    body: str | None = None
    #: Interim responses (1xx) before the answer.
    interim: tuple[int, ...] = ()
    #: Ends the answer with trailers.
    trailers: bool = False
    #: More header fields.
    headers: dict[str, str] = {}
    #: The answer ends after so many octets of its body; seconds between its headers and its body.
    cut: int | None = None
    body_after: float = 0.0

    @property
    def code(self) -> int:
        """The status that is sent."""
        if self.status is not None:
            return self.status
        return 200 if self.reason is None else STATUS_OF[self.reason]

    def __post_init__(self) -> None:
        if self.status is None and self.reason is not None and self.reason not in STATUS_OF:
            raise ValueError("a reason that is not documented needs a status")


OK = Answer()


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds until the answer. With `high` uniform from `low`; with `sigma` log-normal around `median`."""

    low: float = 0.0
    high: float | None = None
    median: float | None = None
    sigma: float = 0.0


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part (0 to 1) of the requests that would be accepted gets the answer; by token, always the same tokens."""

    share: float
    answer: Answer
    by: Literal["request", "token"] = "request"


def _check_pattern(pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"pattern: {error}") from error


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens to the requests, or connections, that match everything given here.

    Of the requests that match, the first `skip` pass, then each `every`-th is taken, `count` times at most.
    """

    on: Literal["request", "connect"] = "request"
    token: str | None = None
    #: A regular expression that is found in the token.
    pattern: str | None = None
    topic: str | None = None
    push_type: str | None = None
    #: The number of the connection, from 1.
    connection: int | None = None
    #: Part of the requests, 0 to 1.
    share: float | None = None
    #: Seconds since the script was set: from, until.
    after: float = 0.0
    until: float | None = None
    skip: int = 0
    every: int = 1
    count: int | None = None
    answer: Answer | None = None
    latency: float | Latency | None = None
    fault: Fault | None = None

    def __post_init__(self) -> None:
        _check_pattern(self.pattern)


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the simulator answers; it can be replaced while it runs. A rule wins over `tokens`, which win over `shares`."""

    rules: tuple[Rule, ...] = ()
    tokens: dict[str, Answer] = {}
    shares: tuple[Share, ...] = ()
    latency: float | Latency | None = None


def read_script(document: bytes | str) -> Script:
    """A script from JSON. Raises msgspec.ValidationError, which names the field, or msgspec.DecodeError."""
    return msgspec.json.decode(document, type=Script)
