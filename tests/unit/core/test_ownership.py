"""One device, one owner: the fold of its writes against a second, slower reading of the same rules."""

from dataclasses import dataclass
from datetime import datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from worker.core.ownership import (
    ANYONE,
    MAX_SEEN,
    MAX_TOMBSTONES,
    Details,
    Registration,
    end,
    instant,
    mark,
    microseconds,
    refuse,
    register,
    unmet_registration,
    unmet_unregistration,
    unregister,
)


@dataclass(frozen=True)
class Write:
    """A registration, or without a provider an unregistration."""

    number: int
    at: int
    user: str | None
    provider: int | None = None


@dataclass(frozen=True)
class Refusal:
    provider: int
    until: int


def fold(state: Registration | None, write: Write | Refusal) -> Registration | None:
    if isinstance(write, Refusal):
        return None if state is None else refuse(state, provider_id=write.provider, until=write.until)
    event = mark(f"e{write.number}")
    if write.provider is None:
        return unregister(state, user=write.user, at=write.at, event=event)
    return register(state, user=write.user or "", provider_id=write.provider, at=write.at, event=event)


def owner(arrived: list[Write | Refusal]) -> str | None:
    """The rules, read off all writes together: sort by time, take the last registration, see whether anything ended it."""
    first = list(dict.fromkeys(write for write in arrived if isinstance(write, Write)))
    order = sorted(first, key=lambda write: write.at)
    places = [place for place, write in enumerate(order) if write.provider is not None]
    if not places:
        return None
    last = order[places[-1]]
    if any(write.user in (None, last.user) for write in order[places[-1] + 1 :]):
        return None
    refusals = [one for one in arrived if isinstance(one, Refusal)]
    if any(one.provider == last.provider and one.until >= last.at for one in refusals):
        return None
    return last.user


USERS = st.sampled_from(["han", "leia", "luke"])
#: Few moments: ties are common.
TIMES = st.integers(1, 6)
PROVIDERS = st.integers(1, 2)


class AnyInterleaving(RuleBasedStateMachine):
    """Writes come in any order and again; refusals of either provider fall in between."""

    def __init__(self) -> None:
        super().__init__()
        self.state: Registration | None = None
        self.arrived: list[Write | Refusal] = []

    def _arrive(self, write: Write | Refusal) -> None:
        self.arrived.append(write)
        self.state = fold(self.state, write)

    @initialize(user=USERS, at=TIMES, provider=PROVIDERS)
    def begins_with_a_registration(self, user: str, at: int, provider: int) -> None:
        self._arrive(Write(0, at, user, provider))

    @rule(user=USERS, at=TIMES, provider=PROVIDERS)
    def registers(self, user: str, at: int, provider: int) -> None:
        self._arrive(Write(len(self.arrived), at, user, provider))

    @rule(user=st.none() | USERS, at=TIMES)
    def unregisters(self, user: str | None, at: int) -> None:
        self._arrive(Write(len(self.arrived), at, user))

    @rule(provider=PROVIDERS, until=TIMES)
    def is_refused(self, provider: int, until: int) -> None:
        self._arrive(Refusal(provider, until))

    @rule(data=st.data())
    def repeats(self, data: st.DataObject) -> None:
        # As many writes back as a device remembers of one and the same time.
        self._arrive(data.draw(st.sampled_from(self.arrived[-MAX_SEEN:])))

    @invariant()
    def the_owner_is_that_of_all_writes_together(self) -> None:
        found = self.state.user if self.state and self.state.active else None
        assert found == owner(self.arrived), self.arrived

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        if self.state:
            assert len(self.state.tombstones or ()) <= MAX_TOMBSTONES + 1
            assert len(self.state.seen) <= MAX_SEEN
            assert all(at >= self.state.registered_at for at in (self.state.tombstones or {}).values())


def test_M2_M5_any_interleaving_finds_the_same_owner() -> None:
    run_state_machine_as_test(
        AnyInterleaving, settings=settings(max_examples=200, stateful_step_count=20, deadline=None)
    )


@pytest.mark.parametrize("order", range(24))
def test_M5_distinct_times_make_any_order_of_arrival_the_same(order: int) -> None:
    from itertools import permutations

    writes: list[Write | Refusal] = [
        Write(1, 10, "han", 1),
        Write(2, 20, "leia", 1),
        Write(3, 30, "han"),
        Write(4, 15, None),
    ]
    state: Registration | None = None
    for write in list(permutations(writes))[order]:
        state = fold(state, write)
    assert state is not None
    assert (state.user, state.active) == ("leia", True)


def test_M3_an_unregistration_by_somebody_else_ends_nothing_and_M4_one_by_nobody_ends_it() -> None:
    owned = register(None, user="han", provider_id=1, at=10)
    assert unregister(owned, user="luke", at=11).active
    assert not unregister(owned, user="han", at=11).active
    assert not unregister(owned, user=None, at=11).active


def test_A3_an_unregistration_that_overtook_its_registration_still_ends_it() -> None:
    early = unregister(None, user="han", at=20)
    assert not register(early, user="han", provider_id=1, at=10).active
    assert register(early, user="leia", provider_id=1, at=10).active
    assert register(early, user="han", provider_id=1, at=21).active


