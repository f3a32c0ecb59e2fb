"""The health of each provider as the fleet sees it: recent answers, and the breaker that stops one whose answers say so."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from worker.core.breaker import Stopped, probe_interval
from worker.core.outcome import IN_A_ROW
from worker.state import keys
from worker.state.redis import Redis
from worker.state.scripts import Scripts

#: Answers that count at most. A number, not a time: a mistake must show within as many at any rate of pushes.
RECENT: Final = 400
#: Seconds for which a stop is kept: outcomes that were decided before it are carried out by then.
REMEMBERED: Final = 120


class Answers(NamedTuple):
    answered: int
    refused: int
    #: Answers 410: the app is gone from the device.
    gone: int = 0
    #: Notifications without an answer, and those that the provider cannot take now.
    failed: int = 0
    #: Batches in a row of which nothing was answered, and the seconds over which they failed.
    row: int = 0
    lasted: float = 0.0
    #: Devices whose token was refused with no other answer between.
    in_a_row: int = 0


class Breaker:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)

    def stopped(self, provider: int) -> Stopped | None:
        found: Any = self._redis.hgetall(keys.BREAKER(provider))
        return _stopped(found) if found else None

    def stopped_among(self, providers: Sequence[int]) -> dict[int, Stopped]:
        """Those of the providers that are stopped."""
        with self._redis.pipeline(transaction=False) as pipe:
            for id in providers:
                pipe.hgetall(keys.BREAKER(id))
            answers = pipe.execute() if providers else []
        return {id: _stopped(found) for id, found in zip(providers, answers, strict=True) if found}

    def stop(self, provider: int, reason: str, now: float, *, manual: bool = False) -> bool:
        """Stops the provider; True when it flowed before. A person's stop outlasts ours."""
        with self._redis.pipeline() as pipe:
            pipe.hsetnx(keys.BREAKER(provider), "since", now)
            if manual:
                pipe.hset(keys.BREAKER(provider), mapping={"reason": reason, "manual": 1})
            else:
                pipe.hsetnx(keys.BREAKER(provider), "reason", reason)
                pipe.set(keys.STOPPED(provider, reason), 1, ex=REMEMBERED)
            pipe.set(keys.PROBE(provider), 1, nx=True, px=int(probe_interval(Stopped(reason, now), now) * 1000))
            fresh, *_ = pipe.execute()
        return bool(fresh)

    def put_off(self, provider: int, seconds: float) -> None:
        """No probe is sent before so many seconds have passed: it asked for that, or the last one failed."""
        self._redis.set(keys.PROBE(provider), 1, px=max(1, int(seconds * 1000)))

    def look_again(self, provider: int) -> None:
        """Another batch of it may be taken at once, to see: nothing was sent of the last one."""
        self._redis.delete(keys.PROBE(provider), keys.LOOKED(provider))

    def was_stopped_recently(self, provider: int, reason: str) -> bool:
        """Whether answers stopped it for this reason in the last two minutes, even if it flows again."""
        return bool(self._redis.exists(keys.STOPPED(provider, reason)))

    def resume(self, provider: int, *, by_hand: bool = False) -> bool:
        """Lets the provider flow again, with all that waits for it, and forgets its answers; True when it was stopped.

        Only a person resumes what a person paused.
        """
        return bool(self._scripts.resume(provider=provider, by_hand=int(by_hand)))

    def record(
        self,
        provider: int,
        *,
        answered: int = 0,
        refused: Collection[int] = (),
        gone: int = 0,
        failed: int = 0,
        alive: bool | None = None,
        lasted: float = 0.0,
    ) -> Answers:
        """Adds a batch's answers; returns the recent ones with them.

        `alive`: whether anything of it was answered, None where nothing was sent; `lasted`: seconds that its sending took.
        """
        state = {True: 1, False: -1, None: 0}[alive]
        all_answered, all_refused, all_gone, all_failed, row, over, in_a_row = self._scripts.answers(
            answers=keys.ANSWERS(provider),
            refused_devices=keys.REFUSED(provider),
            recent=RECENT,
            answered=answered,
            refused=len(refused),
            gone=gone,
            failed=failed,
            state=state,
            lasted=lasted,
            devices=list(islice(refused, IN_A_ROW)),
        )
        return Answers(all_answered, all_refused, all_gone, all_failed, row, over / 1000, in_a_row)


def _stopped(found: Mapping[bytes, bytes]) -> Stopped:
    return Stopped(found[b"reason"].decode(), float(found[b"since"]), found.get(b"manual") == b"1")
