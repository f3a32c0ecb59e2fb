"""An app that is spread: its channels over the partitions, all else in its home.

What was published before a message is in force when the message is expanded, however late the home's leader is.
"""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from redis import exceptions

from producers import events as ev
from producers.partitions import LAYOUT_KEY, Layout, encoded, tags
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from tests.integration.pipeline.spread_leaders import SpreadApp
from tests.processes import PATIENCE, wait_until
from worker.core.model import AppSettings
from worker.pipeline import barrier
from worker.reports.delivery_report import unknown
from worker.reports.looking_up import look_up
from worker.state.partition import Partition
from worker.state.redis import connect
from worker.state.streams import Figures, RawEntry

LAYOUT = Layout(2, tags(4), spread=frozenset({"demo"}))


@pytest.fixture
def layout() -> Layout:
    return LAYOUT


@pytest.fixture
def app(pipeline: Pipeline) -> Iterator[SpreadApp]:
    pipeline.redis.set(LAYOUT_KEY, encoded(LAYOUT))
    made = SpreadApp(pipeline)
    yield made
    made.close()


def member(channel: str, *users: str) -> ev.MemberAdded:
    return ev.MemberAdded(**stamp(), channel=ev.ChannelId(id=channel), users=list(users))


def device(user: str) -> ev.DeviceRegistered:
    return ev.DeviceRegistered(**stamp(), user=user, device=ev.Device(token=token(user)))


def muted(user: str, target: str) -> ev.UserMuted:
    return ev.UserMuted(**stamp(), user=user, target=target)


def recorded(pipeline: Pipeline) -> dict[str, int]:
    """The messages that were taken, with their places."""
    with pipeline.pool.connection() as db:
        return dict(db.execute("SELECT event_id, position FROM carillon.messages").fetchall())


def mutes(pipeline: Pipeline) -> dict[str, int]:
    """By target the place from which on it is muted."""
    with pipeline.pool.connection() as db:
        return dict(db.execute("SELECT target, since FROM carillon.mutes").fetchall())


def test_a_message_waits_for_what_its_app_s_home_has_still_to_take(app: SpreadApp) -> None:
    channel = app.elsewhere()
    app.publish(member(channel, "leia", "han", "luke"), device("han"), device("luke"))
    app.drain()
    app.publish(muted("han", "leia"))
    app.publish(message(channel, id="m1"))
    # The home's leader is away.
    there = app.of(channel)
    assert there.step(5) == 0
    assert "m1" not in recorded(app.pipeline)
    there.killed()
    assert there.step(3) == 0
    assert app.home.step(2) == 1
    assert there.step(2) == 1
    assert mutes(app.pipeline)["leia"] < recorded(app.pipeline)["m1"]
    assert there.expand() == 1
    taken = there.journal.take_batch("urgent")
    assert taken is not None
    assert [job.token for job in taken.batch.jobs] == [token("luke")]


def test_a_device_that_was_registered_before_gets_the_message(app: SpreadApp) -> None:
    channel = app.elsewhere()
    app.publish(member(channel, "leia", "han"))
    app.drain()
    app.publish(device("han"), message(channel, id="m1"))
    there = app.of(channel)
    assert there.step(3) == 0
    app.home.step(2)
    assert there.step(2) == 1
    assert there.expand() == 1


def test_only_this_app_waits(app: SpreadApp) -> None:
    channel, pipeline = app.elsewhere(), app.pipeline
    there = app.of(channel)
    other = next(name for name in map("app-{}".format, range(99)) if LAYOUT.home_of(name) == there.partition.index)
    pipeline.registry.save_app(AppSettings(other))
    app.publish(muted("han", "leia"), message(channel, id="m1"))
    app.publish(ev.decode(ev.encode(message(channel, id="m2")).replace(b'"app":"demo"', f'"app":"{other}"'.encode())))
    assert there.step(3) == 1
    assert set(recorded(pipeline)) == {"m2"}
    assert app.home.step(2) == 1
    assert there.step(2) == 1


