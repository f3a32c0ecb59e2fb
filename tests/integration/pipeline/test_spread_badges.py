"""A spread app's badges are taken at home, once for each batch, whatever dies in between."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import message, stamp, token
from tests.integration.pipeline.spread import Spread, used
from worker.core.model import Notification
from worker.state.homes import HomeAwayError, Homes
from worker.state.redis import Redis


class Died(BaseException):
    """As `kill -9`: nothing after it happens."""


@pytest.fixture(params=[2, 4])
def spread(postgres_url: str, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Spread]:
    yield from used(Spread(postgres_url, redis_url, request.param))


def shown(sent: Sequence[Notification]) -> list[int]:
    return [json.loads(n.payload)["aps"]["badge"] for n in sent]


def members(spread: Spread, *users: str) -> None:
    """Of the first channel of each partition; each with one device."""
    for part in spread.parts:
        channel = ev.ChannelId(id=spread.channel(part))
        spread.publish(ev.MemberAdded(**stamp(), channel=channel, users=["leia", *users]))
    for user in users:
        spread.publish(ev.DeviceRegistered(**stamp(), user=user, device=ev.Device(token=token(user))))
    spread.run()


def test_one_number_counts_the_messages_of_all_channels(spread: Spread) -> None:
    members(spread, "han", "chewie")
    for n, part in enumerate(spread.parts):
        spread.publish(message(channel=spread.channel(part), id=f"e{n}"))
    sent = spread.run()
    of_each = {user: [n for n in sent if n.token == token(user)] for user in ("han", "chewie")}
    for some in of_each.values():
        assert shown(some) == list(range(1, len(spread.parts) + 1))
    assert {spread.badge(1), spread.badge(2)} == {len(spread.parts)}


def test_nothing_is_left_of_a_batch_that_is_done(spread: Spread) -> None:
    members(spread, "han")
    spread.publish(message(channel=spread.channel(spread.others[0]), id="e1"))
    assert shown(spread.run()) == [1]
    left = [key for key in spread.redis.scan_iter() if b"~" in key or b"sending:" in key]
    # The filling of a hash, and for a minute that the batch was counted: longer than a failover lasts.
    assert [key for key in left if spread.redis.hlen(key.decode()) != 1] == []
    assert all(30 < spread.redis.ttl(key) <= 60 for key in left if b"numbered" in key)


def test_a_batch_that_comes_back_when_its_server_is_replaced_counts_once(spread: Spread) -> None:
    """Its new primary does not know that the batch was counted, sent and done."""
    members(spread, "han")
    part = spread.others[0]
    spread.publish(message(channel=spread.channel(part), id="e1"))
    spread.take()
    spread.expand()
    kept: dict[Any, Any] = {key: spread.redis.dump(key) for key in spread.redis.scan_iter(f"{part.partition.prefix}*")}
    part.deliver()
    for key in [*spread.redis.scan_iter(f"{part.partition.prefix}*")]:
        spread.redis.delete(key)
    for key, value in kept.items():
        spread.redis.restore(key, 0, value)
    part.deliver()
    assert shown(spread.apns.sent) == [1, 1]
    assert spread.badge(1) == 1


def test_what_is_cleared_is_cleared_for_all_channels(spread: Spread) -> None:
    members(spread, "han")
    for n, part in enumerate(spread.parts):
        spread.publish(message(channel=spread.channel(part), id=f"e{n}"))
    spread.run()
    spread.publish(ev.BadgeCleared(**stamp(), user="han"))
    spread.run()
    spread.publish(message(channel=spread.channel(spread.others[0]), id="after"))
    assert shown(spread.run()) == [1]


def test_a_message_before_a_clearing_that_is_sent_after_it_counts_nothing(spread: Spread) -> None:
    members(spread, "han")
    part = spread.others[0]
    spread.publish(message(channel=spread.channel(part), id="before"))
    part.redis.sadd(part.partition.keys.APPS(), "demo")
    part.take()
    spread.publish(ev.BadgeCleared(**stamp(), user="han"))
    spread.home.take()
    assert shown(spread.run()) == [0]


STEPS = {
    "before home is asked": "worker.state.homes.Home.number",
    "after home has answered": "worker.state.journal.Journal.note_numbered",
    "after it is noted": "worker.core.batch_run.BatchRun.set_numbers",
    "before it is sent": "worker.pipeline.steps.send.Send.__call__",
}


def _dies(patch: pytest.MonkeyPatch, where: str) -> None:
    def dies(*_: object, **__: object) -> None:
        raise Died

    patch.setattr(where, dies)


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_between_two_steps_counts_once(
    spread: Spread, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    members(spread, "han")
    part = spread.others[0]
    spread.publish(message(channel=spread.channel(part), id="e1"), message(channel=spread.channel(part), id="e2"))
    spread.take()
    spread.expand()
    for _ in range(2):
        with monkeypatch.context() as patch:
            _dies(patch, STEPS[step])
            with pytest.raises(Died):
                part.deliver()
        spread.later()
    part.deliver()
    assert shown(spread.apns.sent)[-1] == 2
    assert spread.badge(1) == 2


@pytest.mark.parametrize("where", ["worker.state.homes.Home.release", "worker.pipeline.steps.report.Report.__call__"])
def test_a_worker_that_dies_after_the_batch_is_done_holds_the_device_no_longer_than_a_lease(
    spread: Spread, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    members(spread, "han")
    part = spread.others[0]
    spread.publish(message(channel=spread.channel(part), id="e1"))
    spread.take()
    spread.expand()
    with monkeypatch.context() as patch:
        _dies(patch, where)
        with pytest.raises(Died):
            part.deliver()
    spread.later()
    spread.publish(message(channel=spread.channel(spread.home), id="e2"))
    assert shown(spread.run()) == [2]


def test_a_dropped_message_gives_its_number_back(spread: Spread) -> None:
    members(spread, "han")
    part = spread.others[0]
    spread.publish(message(channel=spread.channel(part), id="e0"))
    spread.run()
    late, well = (message(channel=spread.channel(part), id=id, seconds=at) for id, at in (("e1", -3590), ("e2", 0)))
    spread.publish(late, well)
    spread.take()
    spread.expand()
    part.now += 60
    spread.deliver()
    assert shown(spread.apns.sent) == [1, 2]
    assert spread.badge(1) == 2


@pytest.mark.parametrize(
    "where", ["worker.core.batch_run.BatchRun.set_numbers", "worker.pipeline.steps.send.Send.__call__"]
)
def test_a_worker_that_dies_gives_no_number_back_twice(
    spread: Spread, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    members(spread, "han")
    part = spread.others[0]
    spread.publish(*(message(channel=spread.channel(part), id=id, seconds=at) for id, at in (("e1", -3590), ("e2", 0))))
    spread.take()
    spread.expand()
    part.now += 60
    for _ in range(2):
        with monkeypatch.context() as patch:
            _dies(patch, where)
            with pytest.raises(Died):
                part.deliver()
        spread.later()
    assert part.deliver() == [{"dropped.expired": 1, "accepted": 1}]
    assert (spread.badge(1), shown(spread.apns.sent)) == (1, [1])


def test_a_device_that_another_partition_sends_to_waits(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the push with the smaller number might arrive last."""
    members(spread, "han")
    first, second = spread.parts[0], spread.parts[1]
    for n, part in enumerate((first, second)):
        spread.publish(message(channel=spread.channel(part), id=f"e{n}"))
    spread.take()
    spread.expand()
    counts: list[list[dict[str, int]]] = []

    def meanwhile() -> None:
        spread.apns.before = lambda: None
        counts.append(second.deliver())

    spread.apns.before = meanwhile
    first.deliver()
    assert [n for n in counts[0] if n.get("accepted")] == []
    spread.later()
    spread.deliver()
    assert shown(spread.apns.sent)[-1] == 2


