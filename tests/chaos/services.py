"""What is done to the simulators: each fault a set of rules that are in force for a while, several at once if need be.

The first word of a fault's name is the kind of the simulator that it befalls.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from tests.chaos.world import APPLE, KIND_OF_WAY
from worker.simulator import Answer, ControlClient, Latency, Rule, Script, faults

KINDS: Final = ("apns", "fcm", "web")
#: Seconds until an answer where nothing is wrong.
LATENCY: Final = Latency(low=0.01, high=0.05)


def _all(reason: str, retry_after: int | None = None) -> tuple[Rule, ...]:
    return (Rule(answer=Answer(reason, retry_after=retry_after)),)


def _each(every: int, *some: faults.Fault) -> tuple[Rule, ...]:
    """Each of the faults befalls one in so many requests."""
    return tuple(Rule(every=every, skip=index * every // len(some), fault=fault) for index, fault in enumerate(some))


def _at(service: str, reason: str, retry_after: int | None = None) -> tuple[Rule, ...]:
    """One push service answers this to everything; the others are well."""
    return (Rule(push_type=service, answer=Answer(reason, retry_after=retry_after)),)


_BAD: Final = ("truncated", "bad_index", "bad_huffman", "upper_case", "no_status", "late_pseudo", "bad_status")
#: Fault -> rules. Together they have every fault of the simulator's script, and what a provider's own mistakes look like.
RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "apns_503": _all("ServiceUnavailable"),
    "apns_500_429": (
        Rule(share=0.3, answer=Answer("TooManyRequests", retry_after=3)),
        Rule(share=0.3, answer=Answer("InternalServerError")),
    ),
    "apns_random_429": (Rule(share=0.1, answer=Answer("TooManyRequests")),),
    "apns_shutdown": (Rule(share=0.5, answer=Answer("Shutdown")),),
    "apns_slow": (Rule(share=0.8, latency=8.5), Rule(latency=12.0)),
    "apns_revoked_key": _all("InvalidProviderToken"),
    "apns_expired_certificate": _all("BadCertificate"),
    "apns_clock": _all("ExpiredProviderToken"),
    "apns_wrong_topic": _all("TopicDisallowed"),
    "apns_bad_token": _all("BadDeviceToken"),
    "apns_resets": _each(60, faults.Close(), faults.Close(abort=True)),
    "apns_goaway": _each(
        80,
        faults.GoAway(last_stream_id="middle"),
        faults.GoAway(last_stream_id="zero", then="close"),
        faults.GoAway(last_stream_id="max", reason="Shutdown"),
        faults.GoAway(last_stream_id="last", code="ENHANCE_YOUR_CALM"),
    ),
    "apns_streams": _each(40, faults.Reset(), faults.Reset(code="REFUSED_STREAM"), faults.Never()),
    "apns_silence": _each(400, faults.HalfOpen(), faults.PauseReading(seconds=3), faults.ClosedWindow(seconds=3)),
    "apns_trickle": _each(300, faults.Trickle(octets=500, interval=0.002)),
    "apns_garbage": _each(
        300, *(faults.BadHeaders(variant=variant) for variant in _BAD), faults.Raw(hex="ff" * 20), faults.Ping()
    ),
    "apns_huge_headers": _each(300, faults.BadHeaders(variant="huge"), faults.BadHeaders(variant="endless")),
    "apns_few_streams": (Rule(every=50, fault=faults.Settings(max_concurrent_streams=2, initial_window_size=100)),),
    "apns_flapping": (Rule(on="connect", share=0.6, fault=faults.Close(abort=True)), *_each(100, faults.Close())),
    "fcm_503": (Rule(share=0.5, answer=Answer("UNAVAILABLE", retry_after=2)), *_all("BAD_GATEWAY")),
    "fcm_hangs": (Rule(fault=faults.Never()),),
    "fcm_quota": _all("RATE_LIMIT_EXCEEDED", retry_after=10),
    "fcm_apple_key": (Rule(pattern=f"^{APPLE}", answer=Answer("THIRD_PARTY_AUTH_ERROR")),),
    "fcm_wrong_project": _all("SENDER_ID_MISMATCH"),
    "fcm_oauth_away": _all("ACCESS_TOKEN_EXPIRED"),
    "fcm_resets": _each(60, faults.Close(), faults.Close(abort=True), faults.GoAway(last_stream_id="middle")),
    "web_503": _at("mozilla", "Overloaded", retry_after=3),
    "web_hangs": (Rule(push_type="google", fault=faults.Never()),),
    "web_throttled": _at("microsoft", "Throttled", retry_after=5),
    "web_bad_key": (*_at("apple", "BadVapid"), *_at("mozilla", "BadVapid")),
    "web_other_key": _at("google", "VapidKeyMismatch"),
    "web_resets": _each(20, faults.Close(), faults.Close(abort=True), faults.GoAway(last_stream_id="middle")),
}
#: What the token endpoint answers while it is away.
OAUTH_AWAY: Final = Script(rules=_all("temporarily_unavailable"))
#: What stays with a connection when its rules are gone.
_LASTING: Final = ("apns_silence", "apns_trickle", "apns_few_streams")


def kind_of(fault: str) -> str | None:
    """The kind of simulator that a fault befalls; None for another fault."""
    kind = fault.partition("_")[0]
    return kind if kind in KINDS else None


def ways_of(fault: str) -> frozenset[str] | None:
    """The ways that it befalls; None: the whole system."""
    if fault == "hostile_subscriptions":
        return frozenset()
    kind, rules = kind_of(fault), RULES.get(fault, ())
    if kind is None:
        return None
    named = {f"web-{rule.push_type}" for rule in rules if rule.push_type} | {"apple" for rule in rules if rule.pattern}
    return frozenset(named or (way for way, other in KIND_OF_WAY.items() if other == kind))


class Service:
    """One simulator: the rules now in force, and since when answers took how long.

    `tokens` are answers for single devices, at all times.
    """

    def __init__(self, control: ControlClient, tokens: Mapping[str, Answer]) -> None:
        self.control, self._tokens, self._lock = control, dict(tokens), threading.Lock()
        self._active: dict[int, tuple[Rule, ...]] = {}
        self._numbers = 0
        #: Spans (UNIX seconds) in which an answer could take `RULES`' seconds instead of some hundredths.
        self.slow: list[tuple[float, float]] = []
        self._set()

    @contextmanager
    def under(self, name: str) -> Iterator[None]:
        """The rules of this fault are in force."""
        with self._lock:
            self._numbers += 1
            number, self._active[self._numbers] = self._numbers, RULES[name]
            self._set()
        began = time.time()
        try:
            yield
        finally:
            with self._lock:
                del self._active[number]
                self._set()
                if name in _LASTING:
                    self.control.inflict(faults.GoAway(last_stream_id="last"))
            if name == "apns_slow":
                self.slow.append((began, time.time()))

    @contextmanager
    def refusing(self, seconds: float) -> Iterator[None]:
        """Connections are refused, and those that were open are reset."""
        self.control.inflict(faults.Refuse(seconds=seconds))
        self.control.inflict(faults.Close(abort=True))
        yield

    def met(self, reason: str) -> int:
        """How often it gave this answer."""
        return int(self.control.counts()["answers"].get(reason, 0))

    def _set(self) -> None:
        rules = tuple(rule for some in self._active.values() for rule in some)
        self.control.set_script(Script(rules=rules, tokens=self._tokens, latency=LATENCY))