def test_what_is_published_while_a_message_waits_is_not_waited_for(app: SpreadApp) -> None:
    channel = app.elsewhere()
    there = app.of(channel)
    app.publish(muted("han", "one"))
    app.publish(message(channel, id="m1"))
    assert there.step() == 0
    assert app.home.step(2) == 1
    app.publish(muted("han", "two"), message(channel, id="m2"))
    assert there.step() == 1  # m1, and not m2, which was read later
    assert set(recorded(app.pipeline)) == {"m1"}
    assert there.step(2) == 0
    app.drain()
    places = recorded(app.pipeline)
    assert places["m1"] < mutes(app.pipeline)["two"] < places["m2"]


def test_nothing_waits_where_the_home_has_nothing(app: SpreadApp) -> None:
    channel = app.elsewhere()
    app.publish(message(channel, id="m1"))
    assert app.of(channel).step() == 1
    app.publish(muted("han", "leia"))
    app.home.step(2)
    for n in range(3):
        app.publish(message(channel, id=f"n{n}"))
        assert app.of(channel).step() == 1


def test_what_a_home_has_lost_is_not_waited_for_once_its_leader_has_noticed(app: SpreadApp) -> None:
    """A failover may forget what was acknowledged."""
    channel, redis = app.elsewhere(), app.pipeline.redis
    there, stream = app.of(channel), app.home.partition.names.stream_for("demo")
    app.publish(muted("han", "one"))
    app.drain()
    app.publish(muted("han", "lost"))
    app.publish(message(channel, id="m1"))
    assert there.step() == 0
    redis.delete(stream)
    redis.xadd(stream, {"event": ev.encode(muted("han", "two"))}, id="1-1")
    assert there.step() == 0  # the home's leader has still to see that ids begin anew
    app.home.step(2)
    app.drain()
    assert set(recorded(app.pipeline)) == {"m1"}
    assert mutes(app.pipeline)["two"] < recorded(app.pipeline)["m1"]


def test_events_of_the_app_on_an_inlet_are_taken_from_its_own_stream(app: SpreadApp) -> None:
    channel = app.elsewhere()
    there = app.of(channel)
    for n in range(3):
        app.pipeline.redis.xadd(there.partition.names.inlet, {"event": ev.encode(message(channel, id=f"m{n}"))})
    app.publish(muted("han", "leia"))
    assert there.step(3) == 0
    app.home.step(2)
    there.step(2)
    assert list(recorded(app.pipeline)) == ["m0", "m1", "m2"]
    assert app.pipeline.redis.xlen(there.partition.names.inlet) == 0