def test_a_refusal_speaks_for_its_own_provider_and_for_registrations_up_to_its_time() -> None:
    owned = register(None, user="han", provider_id=1, at=10)
    assert refuse(owned, provider_id=2, until=20).active
    refused = refuse(owned, provider_id=1, until=20)
    assert not refused.active
    assert not register(refused, user="han", provider_id=1, at=20).active
    assert register(refused, user="han", provider_id=1, at=21).active
    assert register(refused, user="han", provider_id=2, at=12).active
    assert refuse(owned, provider_id=1, until=9) is owned


def test_more_unregistrations_than_are_remembered_end_rather_too_much_than_too_little() -> None:
    state: Registration | None = None
    for n in range(MAX_TOMBSTONES + 3):
        state = unregister(state, user=f"u{n}", at=100 + n)
    assert state is not None and state.tombstones is not None
    assert state.tombstones[ANYONE] == 102
    assert len(state.tombstones) == MAX_TOMBSTONES + 1
    assert not register(state, user="u0", provider_id=1, at=99).active
    assert not register(state, user=f"u{MAX_TOMBSTONES}", provider_id=1, at=110).active
    assert register(state, user="somebody", provider_id=1, at=110).active


def test_a_repeat_of_equal_times_counts_as_its_first_arrival() -> None:
    first, second = mark("first"), mark("second")
    state = register(None, user="han", provider_id=1, at=10, event=first)
    state = register(state, user="leia", provider_id=1, at=10, event=second)
    assert register(state, user="han", provider_id=1, at=10, event=first) is state
    assert unregister(state, user="leia", at=10, event=second) is state


AT = 1_795_880_095_000_000


@pytest.mark.parametrize(
    ("later", "said"),
    [
        pytest.param((), None, id="nothing happened since"),
        pytest.param(({"user": "han", "provider_id": 1, "at": AT + 5},), None, id="the same was said again"),
        pytest.param(
            ({"user": "leia", "provider_id": 1, "at": AT + 3_000_000},),
            (AT + 3_000_000, "is 3 s newer"),
            id="taken over",
        ),
        pytest.param(
            ({"user": "leia", "provider_id": 1, "at": AT + 800},), (AT + 800, "0.0008 s newer"), id="0.8 ms later"
        ),
        pytest.param(
            ({"user": "leia", "provider_id": 1, "at": AT},),
            (AT, "was published later"),
            id="taken over at the same time",
        ),
        pytest.param(
            ({"user": "han", "provider_id": 1, "at": AT + 1, "details": Details("de")},),
            (AT + 1, "newer"),
            id="said otherwise since",
        ),
        pytest.param(("han",), (AT + 9, "an unregistration of 2026-11-28T"), id="unregistered"),
        pytest.param((None,), (AT + 9, "an unregistration of 2026-11-28T"), id="unregistered by nobody in particular"),
        pytest.param(("leia",), None, id="somebody else unregistered"),
        pytest.param((1,), (AT + 9, "refused the token as of"), id="refused by its provider"),
    ],
)
def test_a_registration_is_answered_by_whether_it_is_so_now(
    later: tuple[object, ...], said: tuple[int, str] | None
) -> None:
    state = register(None, user="han", provider_id=1, at=AT)
    for step in later:
        if isinstance(step, dict):
            state = register(state, **step)
        elif isinstance(step, int):
            state = refuse(state, provider_id=step, until=AT + 9)
        else:
            assert step is None or isinstance(step, str)
            state = unregister(state, user=step, at=AT + 9)
    newer = unmet_registration(state, user="han", provider_id=1, at=AT)
    assert (newer is None) == (said is None)
    if newer is not None and said is not None:
        assert newer.at == said[0] and said[1] in newer.error and newer.error.startswith("device: ")


def test_an_unregistration_is_answered_by_whether_the_device_is_still_theirs() -> None:
    owned = register(None, user="han", provider_id=1, at=AT)
    assert unmet_unregistration(None, user="han", at=AT) is None
    assert unmet_unregistration(owned, user="leia", at=AT - 9) is None
    assert unmet_unregistration(unregister(owned, user="han", at=AT + 1), user="han", at=AT + 1) is None
    newer = unmet_unregistration(owned, user="han", at=AT - 3_000_000)
    assert newer is not None and newer.at == AT and "3 s newer" in newer.error
    assert unmet_unregistration(owned, user=None, at=AT - 1) is not None


def test_an_operator_ends_what_a_clock_of_the_year_2999_registered() -> None:
    future = register(None, user="mallory", provider_id=1, at=AT * 10)
    future = unregister(future, user="han", at=AT * 11)
    ended = end(refuse(future, provider_id=1, until=AT * 11), at=AT)
    assert not ended.active
    assert not register(ended, user="han", provider_id=1, at=AT - 1).active
    assert register(ended, user="han", provider_id=1, at=AT + 1).active


def test_times_are_exact_to_the_microsecond() -> None:
    text = "2026-11-28T15:34:55.123457+00:00"
    at = microseconds(datetime.fromisoformat(text))
    assert at % 1_000_000 == 123_457
    assert instant(at) == "2026-11-28T15:34:55.123457Z"
    first = register(None, user="han", provider_id=1, at=at)
    assert register(first, user="leia", provider_id=1, at=at - 1) is first
