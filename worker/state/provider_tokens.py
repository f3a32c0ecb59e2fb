"""Provider tokens that the whole fleet shares, because Apple wants one for each key. Makes none, decides nothing."""

from worker.state.partition import Fleet
from worker.state.redis import Error


class ProviderTokens:
    """`key` is (team, key, fingerprint of the private key). Raises what stands for a Redis that is away."""

    away: tuple[type[Exception], ...] = (Error,)

    def __init__(self, fleet: Fleet) -> None:
        self._redis, self._keys = fleet.redis, fleet.keys

    def read(self, key: tuple[str, str, str]) -> str | None:
        """The fleet's token."""
        found = self._redis.get(self._keys.PROVIDER_TOKEN(*key))
        return found.decode() if isinstance(found, bytes) else None

    def write(self, key: tuple[str, str, str], token: str, *, seconds: int) -> None:
        """This is the fleet's token, for so long."""
        self._redis.set(self._keys.PROVIDER_TOKEN(*key), token, ex=seconds)

    def lease(self, key: tuple[str, str, str], *, seconds: float) -> bool:
        """Whether the caller alone may make a new token, for so many seconds."""
        return bool(self._redis.set(self._keys.PROVIDER_TOKEN_LEASE(*key), "1", nx=True, px=int(seconds * 1000)))

    def release(self, key: tuple[str, str, str]) -> None:
        """Another one may make a token."""
        self._redis.delete(self._keys.PROVIDER_TOKEN_LEASE(*key))
