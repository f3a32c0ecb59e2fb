"""What becomes of the answers: devices retired or kept, jobs tried again, providers stopped, and nothing sent twice."""

import pytest

from tests.road.harness import START, Road, message, token, user_of
from worker.core.model import Answer, NoAnswer

REGISTERED = int(START.timestamp() * 1000)


def deliver_due(road: Road, seconds: float) -> int:
    """Time passes: everything parked becomes due by then and is delivered. Returns how many batches were."""
    t, micro = road.redis.time()
    limit = t + micro / 1e6 + seconds
    due = [m.decode()[2:] for m in road.redis.zrangebyscore("carillon:due", "-inf", limit) if m.startswith(b"b:")]
    for batch in due:
        road.delivery.deliver(batch)
    return len(due)


def active(road: Road) -> set[str]:
    with road.pool.connection() as db:
        return {
            bytes.fromhex(t).decode().partition("/")[0]
            for (t,) in db.execute("SELECT token FROM carillon.devices WHERE active")
        }


def test_410_retires_the_device_that_was_not_registered_since(road):
    road.member("general", "leia", "han", "luke")
    road.apns.answers[token("han")] = [Answer(410, "Unregistered", REGISTERED + 1)]
    road.apns.answers[token("luke")] = [Answer(410, "ExpiredToken", REGISTERED - 1)]
    road.publish(message())
    road.run()
    assert active(road) == {"leia", "luke"}
    counts = road.journal.counts("demo")
    assert (counts["retired.Unregistered"], counts["dropped.reregistered"]) == (1, 1)
    assert road.journal.backlog() == (0, 0)


def test_a_registration_that_comes_while_the_410_is_on_its_way_wins(road):
    road.member("general", "leia", "han")
    road.publish(message())
    [batch] = road.expand(road.take())
    road.apns.answers[token("han")] = [Answer(410, "Unregistered", REGISTERED + 1)]
    road.apns.before = lambda: (
        road.pool.connection().__enter__().execute("UPDATE carillon.devices SET registered_at = registered_at + 10")
    )
    road.delivery.deliver(batch)
    assert active(road) == {"leia", "han"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(503, "ServiceUnavailable"), id="503"),
        pytest.param(Answer(429, "TooManyRequests"), id="429"),
        pytest.param(NoAnswer("unknown", "reset"), id="connection died"),
        pytest.param(NoAnswer("not_sent", "connect failed"), id="no connection"),
    ],
)
def test_what_may_work_later_is_tried_again_with_the_same_ids_and_badge(road, answer):
    road.member("general", "leia", "han", "luke")
    road.apns.answers[token("han")] = [answer, Answer(200)]
    road.publish(message())
    assert len(road.run()) == 2
    assert road.journal.backlog() == (1, 1), "the event stays open while a device waits"
    assert deliver_due(road, 1000) == 1
    tries = [n for n in road.apns.sent if user_of(n) == "han"]
    assert len(tries) == 2
    assert tries[0] == tries[1]
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")["accepted"] == 2


def test_a_retry_ends_with_the_message_s_life(road):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [Answer(503, "ServiceUnavailable")]
    road.publish(message())
    road.run()
    road.now += 3601
    deliver_due(road, 1000)
    assert len(road.apns.sent) == 1
    assert road.journal.counts("demo")["dropped.expired"] == 1
    assert road.journal.backlog() == (0, 0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(403, "InvalidProviderToken"), id="wrong key"),
        pytest.param(Answer(400, "TopicDisallowed"), id="wrong topic"),
        pytest.param(Answer(403, "BadEnvironmentKeyInToken"), id="wrong environment"),
    ],
)
def test_a_provider_at_fault_stops_retires_nothing_and_loses_nothing(road, answer):
    users = [f"u{n}" for n in range(40)]
    road.member("general", "leia", *users)
    for user in users:
        road.apns.answers[token(user)] = [answer, Answer(200)]
    road.publish(message(id="e1"), message(id="e2"))
    first, *_ = road.expand(road.take())
    road.delivery.deliver(first)
    sent = len(road.apns.sent)
    road.publish(message(id="e3"))
    for batch in road.expand(road.take()):
        assert set(road.delivery.deliver(batch)) == {"parked"}
    assert len(road.apns.sent) == sent, "a stopped provider is left alone"
    assert active(road) == {"leia", *users}
    road.redis.delete(f"carillon:breaker:{road.provider.id}")
    for user in users:
        road.apns.answers.pop(token(user))
    deliver_due(road, 1000)
    assert road.journal.backlog() == (0, 0)
    assert road.journal.counts("demo")["accepted"] == 120


