"""Plays a script: the answer, delay and fault of each request that passes the rules."""

import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from worker.simulator.faults import Fault
from worker.simulator.script import OK, Answer, Latency, Rule, Script, Share


class Plan(NamedTuple):
    """The answer, delay and fault of one request. `delay` is in seconds."""

    answer: Answer
    delay: float = 0.0
    fault: Fault | None = None


class _RuleState:
    __slots__ = ("left", "pattern", "rule", "seen", "token")

    def __init__(self, rule: Rule, canonical: Callable[[str], str]) -> None:
        self.rule = rule
        self.token = None if rule.token is None else canonical(rule.token)
        self.pattern = None if rule.pattern is None else re.compile(rule.pattern)
        self.seen = 0
        self.left = math.inf if rule.count is None else rule.count


class Player:
    """A script and its progress. The same seed and requests give the same plans. `now` is in seconds.

    `canonical` gives a token of the script as requests have it.
    """

    def __init__(self, script: Script, seed: int, now: float, canonical: Callable[[str], str] = str.lower) -> None:
        self._canonical = canonical
        self.script = script
        self._random = random.Random(seed)
        self._seed = seed.to_bytes(8, "big", signed=True)
        self._began = now
        self._rules = [_RuleState(rule, canonical) for rule in script.rules if rule.on == "request"]
        self._connect = [_RuleState(rule, canonical) for rule in script.rules if rule.on == "connect"]
        #: By token, for tokens with their own answer.
        self.answers: dict[str, Answer] = {}
        #: The tokens with their own answers.
        self.named: frozenset[bytes] = frozenset()
        #: Whether all other tokens are answered at once, and only by shares.
        self.plain = not (self._rules or script.latency)
        self.add_tokens(script.tokens)

    def add_tokens(self, tokens: Mapping[str, Answer]) -> None:
        """Answers for single tokens, beyond the script's own."""
        self.answers |= {self._canonical(token): answer for token, answer in tokens.items()}
        self.named = frozenset(token.encode() for token in self.answers)

    def plan(self, token: str, topic: str | None, push_type: str | None, connection: int, now: float) -> Plan:
        """The plan for a request that passes the rules."""
        if self.plain:
            return Plan(self.answers.get(token) or self.share(token))
        answer, latency, fault = None, None, None
        for state in self._rules:
            rule = state.rule
            if (
                (state.token is None or state.token == token)
                and (state.pattern is None or state.pattern.search(token))
                and (rule.topic is None or rule.topic == topic)
                and (rule.push_type is None or rule.push_type == push_type)
                and self._takes(state, connection, now)
            ):
                answer = answer or rule.answer
                latency = rule.latency if latency is None else latency
                fault = fault or rule.fault
        answer = answer or self.answers.get(token) or self.share(token)
        return Plan(answer, self._seconds(self.script.latency if latency is None else latency), fault)

    def on_connect(self, connection: int, now: float) -> Iterable[Fault]:
        """The faults for a new connection."""
        return [s.rule.fault for s in self._connect if s.rule.fault is not None and self._takes(s, connection, now)]

    def _takes(self, state: _RuleState, connection: int, now: float) -> bool:
        rule, since = state.rule, now - self._began
        if rule.connection not in (None, connection) or since < rule.after or not state.left:
            return False
        if rule.until is not None and since >= rule.until:
            return False
        if rule.share is not None and self._random.random() >= rule.share:
            return False
        state.seen += 1
        if state.seen <= rule.skip or (state.seen - rule.skip - 1) % rule.every:
            return False
        state.left -= 1
        return True

    def share(self, token: str) -> Answer:
        """The answer of the shares for a request."""
        for share in self.script.shares:
            if self._lot(share, token) < share.share:
                return share.answer
        return OK

    def _lot(self, share: Share, token: str) -> float:
        if share.by == "request":
            return self._random.random()
        digest = blake2b(token.encode(), digest_size=8, key=self._seed).digest()
        return int.from_bytes(digest, "big") / 2**64

    def _seconds(self, latency: float | Latency | None) -> float:
        if latency is None:
            return 0.0
        if not isinstance(latency, Latency):
            return latency
        if latency.median is not None:
            return max(latency.low, self._random.lognormvariate(math.log(latency.median), latency.sigma))
        return self._random.uniform(latency.low, latency.low if latency.high is None else latency.high)
