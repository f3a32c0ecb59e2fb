"""Each panel is worked out at most once in two seconds for all who look: ten people in an incident cost what one does."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

_T = TypeVar("_T")
#: Seconds.
LIFE: Final = 2.0
#: Entries.
_MOST: Final = 500


class Cache(Generic[_T]):
    """Single flight: who asks while something is being worked out waits for that. For one event loop."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[float, asyncio.Task[_T]]] = {}

    async def get(self, key: str, make: Callable[[], Coroutine[Any, Any, _T]], patience: float) -> _T:
        """What `make` gives, now or within the last two seconds. Raises `TimeoutError` after `patience` seconds."""
        now = asyncio.get_running_loop().time()
        made = self._made.get(key)
        # One that fails or hangs is not asked again before its time either.
        if made is None or (now - made[0] > LIFE and made[1].done()):
            self._forget(now)
            made = self._made[key] = (now, asyncio.create_task(make()))
        return await asyncio.wait_for(asyncio.shield(made[1]), patience)

    def _forget(self, now: float) -> None:
        for key in [key for key, (at, task) in self._made.items() if now - at > LIFE and task.done()]:
            del self._made[key]
        while len(self._made) >= _MOST:
            del self._made[next(iter(self._made))]