def test_a_batch_that_waits_as_a_whole_has_no_device_at_home(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else two batches may wait for each other, of which each has sent to the other's device before its worker died."""
    members(spread, "han", "chewie")
    part, other = spread.others[0], spread.home
    spread.publish(message(channel=spread.channel(part), id="e1"))
    spread.take()
    spread.expand()
    with monkeypatch.context() as patch:
        _dies(patch, "worker.pipeline.steps.send.Send.__call__")
        with pytest.raises(Died):
            part.deliver()
    [name] = spread.redis.scan_iter(f"{spread.home.partition.prefix}batch:*~*")
    id = name.decode().rpartition(":")[2].partition("~")[0]
    orders = str(spread.redis.hget(part.partition.keys.BATCH(id), "devices"))
    sent, left = (("chewie", "han")[int(device.strip("'")) - 1] for device in orders.split(",")[-2:])
    part.journal.record([(id, [0])])
    spread.later()
    spread.publish(ev.MemberRemoved(**stamp(), channel=ev.ChannelId(id=spread.channel(other)), users=[sent]))
    spread.publish(message(channel=spread.channel(other), id="e2"))
    spread.take()
    other.expand()
    found: list[object] = []

    def meanwhile() -> None:
        spread.apns.before = lambda: None
        found.append(part.delivery.deliver("urgent"))
        found.append([*spread.redis.scan_iter(f"{spread.home.partition.prefix}batch:*~*")])

    spread.apns.before = meanwhile
    other.deliver()
    assert found == [{"parked": 1}, []]
    spread.later()
    spread.deliver()
    assert [n.token for n in spread.apns.sent] == [token(left)] * 2


def test_what_waited_for_a_device_goes_before_what_came_later(spread: Spread) -> None:
    """Of one channel in their order, although the first one was taken while its device was busy."""
    members(spread, "han")
    busy, part = spread.home, spread.others[0]
    spread.publish(message(channel=spread.channel(busy), id="busy"))
    for n in (1, 2):
        spread.publish(message(channel=spread.channel(part), id=f"e{n}", text=f"number {n}"))
        spread.take()
        spread.expand()

    def meanwhile() -> None:
        spread.apns.before = lambda: None
        assert part.delivery.deliver("urgent") == {"parked": 1}

    spread.apns.before = meanwhile
    busy.deliver()
    part.deliver()
    spread.later(leases=False)
    part.deliver()
    texts = [json.loads(n.payload)["aps"]["alert"]["body"] for n in spread.apns.sent]
    assert texts == ["hello", "number 1", "number 2"]
    assert shown(spread.apns.sent) == [1, 2, 3]


def test_what_waited_at_home_for_a_device_is_woken_when_it_is_free(spread: Spread) -> None:
    members(spread, "han")
    part, woken = spread.others[0], list[tuple[int, str, int]]()
    for n, one in enumerate((part, spread.home)):
        spread.publish(message(channel=spread.channel(one), id=f"e{n}"))
    spread.take()
    spread.expand()

    def meanwhile() -> None:
        spread.apns.before = lambda: None
        assert spread.home.deliver() == []

    spread.apns.before = meanwhile
    assert part.delivery.deliver("urgent", wake_home=lambda *woke: woken.append(woke)) == {"accepted": 1}
    home = spread.home.partition.index
    assert woken == [(home, "urgent", 1), (home, "bulk", 0)]
    assert spread.home.deliver() == [{"accepted": 1}]
    assert shown(spread.apns.sent) == [1, 2]


AWAY = {
    "numbers": "number",
    "a number that is given back": "uncount",
    "rates": "limiter.reserve",
}


@pytest.mark.parametrize("what", AWAY)
def test_a_batch_whose_home_does_not_answer_is_as_if_it_had_not_been_taken(
    spread: Spread, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread.home.save_app(push_rate=100.0)
    members(spread, "han")
    part = spread.others[0]
    channel = spread.channel(part)
    spread.publish(*(message(channel, id=id, seconds=at) for id, at in (("e1", -3590), ("e2", 0))))
    spread.take()
    spread.expand()
    part.now += 60

    def away(*_: object, **__: object) -> None:
        raise HomeAwayError(spread.home.partition.index)

    home = part.homes.of("demo")
    assert home is not None
    with monkeypatch.context() as patch:
        patch.setattr(home.limiter if "." in AWAY[what] else home, AWAY[what].rpartition(".")[2], away)
        assert part.deliver() == [{"parked": 1}]
        spread.publish(message(channel, id="e3"))
        spread.take()
        spread.expand()
        assert part.deliver() == [], "for a moment none of its way is taken"
    assert spread.apns.sent == []
    monkeypatch.setattr(part.homes, "_waiting", {})
    spread.later(leases=False)
    assert part.deliver() == [{"dropped.expired": 1, "accepted": 1}, {"accepted": 1}]
    assert (spread.badge(1), shown(spread.apns.sent)) == (2, [1, 2])


def test_what_was_sent_before_its_home_went_away_is_not_sent_again(
    spread: Spread, monkeypatch: pytest.MonkeyPatch
) -> None:
    members(spread, "han", "chewie")
    part = spread.others[0]
    spread.publish(message(channel=spread.channel(part), id="e1"))
    spread.take()
    spread.expand()

    def away(*_: object) -> None:
        raise HomeAwayError(spread.home.partition.index)

    with monkeypatch.context() as patch:
        patch.setattr("worker.pipeline.steps.record_answers.RecordAnswers.__call__", away)
        assert part.deliver() == [{"parked": 0}]
    assert shown(spread.apns.sent) == [1, 1]
    monkeypatch.setattr(part.homes, "_waiting", {})
    spread.later(leases=False)
    assert part.deliver() == [{"accepted": 2}]
    assert shown(spread.apns.sent) == [1, 1]
    assert spread.badge(1) == 1


def calls_of(redis: Redis, act: Callable[[], object]) -> int:
    """Scripts and commands that Redis runs meanwhile."""

    def all_calls() -> int:
        stats: Any = redis.info("commandstats")
        return sum(one["calls"] for name, one in stats.items() if name not in ("cmdstat_info", "cmdstat_time"))

    before = all_calls()
    act()
    return all_calls() - before


def test_what_lies_at_home_costs_what_it_costs_without_a_spread_app(spread: Spread) -> None:
    """The same commands, for a spread app's messages at home and for those of an app that is not spread."""
    members(spread, "han")
    home, counts = spread.home, list[int]()
    for homes in (Homes(home.partition), Homes(home.partition), home.homes):  # the first one loads scripts
        spread.publish(message(channel=spread.channel(home), id=f"e{len(counts)}"))
        spread.take()
        home.expand()
        delivery = home.new_delivery(homes=homes)
        counts.append(calls_of(spread.redis, partial(delivery.deliver, "urgent")))
    assert counts[1] == counts[2] > 0
    part = spread.others[0]
    spread.publish(message(channel=spread.channel(part), id="away"))
    spread.take()
    part.expand()
    assert calls_of(spread.redis, partial(part.delivery.deliver, "urgent")) > counts[1]
