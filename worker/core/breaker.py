"""When a way is stopped, why, and when it is tried again. `now` in UNIX seconds.

A provider's circuit breaker opens for what its answers say (a wrong key, most tokens refused: `OpenBreaker`), and for faults of
the way there or of its servers, which may end at any moment. These have the reasons in `PASSING`; every other reason waits for a
person as well as for a probe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from worker.core.outcome import Outcome, Retry
from worker.core.way import Way

#: Seconds between two probes: the shortest, and the longest after a long time.
FIRST_PROBE: Final = 5.0
LONGEST_PROBE: Final = 30.0
#: The same for a fault that may end by itself: what waits goes out soon after its end.
FIRST_RECONNECT: Final = 1.0
LONGEST_RECONNECT: Final = 10.0
#: The breaker opens after so many batches in a row without any answer, over so many seconds. If each takes long to fail, fewer
#: are enough.
ROW: Final = 3
ROW_SECONDS: Final = 1.0
LONG_ROW: Final = 2
LONG_ROW_SECONDS: Final = 5.0
#: With at least so many recent answers and faults, more than half faults open it.
MINIMUM: Final = 20

UNREACHABLE: Final = "unreachable"
SILENT: Final = "silent"
SLOW: Final = "slow"
UNAVAILABLE: Final = "unavailable"
#: Reasons of a fault that may end by itself, and what to do about it.
PASSING: Final[Mapping[str, str]] = {
    UNREACHABLE: "no connection to its host: check host, port, DNS, firewall, proxy and certificates",
    SILENT: "its host takes connections and answers nothing: check the way to it, and its state",
    SLOW: "it answers less than half in time: check its state",
    UNAVAILABLE: "it answers mostly 5xx or 429: check its state and what it allows",
}
#: Causes of a missing answer after a wait, and those with which we end a request ourselves.
_IN_VAIN: Final = frozenset(("deadline", "timeout", "stuck", "server is silent"))
_OURS: Final = frozenset(("closed", "cancelled"))


@dataclass(frozen=True, slots=True)
class Stopped:
    """A way that gets only probes, or, with `manual`, nothing until a person resumes it."""

    reason: str
    since: float
    manual: bool = False

    @property
    def passing(self) -> bool:
        """Whether the fault may end by itself: then any answer to a probe closes the breaker."""
        return not self.manual and self.reason in PASSING


class Quota(NamedTuple):
    """Since when a way is over a quota, and until when nothing is sent there. Then pushes go out again, slowly at first."""

    since: float
    until: float
    reason: str


class Look(NamedTuple):
    """Why a batch was taken although its way does not flow. With `probe` one of its jobs may be sent, otherwise none."""

    stopped: Stopped
    probe: bool
    #: The way that is stopped or over a quota: that of the batch, or its whole provider.
    way: Way
    #: Other batches of its line are before it: after the probe nothing more of it is sent, whatever the answer.
    alone: bool = False


def is_fault(outcome: Outcome) -> bool:
    """Whether a try shows a fault of the provider or the network, and none of the notification."""
    return (
        isinstance(outcome, Retry)
        and outcome.scope in ("origin", "provider")
        and not outcome.refresh_token
        and not outcome.cooldown
        and outcome.reason not in _OURS
    )


def opens(*, row: int, lasted: float, answered: int, failed: int, size: int = 1) -> bool:
    """Whether the breaker opens: `row` batches in a row got no answer, over `lasted` seconds, or most of the recent failed.

    `size`: devices of the last of these batches; one that is large and waited long in vain says as much as two small ones.
    """
    long_row = 1 if size >= MINIMUM else LONG_ROW
    if (row >= ROW and lasted >= ROW_SECONDS) or (row >= long_row and lasted >= LONG_ROW_SECONDS):
        return True
    return answered + failed >= MINIMUM and failed > answered


def fault_reason(faults: Sequence[Retry], *, said: int, alive: bool) -> str:
    """The reason in `PASSING` of most faults of a batch.

    `said`: how many of them are answers; `alive`: others of the batch were answered well.
    """
    if not faults:
        return UNAVAILABLE
    waited = sum(fault.reason in _IN_VAIN for fault in faults)
    lost = len(faults) - said - waited
    if said >= max(waited, lost):
        return UNAVAILABLE
    if lost > waited:
        return UNREACHABLE
    return SLOW if alive else SILENT


def probe_interval(stopped: Stopped, now: float) -> float:
    """Seconds between two probes: a quarter of the time it has been stopped, within bounds.

    Short at first, because most faults are corrected soon after they are made. Longer later, because Apple counts refusals.
    """
    first, longest = (FIRST_RECONNECT, LONGEST_RECONNECT) if stopped.passing else (FIRST_PROBE, LONGEST_PROBE)
    return min(longest, max(first, (now - stopped.since) / 4))


def probe_timeout(stopped: Stopped, now: float, timeout: float) -> float:
    """Seconds that a probe may take: short at first, so that a silent host costs little, and the whole `timeout` later on."""
    return min(timeout, max(2.0, (now - stopped.since) / 4)) if stopped.passing else timeout
