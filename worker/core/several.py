"""Whether several devices said the same within a short time, which a service does not say in one answer."""

from collections import deque
from collections.abc import Hashable
from typing import Final

#: So many devices within so many seconds are several.
DEVICES: Final = 3
SECONDS: Final = 60.0


class Several:
    """By group, such as a provider or a host. Not thread-safe."""

    def __init__(self) -> None:
        #: By group: when, and which device; the last `DEVICES` of them.
        self._recent: dict[Hashable, deque[tuple[float, str]]] = {}

    def with_this(self, group: Hashable, device: str, now: float) -> bool:
        """Whether this device makes them several, or they are; `now` in seconds of any clock."""
        recent = self._recent.setdefault(group, deque(maxlen=DEVICES))
        while recent and recent[0][0] <= now - SECONDS:
            recent.popleft()
        if device not in (one for _, one in recent):
            recent.append((now, device))
        return len(recent) == DEVICES
