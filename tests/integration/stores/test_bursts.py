"""Budgets of sounds and folds in Redis, against the same rules in Python, for messages at any time and repeated at once."""

import random

import pytest

from worker.state.bursts import Budget, Burst, Bursts, Fold, Pushed, Turn
from worker.state.partition import untagged

EVERY, EVERY_USER, WINDOW, AFTER, FOLD_EVERY = 20, 7, 60, 3, 10
START = 1_800_000_000
BUDGETS: list[Budget] = ["plain", "plain", "plain", "called", ""]


class Model:
    """One channel's rules, as docs/quieter-phones.md has them."""

    def __init__(self) -> None:
        self.sounds: dict[tuple[str, ...], float] = {}
        self.counts: dict[tuple[str, int], int] = {}
        self.due: dict[tuple[str, int], float] = {}

    def turn(self, user: str, budget: str, now: float) -> Turn:
        number, window = 0, (user, int(now) // WINDOW)
        if budget == "plain":
            number = self.counts[window] = self.counts.get(window, 0) + 1
        if number > AFTER:
            due = self.due.get(window, 0.0)
            if due <= now:
                due = self.due[window] = now + FOLD_EVERY
            return Turn(number, sound=False, due=due)
        spans = {(user, budget): EVERY, (user,): EVERY_USER} if budget else {}
        if any(now < self.sounds.get(key, 0.0) + span for key, span in spans.items()):
            return Turn(number, sound=False)
        self.sounds |= dict.fromkeys(spans, now)
        return Turn(number)


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_and_a_fold_come_when_the_rules_say(redis, seed):
    chance, bursts, model = random.Random(seed), Bursts(untagged(redis)), Model()
    now = float(START)
    for number in range(150):
        now += chance.choice([0.0, 0.5, 1.0, 3.0, 25.0])
        users = [
            Pushed(user, budget == "plain", budget)
            for user in chance.sample(["a", "b", "c"], chance.randint(1, 3))
            for budget in [chance.choice(BUDGETS)]
        ]
        burst = Burst("demo", "general", WINDOW, f"{number}-0:0", users, AFTER, FOLD_EVERY, EVERY, EVERY_USER)
        expected = {user: model.turn(user, budget, now) for user, _, budget in users}
        for _ in range(chance.choice([1, 1, 2])):
            assert bursts.count([burst], now) == [expected], number


def test_of_folds_in_any_order_nobody_is_shown_one_after_a_later_one(redis):
    bursts, chance = Bursts(untagged(redis)), random.Random(7)
    places = list(range(1, 30))
    chance.shuffle(places)
    newest = 0
    while places:
        some = [places.pop() for _ in range(min(len(places), 4))]
        shown = bursts.show([Fold("demo", "general", place, ["han"]) for place in some])
        assert [bool(users) for users in shown] == [place == max(some) > newest for place in some]
        newest = max(newest, *some)
