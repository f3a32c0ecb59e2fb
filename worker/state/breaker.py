"""The health of each way, shared by the fleet: its recent answers, and its circuit breaker."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from worker.core.breaker import Stopped, probe_interval
from worker.core.outcome import IN_A_ROW, MASS_REFUSAL
from worker.core.way import Way, provider_in
from worker.state.partition import Partition
from worker.state.redis import there

#: Answers that count at most. It is a number, not a time: a mistake must show after as many answers at any rate of pushes.
RECENT: Final = 400
#: Seconds for which a stop is remembered: by then the outcomes that were decided before it are carried out.
REMEMBERED: Final = 120
#: Seconds for which the first refusal of a device is remembered.
REMEMBERED_REFUSALS: Final = 86_400


#: A device, and ms since the epoch of its registration: with another one it has another token.
Registration = tuple[int, int]


class Answers(NamedTuple):
    answered: int
    refused: int
    #: Answers that the device is gone.
    gone: int = 0
    #: Notifications without an answer, and those that the provider cannot accept now.
    failed: int = 0
    #: Batches in a row without any answer, and the seconds over which they failed.
    row: int = 0
    lasted: float = 0.0
    #: Devices whose token was refused, with no other answer in between.
    in_a_row: int = 0
    #: Whether any device was refused and has accepted nothing since.
    unproven: bool = False


class FirstRefusal(NamedTuple):
    """Of a device whose token was refused: seconds since its first refusal (0.0: this is it), and whether the way works.

    `proven`: a push was accepted that was sent after that refusal; `worked`: one was accepted with the same credential,
    within a day.
    """

    age: float
    proven: bool
    worked: bool = False


class Breaker:
    def __init__(self, partition: Partition) -> None:
        self._redis, self._keys, self._scripts = partition.redis, partition.keys, partition.scripts

    def stopped(self, way: Way) -> Stopped | None:
        found: Any = self._redis.hgetall(self._keys.BREAKER(way))
        return _stopped(found) if found else None

    def stopped_among(self, ways: Sequence[Way]) -> dict[Way, Stopped]:
        """The ways that are stopped themselves, not through their provider."""
        keyed = {self._keys.BREAKER(way): way for way in ways}
        found = there(self._redis, list(keyed))
        with self._redis.pipeline(transaction=False) as pipe:
            for key in found:
                pipe.hgetall(key)
            answers = pipe.execute() if found else []
        return {keyed[key]: _stopped(answer) for key, answer in zip(found, answers, strict=True) if answer}

    def probes(self, way: Way) -> int:
        """How many probes were sent since it stopped."""
        return int(self._redis.hget(self._keys.BREAKER(way), "probes") or 0)

    def stop(self, way: Way, reason: str, now: float, *, manual: bool = False) -> bool:
        """Stops the way; True if it flowed before. A stop by a person stays when a worker stops the way too.

        A mass refusal of one way is remembered for its provider too: the cause may be common to all of its ways.
        """
        with self._redis.pipeline() as pipe:
            pipe.hsetnx(self._keys.BREAKER(way), "since", now)
            if manual:
                pipe.hset(self._keys.BREAKER(way), mapping={"reason": reason, "manual": 1})
            else:
                pipe.hsetnx(self._keys.BREAKER(way), "reason", reason)
                for stopped in {way, provider_in(way)} if reason == MASS_REFUSAL else {way}:
                    pipe.set(self._keys.STOPPED(stopped, reason), 1, ex=REMEMBERED)
            pipe.set(self._keys.PROBE(way), 1, nx=True, px=int(probe_interval(Stopped(reason, now), now) * 1000))
            fresh, *_ = pipe.execute()
        return bool(fresh)

    def put_off(self, way: Way, seconds: float) -> None:
        """Sends no probe for so many seconds: the provider asked for that, or the last probe failed."""
        self._redis.set(self._keys.PROBE(way), 1, px=max(1, int(seconds * 1000)))

    def look_again(self, stopped: Way, way: Way, *, probe: bool) -> None:
        """Allows another batch of the way to be taken at once, with `probe` for a probe: nothing of the last one was sent."""
        self._scripts.look_again(stopped=stopped, way=way, probe=int(probe))

    def was_stopped_recently(self, way: Way, reason: str) -> bool:
        """Whether answers stopped it for this reason in the last two minutes, even if it flows again."""
        return bool(self._redis.exists(self._keys.STOPPED(way, reason)))

    def resume(self, way: Way, *, by_hand: bool = False) -> bool:
        """Lets the way flow again, with all that waits for it, and forgets its answers; True if it was stopped.

        Only a person resumes what a person paused, and lets all ways of the provider flow, over a quota or not.
        """
        return bool(self._scripts.resume(way=way, by_hand=int(by_hand)))

    def record(
        self,
        way: Way,
        *,
        answered: int = 0,
        refused: Collection[int] = (),
        gone: int = 0,
        failed: int = 0,
        alive: bool | None = None,
        lasted: float = 0.0,
        ago: float | None = None,
        credential: str = "",
    ) -> Answers:
        """Adds a batch's answers; returns the recent ones with them.

        `alive`: whether anything of it was answered, None where nothing was sent; `lasted`: seconds that its sending took;
        `ago`: seconds since the sending began, if anything was accepted; `credential`: names what it was sent with.
        """
        state = {True: 1, False: -1, None: 0}[alive]
        all_answered, all_refused, all_gone, all_failed, row, over, in_a_row, unproven = self._scripts.answers(
            answers=self._keys.ANSWERS(way),
            refused_devices=self._keys.REFUSED(way),
            first_refusals=self._keys.FIRST_REFUSALS(way),
            recent=RECENT,
            answered=answered,
            refused=len(refused),
            gone=gone,
            failed=failed,
            state=state,
            lasted=lasted,
            ago=-1 if ago is None else ago,
            credential=credential,
            devices=list(islice(refused, IN_A_ROW)),
        )
        return Answers(all_answered, all_refused, all_gone, all_failed, row, over / 1000, in_a_row, bool(unproven))

    def first_refusals(
        self, way: Way, refused: Sequence[Registration], *, ago: float | None = None, credential: str = ""
    ) -> list[FirstRefusal]:
        """Notes that these were refused; the refusal may be a fault of ours. `ago` and `credential` as of `record`."""
        *found, (worked,) = self._scripts.first_refusals(
            answers=self._keys.ANSWERS(way),
            first_refusals=self._keys.FIRST_REFUSALS(way),
            ago=-1 if ago is None else ago,
            credential=credential,
            memory=REMEMBERED_REFUSALS,
            devices=[_named(one) for one in refused],
        )
        return [FirstRefusal(age / 1000, bool(proven), bool(worked)) for age, proven in found]

    def accepted(self, way: Way, accepted: Collection[Registration]) -> None:
        """These accepted a push: earlier refusals of them were no fault of theirs."""
        if accepted:
            self._redis.zrem(self._keys.FIRST_REFUSALS(way), *map(_named, accepted))


class Breakers:
    """The breakers of an app's partitions, as a person has them: one stop and one resume for all of them."""

    def __init__(self, partitions: Sequence[Partition]) -> None:
        self.partitions, self._each = partitions, [Breaker(one) for one in partitions]

    def stop(self, way: Way, reason: str, now: float) -> bool:
        """Stops the way by hand; True if it flowed before in any partition. Repeat it where it did not come to its end."""
        stopped = [one.stop(way, reason, now, manual=True) for one in self._each]
        return any(stopped)

    def resume(self, way: Way) -> bool:
        """Lets the provider flow by hand, as of `Breaker.resume`; True if any of it was stopped."""
        resumed = [one.resume(way, by_hand=True) for one in self._each]
        return any(resumed)

    def stopped(self, way: Way) -> Stopped | None:
        """What a person stopped, else what stopped it first."""
        return self.stopped_among([way]).get(way)

    def stopped_among(self, ways: Sequence[Way]) -> dict[Way, Stopped]:
        """As of `Breaker.stopped_among`; of a way that several partitions stopped as `stopped` has it."""
        found: dict[Way, Stopped] = {}
        for one in self._each:
            for way, stopped in one.stopped_among(ways).items():
                found[way] = min(found.get(way, stopped), stopped, key=_weight)
        return found

    def look_again(self, way: Way) -> None:
        """Allows a probe of a way that is stopped, in each partition."""
        for one in self._each:
            one.look_again(way, way, probe=True)

    def probes(self, way: Way) -> int:
        """How many probes were sent since it stopped."""
        return sum(one.probes(way) for one in self._each)


def _weight(stopped: Stopped) -> tuple[bool, float]:
    return not stopped.manual, stopped.since


def _named(one: Registration) -> str:
    return f"{one[0]}/{one[1]}"


def _stopped(found: Mapping[bytes, bytes]) -> Stopped:
    return Stopped(found[b"reason"].decode(), float(found[b"since"]), found.get(b"manual") == b"1")
