"""Whether a fault is felt beside it is read off the notifications of other ways, in its time, with no other fault near."""

from tests.chaos.faults import FAULTS
from tests.chaos.services import ways_of
from tests.chaos.undisturbed import ENOUGH, Medians, Timed, Trouble, compare
from tests.chaos.world import KIND_OF_WAY

HANGS = Trouble(100.0, 110.0, frozenset({"web-google"}))


def many(at: float, seconds: float, way: str) -> list[Timed]:
    return [Timed(at, seconds, way)] * ENOUGH


def test_other_ways_are_compared_with_calm_times() -> None:
    calm = [*many(50.0, 0.1, "web-apple"), *many(50.0, 0.2, "apns")]
    then = [*many(105.0, 0.3, "web-apple"), *many(105.0, 9.0, "web-google"), *many(111.0, 7.0, "apns")]
    assert compare([*calm, *then], [HANGS]) == {"web": Medians(0.1, 0.3)}


def test_near_a_fault_of_the_whole_system_nothing_is_compared() -> None:
    calm, then = many(50.0, 0.1, "apns"), many(105.0, 0.3, "apns")
    assert compare([*calm, *then], [HANGS, Trouble(90.0, 95.0, None)]) == {}
    assert compare([*calm, *then], [HANGS, Trouble(70.0, 75.0, None)]) == {"apns": Medians(0.1, 0.3)}


def test_a_way_that_was_at_fault_a_moment_ago_is_not_compared() -> None:
    calm = [*many(50.0, 0.1, "apns"), *many(50.0, 0.1, "android")]
    then = [*many(105.0, 0.3, "apns"), *many(105.0, 0.3, "android")]
    before = Trouble(90.0, 95.0, frozenset({"android"}))
    assert compare([*calm, *then], [before, HANGS]) == {"apns": Medians(0.1, 0.3)}


def test_a_fault_of_a_service_befalls_its_ways_alone() -> None:
    assert ways_of("fcm_apple_key") == frozenset({"apple"})
    assert ways_of("web_hangs") == frozenset({"web-google"})
    assert ways_of("fcm_refuses") == frozenset({"android", "apple"})
    assert ways_of("hostile_subscriptions") == frozenset()
    assert ways_of("redis_killed") is None
    assert all((ways_of(fault) or frozenset()) <= KIND_OF_WAY.keys() for fault in FAULTS)