def test_a_flood_of_bad_device_tokens_retires_nobody(road):
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    for user in users:
        road.apns.answers[token(user)] = [Answer(400, "BadDeviceToken")]
    road.publish(message())
    road.run()
    assert active(road) == {"leia", *users}
    assert road.journal.counts("demo")["parked.mass_refusal"] == 90


def test_a_single_bad_device_token_among_good_ones_is_retired(road):
    users = [f"u{n}" for n in range(90)]
    road.member("general", "leia", *users)
    road.apns.answers[token("u7")] = [Answer(400, "BadDeviceToken")]
    road.publish(message())
    road.run()
    assert active(road) == {"leia", *users} - {"u7"}


def test_a_few_answers_prove_nothing_about_a_bad_token(road):
    road.member("general", "leia", "han")
    road.apns.answers[token("han")] = [Answer(400, "BadDeviceToken")]
    road.publish(message())
    road.run()
    assert active(road) == {"leia", "han"}
    assert road.journal.counts("demo")["dropped.refused_unproven"] == 1


def test_a_doorbell_that_rings_twice_sends_once(road):
    road.member("general", "leia", "han")
    road.publish(message())
    [batch] = road.expand(road.take())
    assert road.delivery.deliver(batch) == {"accepted": 1}
    assert road.delivery.deliver(batch) == {}
    assert len(road.apns.sent) == 1


def test_a_batch_in_other_hands_is_left_to_them(road):
    road.member("general", "leia", "han")
    road.publish(message())
    [batch] = road.expand(road.take())
    road.journal.begin(batch)
    assert road.delivery.deliver(batch) == {}
    assert road.apns.sent == []


def test_a_batch_whose_worker_died_before_sending_is_resumed(postgres_url, redis_url):
    road = Road(postgres_url, redis_url, lease=0.05)
    road.member("general", "leia", "han")
    road.publish(message())
    [batch] = road.expand(road.take())
    first = road.journal.begin(batch)
    while (again := road.journal.begin(batch)) is None:
        pass
    assert first is not None
    assert again.badges == first.badges, "a resumed batch counts no badge twice"
    road.close()


def test_an_expansion_that_ran_twice_writes_its_batches_once(road):
    road.member("general", "leia", "han")
    road.publish(message())
    entries = road.take()
    assert len(road.expand(entries)) == 1
    assert road.expand(entries) == []
    assert len(road.redis.keys("carillon:batch:*")) == 1


def test_a_message_that_another_worker_expanded_meanwhile_leaves_its_neighbours_alone(road):
    """The step is all or nothing, so the rest is worked out again without the stale one."""
    road.member("general", "leia", "han")
    road.publish(message(id="e1"), message(id="e2"))
    first, second = road.take()
    journal, read = road.fan_out._journal, road.journal.read  # noqa: SLF001

    class OneIsFirst:
        def __getattr__(self, name):
            return getattr(journal, name)

        def read(self, entries):
            found = read(entries)
            road.fan_out._journal = journal  # noqa: SLF001
            road.expand([first])
            return found

    road.fan_out._journal = OneIsFirst()  # noqa: SLF001
    road.fan_out.expand([first, second])
    assert road.journal.counts("demo")["messages"] == 2


def test_a_leader_that_died_before_opening_is_made_up_for(road):
    road.member("general", "leia", "han")
    road.take()

    class Killed(Exception):
        pass

    def die(entries):
        raise Killed

    road.publish(message())
    opened, road.journal.open = road.journal.open, die
    with pytest.raises(Killed):
        road.take()
    road.journal.open = opened
    road.leadership.resign()
    db = road.leadership.acquire()
    assert db is not None
    assert road.intake.recover(db, road.intake.cursor(db)) == 1
    for batch in road.expand(road.rung):
        road.delivery.deliver(batch)
    assert [user_of(n) for n in road.apns.sent] == ["han"]


def test_one_process_leads_at_a_time_and_another_takes_over(road, postgres_url):
    from worker.intake import Leadership

    other = Leadership(postgres_url)
    assert road.leadership.acquire() is not None
    assert other.acquire() is None
    road.leadership.resign()
    assert other.acquire() is not None
    other.resign()
