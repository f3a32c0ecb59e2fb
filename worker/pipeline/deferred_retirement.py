"""Refusals of a device token that a wrong host or topic gives as well: the device is retired later, if nobody else is to blame.

A provider's mistake shows after some refusals. What is retired meanwhile gets no message until it is taken back, so nothing is
retired before there was time for the mistake to show.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from worker.core import webhook_answer
from worker.core.outcome import GUARDED, MASS_REFUSAL, Refusal
from worker.database.devices import Devices
from worker.state.breaker import Breaker
from worker.state.suspects import Suspects

log = logging.getLogger(__name__)

#: Seconds from a refusal to the retirement: at a few pushes a second a mistake has shown by then.
SECONDS: Final = 5.0
#: Reasons that only raise a suspicion.
SUSPICIOUS: Final = frozenset((*GUARDED, webhook_answer.ALL_GONE))


class Suspicion:
    """`name` gives a provider's name for people."""

    def __init__(
        self, suspects: Suspects, breaker: Breaker, devices: Devices, *, name: Callable[[int], str] = str
    ) -> None:
        self._suspects, self._breaker, self._devices, self._name = suspects, breaker, devices, name

    def raise_against(self, provider: int, refusals: Sequence[Refusal]) -> None:
        self._suspects.add(provider, refusals, delay=SECONDS)

    def known(self, provider: int) -> set[int]:
        """Devices of this provider that are suspected already: another refusal of one tells nothing new."""
        return self._suspects.known(provider)

    def waiting(self) -> bool:
        """Whether there are devices about which it is to be decided."""
        return self._suspects.waiting()

    def settle(self) -> int:
        """Retires the suspects whose time has come; returns how many."""
        retired = 0
        for provider, refusals in self._suspects.due(delay=SECONDS).items():
            if not self._breaker.stopped_lately(provider, MASS_REFUSAL):
                retired += self._devices.retire(provider, refusals)
                # Whoever retires looks after it has, and whoever stops the provider after it did: none falls between the two.
                if self._breaker.stopped_lately(provider, MASS_REFUSAL):
                    self.take_back(provider)
            self._suspects.forget(provider, refusals)
        return retired

    def take_back(self, provider: int) -> None:
        """The provider was at fault: its suspects are none, and what was retired while that was coming to light is back."""
        self._suspects.acquit(provider)
        back = self._devices.reprieve(provider, SUSPICIOUS)
        if back:
            log.error(
                "devices restored: the provider was at fault when they were refused",
                extra={"provider": self._name(provider), "devices": back},
            )