def test_a_home_that_does_not_answer_holds_this_app_alone_and_is_named_in_the_log(
    app: SpreadApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channel = app.elsewhere()
    monkeypatch.setattr(barrier, "LONG", 0.0)
    monkeypatch.setattr(barrier, "_AGAIN", 0.0)

    def away(*_: object) -> None:
        raise exceptions.ConnectionError("away")

    app.publish(message(channel, id="m1"))
    with monkeypatch.context() as patch:
        patch.setattr(barrier._Home, "_ask", away)
        assert app.of(channel).step(3) == 0
    line = next(
        line for line in caplog.records if line.message == "messages of a spread app wait for its home partition"
    )
    assert (vars(line)["app"], vars(line)["home"]) == ("demo", app.home.partition.index)
    assert app.of(channel).step() == 1


def test_a_home_on_another_server_is_asked_by_a_thread_and_holds_nobody_up_while_it_is_silent(
    app: SpreadApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, pipeline = app.elsewhere(), app.pipeline
    there = app.of(channel)
    # As in a cluster: each partition has a client of its own.
    here = Partition(there.partition.index, LAYOUT, connect(pipeline.redis_url))
    held = barrier.Barrier(pipeline.keyspace, here, pipeline.pool)
    answers, ask = threading.Event(), barrier._Home._ask

    def silent(home: barrier._Home, cursor: str) -> Figures:
        assert answers.wait(PATIENCE)
        return ask(home, cursor)

    monkeypatch.setattr(barrier, "_AGAIN", 0.0)
    monkeypatch.setattr(barrier._Home, "_ask", silent)
    entries = [RawEntry("5-0", b"{}")]
    app.publish(muted("han", "leia"))
    assert held.let("demo", entries) == ()
    assert held.holds("demo")
    answers.set()
    wait_until(lambda: held.holds("demo") and held._tickets["demo"].tail is not None)
    assert held.let("demo", entries) == ()
    app.home.step(2)
    wait_until(lambda: not held.holds("demo"))
    assert held.let("demo", entries) == entries
    here.redis.close()


def test_what_the_home_has_committed_and_not_yet_carried_out_is_waited_for(
    app: SpreadApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the message may take a badge number from before a clearing that was published before it."""
    channel = app.elsewhere()
    app.publish(ev.BadgeCleared(**stamp(), user="han"))
    app.publish(message(channel=channel, id="e1"))

    def dies(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("worker.pipeline.intake.Intake._finish", dies)
        with pytest.raises(SystemExit):
            app.home.step()
    app.home.killed()
    assert app.of(channel).step(3) == 0
    app.home.step()
    assert app.of(channel).step(3) == 1


def test_why_names_the_home_that_a_message_waits_for(app: SpreadApp) -> None:
    channel, pipeline = app.elsewhere(), app.pipeline
    app.publish(muted("han", "leia"), message(channel=channel, id="e0"))
    app.drain()
    app.publish(message(channel=channel, id="e1"))
    assert look_up(pipeline.keyspace, pipeline.pool, "demo", "e1")[0].home is None
    app.publish(muted("han", "chewie"))
    assert app.of(channel).step() == 0
    facts, _ = look_up(pipeline.keyspace, pipeline.pool, "demo", "e1")
    assert facts.home == pipeline.partition.index
    assert f"until partition {facts.home}, its home, has committed" in unknown("demo", "e1", facts)


def test_the_first_entry_of_a_spread_app_waits_for_no_look_at_all_streams(
    app: SpreadApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = app.elsewhere()
    leader = app.of(channel)
    leader.step()
    assert leader._rounds is not None
    monkeypatch.setattr(leader._rounds, "look", lambda: None)
    app.publish(message(channel=channel, id="e1"))
    assert leader._rounds.step(wait=0.5) == 1


def test_homes_on_a_silent_server_share_the_thread_that_asks(app: SpreadApp) -> None:
    pipeline = app.pipeline
    there = app.of(app.elsewhere()).partition
    here = Partition(there.index, LAYOUT, connect(pipeline.redis_url))
    held = barrier.Barrier(pipeline.keyspace, here, pipeline.pool)
    home = pipeline.partition.index
    apps = [name for name in map("app{}".format, range(100)) if LAYOUT.home_of(name) == home][:2]
    one, other = map(held._home, apps)
    assert one._apart is other._apart is not None
    assert one._part == other._part
    here.redis.close()


# Steps of the property below: publish something of the home's or of a channel's, a round of a leader, or its end.
_STEPS = some.lists(
    some.one_of(
        some.just("mute"),
        some.integers(0, 2).map("message {}".format),
        some.integers(0, 3).map("step {}".format),
        some.integers(0, 3).map("kill {}".format),
    ),
    max_size=24,
)


@given(_STEPS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_leaders_interleave_what_was_published_before_is_in_force(app: SpreadApp, steps: list[str]) -> None:
    """And a channel's messages keep their order, and each is taken once."""
    before, known = len(recorded(app.pipeline)), len(mutes(app.pipeline))
    published: dict[str, int] = {}
    order: dict[str, list[str]] = {}
    count = known
    for n, (kind, _, which) in enumerate(step.partition(" ") for step in steps):
        if kind == "mute":
            app.publish(muted("han", f"t{count:06}"))
            count += 1
        elif kind == "message":
            channel, id = app.elsewhere(int(which)), f"m{before + n:06}-{len(published)}-{id_of(app)}"
            app.publish(message(channel, id=id, message_id=id))
            published[id] = count
            order.setdefault(channel, []).append(id)
        elif kind == "step":
            app.leaders[int(which)].step()
        else:
            app.leaders[int(which)].killed()
    app.drain()
    places, since = recorded(app.pipeline), mutes(app.pipeline)
    assert published.keys() <= places.keys()
    assert len(places) == before + len(published)
    for id, mutes_before in published.items():
        assert all(since[f"t{n:06}"] < places[id] for n in range(mutes_before))
    for ids in order.values():
        assert [places[id] for id in ids] == sorted(places[id] for id in ids)


def id_of(app: SpreadApp) -> str:
    """Of one example; each has ids of its own."""
    return str(len(recorded(app.pipeline)))
