"""What people do and read of a spread app is about all of its partitions."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import message, stamp
from tests.integration.pipeline.spread import Spread, used
from tests.integration.pipeline.test_digests import quiet
from tests.integration.pipeline.test_spread_badges import members, shown
from worker.core.attention import Attention
from worker.core.breaker import Stopped
from worker.database import cursors
from worker.reports.got_and_missed import of_user
from worker.reports.looking_up import look_up
from worker.reports.reading import read
from worker.state import backlog
from worker.state.breaker import Breaker, Breakers


@pytest.fixture(params=[2, 4])
def spread(postgres_url: str, redis_url: str, request: pytest.FixtureRequest) -> Iterator[Spread]:
    yield from used(Spread(postgres_url, redis_url, request.param))


def everywhere(spread: Spread) -> None:
    """A message in a channel of each partition."""
    for n, part in enumerate(spread.parts):
        spread.publish(message(channel=spread.channel(part), id=f"e{n}"))


def breakers(spread: Spread) -> Breakers:
    return Breakers(spread.home.keyspace.all_of("demo"))


def test_a_pause_stops_every_partition_and_a_resume_wakes_all(spread: Spread) -> None:
    members(spread, "han")
    provider = spread.home.provider.id
    assert breakers(spread).stop(provider, "for the test", 1.0)
    assert not breakers(spread).stop(provider, "again", 2.0)
    everywhere(spread)
    assert spread.run() == []
    assert breakers(spread).stopped(provider) == Stopped("again", 1.0, True)
    assert breakers(spread).resume(provider)
    spread.later()
    spread.deliver()
    assert len(spread.apns.sent) == len(spread.parts)
    assert shown(spread.apns.sent)[-1] == len(spread.parts)


def test_what_one_partition_stopped_is_seen_and_resumed_by_hand(spread: Spread) -> None:
    members(spread, "han")
    part, provider = spread.others[-1], spread.home.provider.id
    Breaker(part.partition).stop(provider, "auth", 5.0)
    assert breakers(spread).stopped(provider) == Stopped("auth", 5.0, False)
    with spread.home.pool.connection() as db:
        snapshot = read(spread.home.keyspace, db, now=spread.home.now).snapshot
    [facts] = [one for one in snapshot.providers or () if one.name == "apns"]
    assert [way.stopped for way in facts.ways] == [Stopped("auth", 5.0, False)]
    assert breakers(spread).resume(provider)
    assert Breaker(part.partition).stopped(provider) is None


def test_the_backlog_and_why_are_about_all_partitions(spread: Spread) -> None:
    members(spread, "han")
    everywhere(spread)
    spread.take()
    home = spread.home
    with home.pool.connection() as db:
        found = backlog.read(home.keyspace, cursors.taken(db)).total
    assert found.messages == len(spread.parts)
    for n, _ in enumerate(spread.parts):
        facts, _ = look_up(home.keyspace, home.pool, "demo", f"e{n}")
        assert facts.open
    assert of_user(home.keyspace, home.pool, "demo", ["han"], 0.0).unexpanded == len(spread.parts)
    spread.run()
    for n, part in enumerate(spread.parts):
        while part.ledger.flush(part.journal):
            pass
        facts, report = look_up(home.keyspace, home.pool, "demo", f"e{n}")
        assert not facts.open
        assert list(report.pushed) == ["han"]
    assert len(of_user(home.keyspace, home.pool, "demo", ["han"], 0.0).happened) == len(spread.parts)


def test_sounds_and_pushes_of_a_day_are_those_of_a_user_in_all_channels(spread: Spread) -> None:
    spread.home.save_app(attention=Attention(sound_every_user=60, daily_cap=len(spread.parts)))
    members(spread, "han")
    everywhere(spread)
    sent = spread.run()
    assert [("sound" in json.loads(n.payload)["aps"]) for n in sent].count(True) == 1
    spread.publish(message(channel=spread.channel(spread.others[0]), id="over"))
    assert spread.run() == []


def test_a_rate_of_the_app_is_one_for_all_channels(spread: Spread) -> None:
    members(spread, "han", "chewie")
    spread.home.save_app(push_rate=1.0)
    everywhere(spread)
    assert len(spread.run()) == 1


def test_in_quiet_time_one_digest_has_all_channels_and_the_number_counts(spread: Spread) -> None:
    members(spread, "han")
    spread.publish(quiet())
    spread.run()
    everywhere(spread)
    assert spread.run() == []
    assert spread.badge(1) == len(spread.parts)
    digest: Any = spread.redis.hgetall(spread.home.partition.keys.DIGEST("demo", "han"))
    channels = {name.decode() for name in digest if not name.startswith(b"\n")}
    assert channels == {spread.channel(part) for part in spread.parts}


@pytest.mark.parametrize(
    "where", ["worker.state.homes.Homes.carry", "worker.state.homes.Home.carry", "redis.Redis.lrem"]
)
def test_a_worker_that_dies_with_a_note_loses_and_doubles_nothing(
    spread: Spread, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    members(spread, "han")
    spread.publish(quiet())
    spread.run()
    part = spread.others[0]
    spread.publish(message(channel=spread.channel(part), id="e1"))
    spread.take()

    class Died(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(where, dies)
        with pytest.raises(Died):
            part.expand()
    assert [part.homes.carry(), part.homes.carry()] == [1, 0]
    assert spread.badge(1) == 1


def test_read_elsewhere_corrects_the_number_at_home_and_forgets_what_is_shown(spread: Spread) -> None:
    members(spread, "han")
    everywhere(spread)
    spread.run()
    part = spread.others[0]
    channel = spread.channel(part)
    banners = part.partition.keys.SHOWN("demo")
    spread.redis.zadd(banners, {f"{channel}\nhan": 5, "other\nhan": 5})
    spread.publish(ev.ChannelRead(**stamp(), channel=ev.ChannelId(id=channel), user="han", unread=1))
    spread.run()
    assert spread.badge(1) == 1
    assert spread.redis.zrange(banners, 0, -1) == [b"other\nhan"]
