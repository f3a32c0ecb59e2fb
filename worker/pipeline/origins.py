"""The origin of each device, by the name of the origin's way."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from worker.core.model import Device
from worker.core.purposes import ALERT, part_of
from worker.pipeline.apps import Apps
from worker.pipeline.plan import OriginsOf
from worker.providers.base import Kind
from worker.providers.kinds import kind_of
from worker.state.origins import Origins

#: Seconds for which a process keeps the name of an origin's way before it records again that the origin is used.
_KNOWN: Final = 60.0


class DeviceOrigins:
    """Shared by the threads of a process. `clock` gives seconds."""

    def __init__(self, apps: Apps, origins: Origins, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._apps, self._origins, self._clock = apps, origins, clock
        #: Provider -> when its used origins were last recorded, and the names of their ways.
        self._names: dict[int, tuple[float, dict[str, str]]] = {}

    def of(self, provider_id: int, purpose: str = ALERT) -> OriginsOf | None:
        """A function that gives the origin of each device of this purpose; None where none has an origin."""
        provider = self._apps.provider(provider_id)
        if provider is None or not (has_origins(kind := kind_of(provider)) or part_of(purpose)):
            return None

        def origins_of(devices: Sequence[Device]) -> Sequence[str]:
            origins = [kind.origin(device.token, device.platform, device.purpose) for device in devices]
            names = self._named(provider_id, set(origins) - {""})
            return [names.get(origin, "") for origin in origins]

        return origins_of

    def _named(self, provider: int, used: set[str]) -> dict[str, str]:
        at, names = self._names.get(provider, (0.0, {}))
        if self._clock() - at > _KNOWN:
            at, names = self._clock(), {}
        if new := used - names.keys():
            names = names | self._origins.note(provider, new)
            self._names[provider] = at, names
        return names


def has_origins(kind: Kind) -> bool:
    return type(kind).origin is not Kind.origin
