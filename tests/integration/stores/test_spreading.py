"""An app is spread over the partitions and gathered again, with all that outlives draining, and is killed in between."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from producers import Publisher
from producers import events as ev
from producers.partitions import Layout
from tests.integration.pipeline.harness import message, stamp
from tests.integration.pipeline.spread import Spread
from tests.integration.stores.test_repartition import HAN, KilledError, System, filled
from worker.core.batch import device_orders
from worker.process import repartition
from worker.process.repartition import Changed, RepartitionError, command_of, gather, in_force, under_way
from worker.process.runtime import Runtime
from worker.state.breaker import Breakers
from worker.state.partition import Keyspace
from worker.state.repartition_rules import channel_of_item, channel_of_key


def badge_of(sent: Any) -> int:
    return int(json.loads(sent.payload)["aps"]["badge"])


CHANNELS = [f"c{n}" for n in range(6)]


def spread(runtime: Runtime, app: str, tell: Callable[[str], None]) -> Changed:
    """Also what is taken and not delivered."""
    return repartition.spread(runtime, app, tell, force=True)


@pytest.fixture
def system(postgres_url: str, redis_url: str) -> Iterator[System]:
    made = System(postgres_url, redis_url)
    yield made
    made.runtime.close()


def unread(system: System) -> None:
    """Messages to several channels, and in between what is of a user."""
    with Publisher(system.runtime.urls.redis) as publisher:
        for n in range(18):
            publisher.publish(message(CHANNELS[n % 6], id=f"u-{n}", recipients=[HAN]))
            if n % 6 == 5:
                publisher.publish(ev.UserMuted(**stamp() | {"id": f"mute-{n}"}, user=HAN, target=f"t{n}"))


def ids(system: System, stream: str) -> list[str]:
    entries: Any = system.runtime.redis.xrange(stream)
    found = [json.loads(fields[b"event"])["id"] for _, fields in entries]
    return [id for id in found if id.startswith(("u-", "mute-"))]


def killed_at_every_step(system: System, command: Any) -> None:
    for step in range(5):
        with pytest.raises(KilledError):
            system.run(command, "demo", kill_at=step)
        with pytest.raises(
            RepartitionError, match=f"finish it first, with `carillon partitions {command.__name__} demo`"
        ):
            system.change(4)
    system.run(command, "demo")
    assert under_way(system.runtime.redis) is None


def test_nothing_is_lost_or_doubled_and_unread_events_go_where_they_belong(system: System) -> None:
    filled(system)
    system.change(4)
    unread(system)
    before, documents = system.state(), system.documents()
    killed_at_every_step(system, spread)
    layout = in_force(system.runtime.redis)
    assert (layout.partitions, sorted(layout.spread), layout.generation) == (4, ["demo"], 3)
    assert (system.state(), system.documents()) == (before, documents)
    home = ids(system, layout.stream("demo"))
    assert [id for id in home if id.startswith("mute")] == ["mute-5", "mute-11", "mute-17"]
    for c, channel in enumerate(CHANNELS):
        found = ids(system, layout.stream("demo", channel=channel))
        mine = {f"u-{n}" for n in range(c, 18, 6)}
        assert [id for id in found if id in mine] == [f"u-{n}" for n in range(c, 18, 6)]
    system.run(spread, "demo")
    assert in_force(system.runtime.redis) == layout
    killed_at_every_step(system, gather)
    gathered = in_force(system.runtime.redis)
    assert (gathered.partitions, gathered.spread, gathered.generation) == (4, frozenset(), 4)
    assert (system.state(), system.documents()) == (before, documents)
    # What the home had is in force first.
    back = ids(system, gathered.stream("demo", own=True))
    assert sorted(back) == sorted([f"u-{n}" for n in range(18)] + ["mute-5", "mute-11", "mute-17"])
    away = {f"u-{n}" for n in range(18) if layout.partition_of("demo", CHANNELS[n % 6]) != layout.home_of("demo")}
    assert max(back.index(id) for id in back if id not in away) < min(back.index(id) for id in away)
    for c in range(6):
        assert [id for id in back if id in {f"u-{n}" for n in range(c, 18, 6)}] == [f"u-{n}" for n in range(c, 18, 6)]
    system.run(gather, "demo")
    assert in_force(system.runtime.redis) == gathered


def test_what_later_messages_may_overtake_keeps_an_app_from_being_spread(system: System) -> None:
    filled(system)
    system.change(4)
    before = in_force(system.runtime.redis)
    with pytest.raises(
        RepartitionError,
        match=r"taken, not delivered \(to expand: 0, batches: 1\): later ones may overtake them.*--force",
    ):
        system.run(repartition.spread, "demo")
    assert (in_force(system.runtime.redis), under_way(system.runtime.redis)) == (before, None)
    pipeline = system.pipeline()
    pipeline.breaker.resume(pipeline.provider.id, by_hand=True)
    assert len(pipeline.run()) == 3
    pipeline.publish(message(id="taken", recipients=[HAN]))
    pipeline.take()
    with pytest.raises(RepartitionError, match="to expand: 1, batches: 0"):
        system.run(repartition.spread, "demo")
    assert len(pipeline.run()) == 1
    pipeline.close()
    # What is scheduled is of no channel.
    system.run(repartition.spread, "demo")
    assert in_force(system.runtime.redis).is_spread("demo")


def test_what_goes_on_in_between_and_afterwards_is_what_would_have_gone_on(system: System) -> None:
    filled(system)
    system.change(4)
    system.run(spread, "demo")
    found = Spread(*system.urls, layout=in_force(system.runtime.redis))
    provider = found.home.provider.id
    # A stop by hand is one in all partitions.
    assert all((one := part.breaker.stopped(provider)) is not None and one.manual for part in found.parts)
    assert Breakers(found.home.keyspace.all_of("demo")).resume(provider)
    assert [badge_of(one) for one in found.run()] == [4, 4, 4]
    assert found.badge(1) == 4
    for part in found.others:
        channel = found.channel(part)
        found.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id=channel), users=[HAN, "leia"]))
        found.publish(message(channel, id=f"in-{channel}", recipients=[HAN]))
    assert len(found.run()) == len(found.others)
    before = 4 + len(found.others)
    assert found.badge(1) == before
    counts = found.home.journal.counts("demo")
    of_others = [part.journal.counts("demo") for part in found.others]
    waiting = found.channel(found.others[0])
    found.home.breaker.stop(found.home.provider.id, "by hand", found.home.now, manual=True)
    found.part_of(waiting).breaker.stop(found.home.provider.id, "by hand", found.home.now, manual=True)
    found.publish(message(waiting, id="waits", recipients=[HAN]))
    assert found.run() == []
    found.close()
    system.run(gather, "demo")
    pipeline = system.pipeline()
    assert pipeline.run() == []
    pipeline.breaker.resume(pipeline.provider.id, by_hand=True)
    [sent] = pipeline.run()
    assert badge_of(sent) == before + 1
    pipeline.publish(message(waiting, id="waits", recipients=[HAN]))
    assert pipeline.run() == [], "it was recorded before"
    accepted = int(counts["accepted"]) + sum(int(of.get("accepted", 0)) for of in of_others)
    assert int(pipeline.journal.counts("demo")["accepted"]) == accepted + 1
    pipeline.close()


@pytest.mark.parametrize("numbered", [False, True], ids=["was not counted", "was counted"])
def test_a_batch_that_comes_home_counts_its_badges_once(system: System, numbered: bool) -> None:
    filled(system)
    system.change(4)
    system.run(spread, "demo")
    found = Spread(*system.urls, layout=in_force(system.runtime.redis))
    there = found.others[0]
    channel = found.channel(there)
    found.publish(message(channel, id="e1", recipients=[HAN]))
    found.take()
    there.expand()
    taken = there.journal.take_batch("urgent")
    assert taken is not None
    before = found.badge(1)
    if numbered:
        # The worker dies before the batch knows.
        found.home.partition.scripts.number_batch(
            id=f"{taken.id}~{there.partition.index}",
            app="demo",
            way=str(taken.batch.provider),
            orders=device_orders(taken.batch),
            again=0,
            lease=1,
            keep=60,
        )
        assert found.badge(1) == before + 1
    found.close()
    system.run(gather, "demo")
    pipeline = system.pipeline()
    pipeline.breaker.resume(pipeline.provider.id, by_hand=True)
    pipeline.run()
    pipeline.later(3600)
    sent = [json.loads(one.payload)["aps"]["badge"] for one in (*pipeline.run(), *pipeline.apns.sent)]
    assert max(sent) == before + 1
    badge: Any = pipeline.redis.hget(pipeline.partition.keys.BADGE("demo"), "1")
    assert int(badge) == before + 1
    pipeline.close()


def test_what_is_shown_of_a_channel_goes_with_it(system: System) -> None:
    system.change(4)
    keyspace = Keyspace(system.runtime.redis)
    home = keyspace.of_app("demo")
    shown = {f"{channel}\nhan": float(n) for n, channel in enumerate(CHANNELS)}
    system.runtime.redis.zadd(home.keys.SHOWN("demo"), shown)
    system.pipeline().close()  # the app
    system.run(spread, "demo")
    keyspace = Keyspace(system.runtime.redis)
    for n, channel in enumerate(CHANNELS):
        of = keyspace.of_channel("demo", channel)
        assert system.runtime.redis.zscore(of.keys.SHOWN("demo"), f"{channel}\nhan") == n
    assert sum(system.runtime.redis.zcard(of.keys.SHOWN("demo")) for of in keyspace) == len(CHANNELS)
    system.run(gather, "demo")
    again: Any = system.runtime.redis.zrange(Keyspace(system.runtime.redis).of_app("demo").keys.SHOWN("demo"), 0, -1)
    assert sorted(one.decode() for one in again) == sorted(shown)


def test_another_app_is_spread_while_one_is(system: System) -> None:
    filled(system)
    system.change(4)
    system.run(spread, "acme")
    unread(system)
    before, documents = system.state(), system.documents()
    home = Keyspace(system.runtime.redis).of_app("acme")
    answer: Any = {"app": "acme", "badges": "7"}
    system.runtime.redis.hset(home.keys.NUMBERED("b1~0"), mapping=answer)
    system.run(spread, "demo")
    home = Keyspace(system.runtime.redis).of_app("acme")
    kept: Any = system.runtime.redis.hgetall(home.keys.NUMBERED("b1~0"))
    assert {name.decode(): of.decode() for name, of in kept.items()} == answer
    layout = in_force(system.runtime.redis)
    assert layout.spread == {"acme", "demo"}
    assert (system.state(), system.documents()) == (before, documents)
    system.run(gather, "acme")
    system.run(gather, "demo")
    assert (system.state(), system.documents()) == (before, documents)


def test_what_is_refused_is_said(system: System) -> None:
    system.pipeline().close()  # the app
    with pytest.raises(RepartitionError, match="there is one partition: `carillon partitions set` makes more"):
        system.run(spread, "demo")
    system.change(4)
    with pytest.raises(RepartitionError, match="there is no app 'nobody'"):
        system.run(spread, "nobody")
    system.run(gather, "demo")  # it is home
    system.run(spread, "demo")
    with pytest.raises(
        RepartitionError, match="gathered first, and spread again afterwards: `carillon partitions gather demo`"
    ):
        system.change(16)
    keyspace = Keyspace(system.runtime.redis)
    away = keyspace.of_channel("demo", next(c for c in CHANNELS if keyspace.of_channel("demo", c).index != 0))
    away.redis.rpush(away.keys.HOMEWARD(), "1 0 {}")
    with pytest.raises(RepartitionError, match=f"partition {away.index} has something to tell the homes"):
        system.run(gather, "demo")
    assert in_force(system.runtime.redis).spread == {"demo"}


@pytest.mark.parametrize(
    ("family", "parts", "channel"),
    [
        ("BURST", ("demo", "messaging", "general:179"), "messaging:general"),
        ("SOUNDS", ("demo", "c", "179"), "c"),
        ("SOUNDS", ("demo", "", "179"), None),
        ("FOLDS", ("demo", "messaging:general"), "messaging:general"),
        ("SPEAKER", ("demo", "c"), "c"),
        ("REMINDER", ("demo\nc\n\nhan",), "c"),
        ("BADGE", ("demo",), None),
    ],
)
def test_a_key_tells_its_channel(family: str, parts: tuple[str, ...], channel: str | None) -> None:
    assert channel_of_key(family, parts) == channel


def test_an_item_tells_its_channel() -> None:
    assert channel_of_item("SHOWN", "c\nthread\nhan") == channel_of_item("REMINDERS", "demo\nc\n\nhan") == "c"
    assert channel_of_item("DIGESTS", "demo\nhan") is None


def test_the_command_of_a_change_is_known() -> None:
    four, more = Layout(2, ("a", "b")), Layout(3, ("c", "d"), spread=frozenset({"acme"}))
    assert command_of(four, more) == "spread acme"
    assert command_of(more, four) == "gather acme"
    assert command_of(four, Layout(3, ("x",))) == "set 1"
