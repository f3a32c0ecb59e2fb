"""The account finds what was lost and what was doubled, and excuses only what nobody could have known."""

import pytest

from tests.chaos.account import (
    Accepted,
    Excuses,
    Failover,
    Kill,
    Place,
    judge,
    out_of_order,
    percentile,
    planned,
    wrong_badges,
)

EXPECTED = {"id-1": "token-1", "id-2": "token-2"}


def accepted(id="id-1", token="token-1", at=100.0, answered=True, connection=1):
    return Accepted(id, token, at, answered, ("apns", connection))


OTHER = accepted("id-2", "token-2")


def test_everything_once_is_a_clean_account():
    account = judge(EXPECTED, [accepted(), OTHER], Excuses())
    assert (account.expected, account.accepted, account.lost, account.doubled, account.unexpected) == (2, 2, [], [], [])


def test_what_was_never_accepted_is_lost():
    assert judge(EXPECTED, [OTHER], Excuses()).lost == ["id-1"]


def test_what_apns_refused_for_good_is_given_up():
    account = judge(EXPECTED, [OTHER], Excuses(refused={"id-1", "id-2"}))
    assert (account.lost, account.given_up) == ([], ["id-1"])


@pytest.mark.parametrize(
    "stranger",
    [pytest.param(accepted("id-3"), id="nobody's id"), pytest.param(accepted(token="token-2"), id="another's token")],
)
def test_what_nobody_expected_is_named(stranger):
    assert judge(EXPECTED, [OTHER, stranger], Excuses()).unexpected == [stranger.id]


def test_a_repeat_that_nothing_excuses_is_a_double():
    account = judge(EXPECTED, [accepted(), accepted(at=101.0), OTHER], Excuses())
    assert [repeat.id for repeat in account.doubled] == ["id-1"]


@pytest.mark.parametrize(
    ("first", "excuses", "found"),
    [
        pytest.param(accepted(), Excuses([Kill("urgent", 100.1)]), (1, 0, 0), id="a worker was killed meanwhile"),
        pytest.param(accepted(), Excuses([Kill("urgent", 99.9)]), (0, 0, 1), id="a worker was killed before"),
        pytest.param(accepted(), Excuses([Kill("urgent", 104.0)]), (0, 0, 1), id="a worker was killed much later"),
        pytest.param(
            accepted(), Excuses([Kill("urgent", 106.0)]), (0, 0, 1), id="a worker was killed after the repeat"
        ),
        pytest.param(
            accepted(), Excuses([Kill("urgent", 104.0)], {"apns": [(90, 110)]}), (1, 0, 0), id="killed in a slow spell"
        ),
        pytest.param(
            accepted(),
            Excuses([Kill("urgent", 104.0)], {"fcm": [(90, 110)]}),
            (0, 0, 1),
            id="killed in a slow spell of another kind",
        ),
        pytest.param(
            accepted(), Excuses([Kill("urgent", 104.0)], away=[(101, 104.5)]), (1, 0, 0), id="killed without Redis"
        ),
        pytest.param(accepted(), Excuses([Kill("urgent", 104.0)], away=[(80, 99)]), (0, 0, 1), id="Redis was back"),
        pytest.param(accepted(answered=False), Excuses(), (0, 1, 0), id="no answer"),
        pytest.param(accepted(), Excuses(broken={("apns", 1): [100.2]}), (0, 1, 0), id="its connection broke"),
        pytest.param(
            accepted(), Excuses(broken={("fcm", 1): [100.2]}), (0, 0, 1), id="a connection of another kind broke"
        ),
        pytest.param(
            accepted(), Excuses(broken={("apns", 1): [103.0]}), (0, 0, 1), id="its connection broke much later"
        ),
    ],
)
def test_a_repeat_is_excused_by_what_was_done_at_its_time(first, excuses, found):
    account = judge(EXPECTED, [first, accepted(at=105.0), OTHER], excuses)
    assert (account.after_kill.total(), account.unanswered, len(account.doubled)) == found


@pytest.mark.parametrize(
    ("away", "seconds"),
    [
        pytest.param([], 4.0, id="Redis was there"),
        pytest.param([(90.0, 99.0)], 4.0, id="it was back before"),
        pytest.param([(99.0, 103.9)], 0.1, id="it was away all the time, nearly"),
        pytest.param([(101.0, 102.0), (101.5, 103.0), (110.0, 111.0)], 2.0, id="for a part of it, twice at once"),
        pytest.param([(99.0, 110.0)], 0.0, id="it was still away at the kill"),
    ],
)
def test_what_could_not_be_recorded_was_in_flight_for_no_longer(away, seconds):
    slow = {"apns": [(90.0, 110.0)]}
    found = judge(EXPECTED, [accepted(), accepted(at=112.0), OTHER], Excuses([Kill("urgent", 104.0)], slow, away))
    assert sum(found.after_kill.values()) == 1
    assert found.oldest_in_flight == pytest.approx(seconds)


