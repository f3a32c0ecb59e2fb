"""Throughput and latency from the simulator's record."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from worker.demo.watch import Request


class Latency(NamedTuple):
    """Milliseconds from the stamp that an event bore when it was published to the push's arrival at APNs."""

    p50: float
    p99: float
    most: float


class Figures(NamedTuple):
    #: Of messages that came at a pace; without the pushes that waited on purpose.
    steady: Latency | None
    #: Of the burst, waiting in the queue included.
    burst: Latency | None
    #: Pushes of the burst that arrived a second, from its first publish to its last arrival.
    rate: float | None
    burst_pushes: int

    def as_json(self) -> dict[str, Any]:
        return {
            "latency_ms": {"steady": _rounded(self.steady), "burst": _rounded(self.burst)},
            "pushes_per_second": None if self.rate is None else round(self.rate),
        }


def measure(
    requests: Sequence[Request], stamps: Mapping[str, float], steady: frozenset[str], later: frozenset[str]
) -> Figures:
    """`stamps`: message id -> UNIX ms; `steady`: ids of the messages that were not part of the burst. Of tokens in `later` no
    push counts: their users are decided again half a minute later, on purpose.
    """
    again = {(one.message, one.token) for one in requests if not one.accepted}
    taken = [
        one
        for one in requests
        if one.accepted and one.message in stamps and (one.message, one.token) not in again and one.token not in later
    ]
    burst = [one for one in taken if one.message not in steady]
    rate = None
    if burst:
        seconds = (max(one.at for one in burst) - min(stamps[one.message] for one in burst)) / 1000
        rate = len(burst) / seconds if seconds > 0 else None
    return Figures(
        _latency(one.at - stamps[one.message] for one in taken if one.message in steady),
        _latency(one.at - stamps[one.message] for one in burst),
        rate,
        len(burst),
    )


def _latency(milliseconds: Iterable[float]) -> Latency | None:
    late = sorted(milliseconds)
    if not late:
        return None
    return Latency(late[len(late) // 2], late[len(late) * 99 // 100], late[-1])


def _rounded(latency: Latency | None) -> dict[str, float] | None:
    return None if latency is None else {name: round(ms, 1) for name, ms in latency._asdict().items()}
