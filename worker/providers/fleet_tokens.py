"""Access tokens that a whole fleet sends with: one process makes the next one under a lease, all others take it.

Apple answers 429 to those who make many, and Google's endpoint is one more thing that can be away. Only the token is shared,
never the secret that makes it. What a token is, and how old it may be, its `Maker` says.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from config.seldom import Seldom
from worker.providers.base import TokenKey, TokenStore

#: Seconds for which a process uses its copy before it reads the fleet's token again.
LOCAL_SECONDS: Final = 30.0
#: Seconds by which a token may be issued in the future, because two clocks differ.
SKEW: Final = 60.0
#: Seconds that a process waits after it failed to make a token.
PAUSE: Final = 5.0
_POLL: Final = 0.02

#: `fresh`: use it; `due`: use it, and a process should replace it; `stale`: it would be refused.
State = Literal["fresh", "due", "stale"]

log: Final = logging.getLogger(__name__)
seldom: Final = Seldom(log)


@dataclass(frozen=True, slots=True)
class FleetToken:
    """`text` is the form in the store, `bearer` the form in a request; times in UNIX seconds."""

    text: str = field(repr=False)
    bearer: str = field(repr=False)
    issued_at: float
    #: From the first time on a process should replace it; from the second on nobody uses it.
    due_at: float
    ends_at: float

    def state(self, now: float) -> State:
        if now >= self.ends_at or now < self.issued_at - SKEW:
            return "stale"
        return "due" if now >= self.due_at else "fresh"


class Maker(Protocol):
    """What makes the tokens of one credential."""

    @property
    def key(self) -> TokenKey: ...
    def make(self, now: float) -> str:
        """The text of a new token, issued at `now` or a little before."""
        ...

    def read(self, text: str) -> FleetToken: ...


@dataclass(slots=True)
class _Local:
    token: FleetToken
    #: When it was last compared with the fleet's token.
    looked_at: float


class FleetTokens:
    """The fleet's tokens as one process sees them. Thread-safe.

    `faults`: what a `Maker` raises that may pass. A token that still lives goes on while its successor cannot be made.
    `lease_seconds`: how long making one may take, before another process may try as well.
    """

    def __init__(
        self, store: TokenStore, *, lease_seconds: float = 5.0, faults: tuple[type[Exception], ...] = ()
    ) -> None:
        self._store, self._lease_seconds, self._faults = store, lease_seconds, faults
        self._local: dict[TokenKey, _Local] = {}
        self._failed: dict[TokenKey, tuple[float, Exception]] = {}
        #: The token that was refused last, by key. It is not used again, even while there is no other one.
        self._refused: dict[TokenKey, str] = {}
        self._locks: dict[TokenKey, threading.Lock] = {}
        self._guard = threading.Lock()

    def current(self, maker: Maker, now: float) -> FleetToken:
        """The token to send with at `now` (UNIX seconds): from memory, from the fleet's store, or made for everybody.

        Raises only where no token lives: what the store raises where it is away, or what the maker raises.
        """
        key = maker.key
        local = self._local.get(key)
        if local and now - local.looked_at < LOCAL_SECONDS and self._state(maker, local.token, now) == "fresh":
            return local.token
        with self._lock(key):
            try:
                return self._renewed(maker, now)
            except (*self._store.away, *self._faults) as fault:
                local = self._local.get(key)
                if local is None or self._state(maker, local.token, now) == "stale":
                    raise
                seldom.warning(
                    "access token not renewed: %s", type(fault).__name__, about=key[1], extra={"key_id": key[1]}
                )
                return local.token

    def other_than(self, maker: Maker, bearer: str, now: float) -> FleetToken | None:
        """The fleet's token, if it is another one than `bearer`, which was refused."""
        with self._lock(maker.key):
            shared = self._look(maker, now)
        return (
            None if shared is None or shared.bearer == bearer or self._state(maker, shared, now) == "stale" else shared
        )

    def replace(self, maker: Maker, bearer: str, now: float) -> FleetToken:
        """A new token in place of `bearer`, or the one with which another process has replaced it."""
        with self._lock(maker.key):
            self._refused[maker.key] = bearer
            return self._made(maker, now, instead_of=bearer)

    def _renewed(self, maker: Maker, now: float) -> FleetToken:
        shared = self._look(maker, now)
        state = self._state(maker, shared, now) if shared else "stale"
        if shared and state == "fresh":
            return shared
        if shared and state == "due" and not self._lease(maker.key):
            return shared
        return self._made(maker, now, instead_of=shared.bearer if shared else None, leased=state == "due")

    def _state(self, maker: Maker, token: FleetToken, now: float) -> State:
        return "stale" if token.bearer == self._refused.get(maker.key) else token.state(now)

    def _look(self, maker: Maker, now: float) -> FleetToken | None:
        text = self._store.read(maker.key)
        if text is None:
            return None
        local = self._local.get(maker.key)
        if local is None or local.token.text != text:
            local = self._local[maker.key] = _Local(maker.read(text), now)
        local.looked_at = now
        return local.token

    def _made(self, maker: Maker, now: float, *, instead_of: str | None, leased: bool = False) -> FleetToken:
        """A new token for the fleet: ours under the lease, or that of the process that had the lease meanwhile."""
        key = maker.key
        waiting_ends = time.monotonic() + 2 * self._lease_seconds
        while not leased and not (leased := self._lease(key)):
            shared = self._look(maker, now)
            if shared and shared.bearer != instead_of and self._state(maker, shared, now) != "stale":
                return shared
            if time.monotonic() > waiting_ends:
                break
            time.sleep(_POLL)
        try:
            # Another process may have finished between our read and the lease.
            shared = self._look(maker, now)
            if shared and shared.bearer != instead_of and self._state(maker, shared, now) == "fresh":
                return shared
            return self._publish(maker, now)
        finally:
            if leased:
                self._store.release(key)

    def _publish(self, maker: Maker, now: float) -> FleetToken:
        key = maker.key
        failed = self._failed.get(key)
        if failed is not None and now - failed[0] < PAUSE:
            raise failed[1]
        try:
            text = maker.make(now)
        except self._faults as fault:
            self._failed[key] = (now, fault)
            raise
        self._failed.pop(key, None)
        token = maker.read(text)
        self._store.write(key, text, seconds=3600)
        self._local[key] = _Local(token, now)
        log.info("access token made", extra={"account": key[0], "key_id": key[1]})
        return token

    def _lease(self, key: TokenKey) -> bool:
        return self._store.lease(key, seconds=self._lease_seconds)

    def _lock(self, key: TokenKey) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())
