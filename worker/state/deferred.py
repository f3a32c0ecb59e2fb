"""Devices whose retirement is deferred: their token was refused, and the provider may be to blame.

Times are on Redis' clock. Decides nothing.

carillon:suspects              set of providers that have any
carillon:suspects:<provider>   zset: [device, not after, reason] -> when it is time to decide
carillon:suspects:asked        when somebody asked last
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from worker.core.outcome import Refusal
from worker.state.redis import Redis

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Refusal).decode


class DeferredDevices:
    def __init__(self, redis: Redis) -> None:
        folder = files("worker.state").joinpath("lua")
        common = folder.joinpath("common.lua").read_text()
        self._redis = redis
        self._add, self._due = (
            redis.register_script(common + folder.joinpath(f"{name}.lua").read_text())
            for name in ("defer", "deferred_due")
        )

    def add(self, provider: int, refusals: Sequence[Refusal], *, delay: float) -> None:
        """It is time to decide about these in `delay` seconds."""
        if refusals:
            self._add(args=[provider, delay, *map(_encode, refusals)])

    def known(self, provider: int) -> set[int]:
        """The devices whose retirement is deferred."""
        found: Any = self._redis.zrange(_key(provider), 0, -1)
        return {_decode(one)[0] for one in found}

    def due(self, *, delay: float, limit: int = 5000) -> dict[int, list[Refusal]]:
        """By provider, the refusals that it is time to decide about. After a time in which nobody asked: in `delay` seconds."""
        found = self._due(args=[delay, limit])
        return {int(provider): [_decode(one) for one in members] for provider, members in found}

    def forget(self, provider: int, refusals: Sequence[Refusal]) -> None:
        """They are decided."""
        if refusals:
            self._redis.zrem(_key(provider), *map(_encode, refusals))

    def forget_all(self, provider: int) -> None:
        """All of a provider's are forgotten."""
        self._redis.delete(_key(provider))

    def waiting(self) -> bool:
        """Whether there are any."""
        return bool(self._redis.exists("carillon:suspects"))


def _key(provider: int) -> str:
    return f"carillon:suspects:{provider}"