def test_the_third_time_is_judged_by_the_second():
    arrivals = [accepted(answered=False), accepted(at=101.0), accepted(at=102.0), OTHER]
    account = judge(EXPECTED, arrivals, Excuses())
    assert (account.unanswered, len(account.doubled)) == (1, 1)


def test_percentiles_are_values_that_were_seen():
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 2.0, 3.0, 3.0]
    assert percentile([], 0.5) is None


def test_a_notification_that_comes_after_a_later_one_of_its_channel_is_out_of_order():
    places = {"id-1": Place("a", 1), "id-2": Place("a", 2), "id-3": Place("b", 3)}
    first, second, third = (accepted(f"id-{n}", "t", at=100.0 + n) for n in (1, 2, 3))
    assert out_of_order(places, [first, second, third]) == []
    assert [one.late for one in out_of_order(places, [second._replace(at=1.0), first, third])] == [first]
    # Another channel, another device, and a repeat of what came in order are no disorder.
    assert out_of_order(places, [third._replace(at=1.0), first, second, first._replace(at=200.0)]) == []
    assert out_of_order(places, [second._replace(at=1.0, token="u"), first]) == []


def test_the_last_push_of_a_device_carries_the_number_of_its_messages():
    expected = {"id-1": "t", "id-2": "t"}
    arrivals = [accepted("id-1", "t", at=1.0)._replace(badge=1), accepted("id-2", "t", at=2.0)._replace(badge=2)]
    assert wrong_badges(expected, arrivals) == {}
    turned = [arrivals[0]._replace(at=3.0), arrivals[1]]
    assert wrong_badges(expected, turned) == {"t": "1 instead of 2"}
    assert wrong_badges(expected, turned, but={"t"}) == {}


@pytest.mark.parametrize(
    ("began", "ended", "took"),
    [
        pytest.param(90.0, 96.9, False, id="confirmed before, and replicated"),
        pytest.param(90.0, 97.1, True, id="confirmed, and not replicated"),
        pytest.param(101.0, 101.1, True, id="confirmed by a primary that went on"),
        pytest.param(103.1, 103.2, False, id="confirmed by the new one"),
    ],
)
def test_a_failover_takes_what_the_old_primary_alone_had(began, ended, took):
    assert Failover(0, 100.0, 103.0, 97.0).took(began, ended) is took


@pytest.mark.parametrize(("has_until", "seconds"), [(97.0, 3.0), (100.5, 0.0)])
def test_a_new_primary_is_behind_by_what_it_lacks(has_until, seconds):
    assert Failover(0, 100.0, 103.0, has_until).behind == seconds


def test_what_was_confirmed_when_a_primary_was_replaced_is_counted_apart():
    account = judge(EXPECTED | {"id-3": "token-3"}, [], Excuses(at_risk={"id-1", "id-3"}, refused={"id-3"}))
    assert (account.lost_in_failover, account.lost, account.given_up) == (["id-1"], ["id-2"], ["id-3"])


def lost(last_at, over_at, token="token-1", **excuses):
    """The new primary has what was confirmed until half a second before."""
    return Excuses(failovers={token: [Failover(0, last_at, over_at, last_at - 0.5)]}, **excuses)


@pytest.mark.parametrize(
    ("excuses", "found"),
    [
        pytest.param(lost(100.5, 103.0), (1, 0), id="its partition's"),
        pytest.param(lost(100.5, 103.0, "token-2"), (0, 1), id="another partition's"),
        pytest.param(lost(104.0, 106.0), (0, 1), id="much later"),
        pytest.param(lost(104.0, 106.0, concluded={"id-1": [99.0, 104.2]}), (1, 0), id="its outcome was written late"),
        pytest.param(
            lost(101.0, 106.0, concluded={"id-1": [100.2, 105.3]}), (0, 1), id="the new primary has its outcome"
        ),
        pytest.param(
            lost(104.0, 106.0, concluded={"id-1": [105.3]}), (1, 0), id="it is not known who wrote it, if anybody did"
        ),
        pytest.param(lost(97.0, 99.5), (0, 1), id="all was over before it was sent"),
        pytest.param(lost(97.0, 99.5, published={"id-1": 99.0}), (1, 0), id="it was sent on what the old one knew"),
    ],
)
def test_a_repeat_is_excused_if_a_failover_may_have_lost_what_was_known_of_it(excuses, found):
    account = judge(EXPECTED, [accepted(), accepted(at=105.0), OTHER], excuses)
    assert (account.after_failover, len(account.doubled)) == found


def test_a_planned_failover_is_known_by_its_time():
    failover = Failover(0, 100.0, 100.5, 100.0)
    assert planned(failover, [("redis_failover", 99.5, 100.2)])
    assert not planned(failover, [("redis_failover", 90.0, 99.9)])
