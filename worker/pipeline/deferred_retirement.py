"""Refusals that a wrong host or topic causes as well: the device is retired later, unless the provider is at fault.

A provider's mistake shows after some refusals. A device that is retired meanwhile gets no message until it is restored, so no
device is retired before a mistake had time to show.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from worker.core.outcome import MASS_REFUSAL, Refusal
from worker.core.way import Way, provider_in
from worker.database.devices import Devices
from worker.providers.kinds import deferred_reasons
from worker.state.breaker import Breaker
from worker.state.deferred import DeferredDevices

log = logging.getLogger(__name__)

#: Seconds from a refusal to the retirement: at a few pushes a second a mistake has shown by then.
SECONDS: Final = 5.0
#: Reasons that are not believed at once.
DEFERRED_REASONS: Final = deferred_reasons()


class DeferredRetirement:
    """`name` gives a provider's name for people."""

    def __init__(
        self, deferred: DeferredDevices, breaker: Breaker, devices: Devices, *, name: Callable[[int], str] = str
    ) -> None:
        self._deferred, self._breaker, self._devices, self._name = deferred, breaker, devices, name

    def defer(self, way: Way, refusals: Sequence[Refusal]) -> None:
        self._deferred.add(way, refusals, delay=SECONDS)

    def waiting(self) -> bool:
        """Whether any retirement is deferred."""
        return self._deferred.waiting()

    def retire_due(self) -> int:
        """Retires the devices that are due; returns how many. None while any way of their provider refuses most."""
        retired = 0
        for way, refusals in self._deferred.due(delay=SECONDS).items():
            provider = provider_in(way)
            if not self._breaker.was_stopped_recently(provider, MASS_REFUSAL):
                retired += self._devices.retire(provider, refusals)
                # Check again. The side that opens the breaker checks after opening, so one of the two sees the other.
                if self._breaker.was_stopped_recently(provider, MASS_REFUSAL):
                    self.cancel(way)
            self._deferred.forget(way, refusals)
        return retired

    def cancel(self, way: Way) -> None:
        """The way was at fault: its deferred retirements are dropped, and what was retired meanwhile is restored.

        That is every device of the provider: a row does not tell its origin. One that is gone is refused and retired again.
        """
        self._deferred.forget_all(way)
        provider = provider_in(way)
        back = self._devices.reprieve(provider, DEFERRED_REASONS)
        if back:
            log.error(
                "devices restored: the provider was at fault when they were refused",
                extra={"provider": self._name(provider), "devices": back},
            )
