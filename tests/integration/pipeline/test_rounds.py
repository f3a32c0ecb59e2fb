"""One stream an app: nobody waits behind somebody else's backlog, and each app's order stays."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest

from producers import events as ev
from producers.events import app_stream
from tests.integration.pipeline.harness import Pipeline, message, stamp, user_of
from worker.core.errors import LeaseLost
from worker.core.model import AppSettings
from worker.core.pace import Pace
from worker.state.journal import Recorded
from worker.state.streams import Streams, pressure, trimmed


@pytest.fixture
def two(pipeline: Pipeline) -> Pipeline:
    """The app `demo`, and one called `quiet`."""
    pipeline.registry.save_app(AppSettings("quiet"))
    pipeline.lead()
    return pipeline


def says(app: str, id: str, **fields: Any) -> bytes:
    event = json.loads(ev.encode(message(id=id, **fields)))
    return json.dumps(event | {"app": app}, separators=(",", ":")).encode()


def by_hand(app: str, id: str) -> bytes:
    """The same in the order of the contract's examples."""
    event = json.loads(says(app, id))
    return json.dumps({key: event[key] for key in ("v", "type", "id", "app")} | event).encode()


def backwards(app: str, id: str) -> bytes:
    """The same as other languages may write it."""
    return json.dumps(dict(reversed(json.loads(says(app, id)).items()))).encode()


def ids(pipeline: Pipeline, app: str) -> list[str]:
    """The recorded messages of an app, in the order of their places."""
    with pipeline.pool.connection() as db:
        rows = db.execute("SELECT event_id FROM carillon.messages WHERE app = %s ORDER BY position", (app,)).fetchall()
    return [id for (id,) in rows]


def numbered(pipeline: Pipeline, app: str, n: int, *, since: int = 0) -> list[str]:
    expected = [f"e{i}" for i in range(since, since + n)]
    pipeline.publish(*(says(app, id) for id in expected))
    return expected


def test_an_idle_system_moves_nothing(two):
    expected = numbered(two, "demo", 20)
    two.publish(says("quiet", "q"))
    two.take()
    assert (ids(two, "demo"), ids(two, "quiet")) == (expected, ["q"])
    assert two.redis.exists("carillon:moved", app_stream("quiet"), app_stream("demo")) == 0


def test_what_came_at_once_is_one_step(two):
    expected = numbered(two, "demo", 20)
    two.publish(says("quiet", "q"))
    assert two.rounds.step(wait=1.0) == 21
    assert (ids(two, "demo"), ids(two, "quiet")) == (expected, ["q"])


def test_nothing_is_moved_before_what_the_next_step_takes(two):
    rounds = two.rounds = two.new_rounds(batch=80)  # of which a leader's first step takes ten
    rounds.begin()
    expected = numbered(two, "demo", 11)
    two.publish(says("quiet", "q"))
    assert [rounds.step(wait=1.0), rounds.step(wait=1.0)] == [10, 2]
    assert (ids(two, "demo"), ids(two, "quiet")) == (expected, ["q"])
    assert two.redis.exists("carillon:moved", app_stream("quiet")) == 0


@pytest.mark.parametrize("written", [says, by_hand, backwards])
def test_a_message_passes_another_app_s_backlog_in_one_round(two, written):
    numbered(two, "demo", 600)
    two.publish(written("quiet", "q1"), written("nobody", "x"), written("quiet", "q2"))
    rounds = two.rounds = two.new_rounds(batch=40)
    rounds.begin()
    rounds.step(wait=0.001)
    assert ids(two, "quiet") == ["q1", "q2"]
    assert 1 <= len(ids(two, "demo")) <= 40
    two.take()
    assert ids(two, "demo") == [f"e{i}" for i in range(600)]
    assert [letter.letter.app for letter in two.ledger.dead_letters()] == ["nobody"]
    assert two.redis.xlen(ev.STREAM) == 600, "what is open stays, nothing else"


def test_the_order_of_an_app_stays_through_every_change_of_who_is_first(two):
    """Runs of both apps, of every length, taken in small steps: moved entries never pass, and are never passed."""
    written: dict[str, list[str]] = {"demo": [], "quiet": []}
    rounds = two.rounds = two.new_rounds(batch=16)
    rounds.begin()
    for turn, (demo, quiet) in enumerate([(9, 1), (1, 9), (5, 5), (30, 1), (1, 30), (3, 3), (20, 20)]):
        for n in range(max(demo, quiet)):
            for app, most in (("demo", demo), ("quiet", quiet)):
                if n < most:
                    written[app].append(f"{turn}-{n}")
                    make = says if (turn + n) % 3 else backwards
                    two.publish(make(app, written[app][-1]))
        rounds.look()
        for _ in range(2):
            rounds.step(wait=0.001)
    two.take()
    assert {app: ids(two, app) for app in written} == written
    assert int(two.redis.hget("carillon:moved", ev.STREAM) or 0) > 0


def test_an_app_that_has_its_share_ready_waits_and_others_pass(two):
    expected = numbered(two, "demo", 30)
    rounds = two.rounds = two.new_rounds(max_open=10)
    rounds.begin()
    rounds.step(wait=0.001)
    assert len(ids(two, "demo")) == 30
    two.publish(says("demo", "later"), says("quiet", "q"))
    rounds.look()
    for _ in range(3):
        rounds.step(wait=0.001)
    assert (ids(two, "demo"), ids(two, "quiet")) == (expected, ["q"])
    two.expand()
    two.take()
    assert ids(two, "demo") == [*expected, "later"]


def test_a_look_where_nothing_waits_is_one_question(two):
    two.rounds.look()
    before = scripts_called(two)
    two.rounds.look()
    assert scripts_called(two) - before == 1
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("quiet", "q")})
    two.rounds.look()
    assert scripts_called(two) - before == 3, "what waits is written down for publishers"
    assert pressure(two.partition) == (0, {"quiet": 1})
    two.take()
    two.rounds.look()
    assert pressure(two.partition) == (0, {}), "and at once that nothing does any more"


def scripts_called(pipeline: Pipeline) -> int:
    stats: Any = pipeline.redis.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])


def test_what_comes_on_another_app_s_own_stream_waits_for_no_look_while_one_is_full(two, monkeypatch):
    numbered(two, "demo", 30)
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("quiet", "q1")})
    rounds = two.rounds = two.new_rounds(max_open=10)
    rounds.begin()
    rounds.step(wait=0.001)
    two.publish(says("demo", "later"))
    rounds.look()
    assert rounds.step(wait=0.001) == 0
    monkeypatch.setattr(rounds, "look", lambda: None)
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("quiet", "q2")})
    for _ in range(3):
        rounds.step(wait=0.001)
    assert (ids(two, "quiet"), "later" in ids(two, "demo")) == (["q1", "q2"], False)


def test_an_app_s_own_stream_takes_that_app_s_events_only(two):
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("quiet", "q")})
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("demo", "spoofed")})
    two.take()
    assert (ids(two, "quiet"), ids(two, "demo")) == (["q"], [])
    [letter] = two.ledger.dead_letters()
    assert letter.letter.error == "app: 'demo', but this is the stream of 'quiet'"
    assert letter.letter.entry.endswith("@quiet")


def test_a_message_of_an_app_s_own_stream_is_pushed_and_leaves_it(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.run()
    entry = pipeline.redis.xadd(app_stream("demo"), {ev.FIELD: says("demo", "own")}).decode()
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    assert pipeline.redis.xlen(app_stream("demo")) == 0
    assert pipeline.redis.exists(app_stream("demo")), "its ids must not begin anew"
    with pipeline.pool.connection() as db:
        assert db.execute("SELECT entry FROM carillon.messages WHERE event_id = 'own'").fetchone() == (f"{entry}@demo",)


def test_what_an_app_has_on_the_inlet_stays_behind_what_is_on_its_own_stream(two):
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("quiet", "first")})
    two.take()
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("quiet", "second")})
    two.publish(says("quiet", "third"))
    while not two.rounds.idle or two.rounds.step(wait=0.001):
        two.rounds.step(wait=0.001)
    assert ids(two, "quiet") == ["first", "second", "third"]


def test_a_leader_that_was_replaced_moves_nothing(two):
    old = Streams(two.partition)
    old.lead(5)
    new = Streams(two.partition)
    new.lead(1_000_000)
    for deposed in (lambda: old.walk("0-0", None), lambda: old.move([("1-0", "demo")]), lambda: old.lead(5)):
        with pytest.raises(LeaseLost):
            deposed()


def test_steps_are_bounded_by_rows_and_octets(two):
    users = [f"user-{n}" for n in range(9_000)]
    for n in range(6):
        two.publish(ev.MemberAdded(**stamp(n), channel=ev.ChannelId(id=f"c{n}"), users=users))
    rounds = two.rounds = two.new_rounds()
    rounds.begin()
    assert rounds.step(wait=0.001) == 1, "a leader begins with an eighth of the largest step"
    two.publish(says("quiet", "q"))
    rounds.step(wait=0.001)
    rounds.step(wait=0.001)
    assert ids(two, "quiet") == ["q"], "an import is no reason to wait"
    two.take()
    with two.pool.connection() as db:
        assert db.execute("SELECT count(*) FROM carillon.members").fetchone() == (54_000,)


def test_a_step_shrinks_where_it_takes_long_or_fails_and_grows_back():
    pace = Pace(1.0)
    assert pace.after(1.0, 0.25).share == 0.25
    assert Pace(0.25).after(0.01, 0.25).share == 0.5
    assert pace.failed().share == 1 / 8
    for _ in range(50):
        pace = pace.failed()
    assert pace.of(500) == 1
    for _ in range(20):
        pace = pace.after(0.0, 0.25)
    assert pace.share == 1.0


def test_a_step_of_few_entries_that_takes_long_is_made_smaller_only_where_it_fails():
    pace = Pace(1.0)
    for _ in range(50):
        pace = pace.after(1.0, 0.02)
    assert pace.of(500) == 15
    pace = pace.failed()
    assert pace.of(500) == 1
    assert pace.after(1.0, 0.02) == pace


# what is no event


def test_an_entry_too_large_to_be_an_event_is_known_by_its_length_and_beginning(two):
    two.redis.xadd(ev.STREAM, {ev.FIELD: b"{" + b"x" * 3_000_000})
    two.publish(says("quiet", "q"))
    two.take()
    [letter] = two.ledger.dead_letters()
    assert letter.letter.error.startswith("document: 3,000,001 bytes, at most 1,048,576 are taken")
    kept = two.ledger.dead_letter(letter.id)
    assert kept is not None
    assert kept.letter.document == b"{" + b"x" * 1023
    assert ids(two, "quiet") == ["q"]
    assert two.journal.backlog()[0] == 1


def test_other_fields_mean_nothing_and_the_event_is_found_by_its_name(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.run()
    pipeline.redis.execute_command("XADD", ev.STREAM, "*", "trace", "abc", ev.FIELD, says("demo", "e1"), "more", "x")
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    assert pipeline.journal.backlog() == (0, 0)


def test_an_entry_with_two_events_or_none_is_refused(two):
    two.redis.execute_command("XADD", ev.STREAM, "*", ev.FIELD, says("demo", "a"), ev.FIELD, says("quiet", "b"))
    two.redis.xadd(ev.STREAM, {"something": "else"})
    two.take()
    errors = [letter.letter.error for letter in two.ledger.dead_letters()]
    assert errors == [
        "entry: has no field `event`",
        "entry: has the field `event` more than once; every event is an entry of its own",
    ]
    assert two.journal.backlog() == (0, 0)


# ids


@pytest.mark.parametrize("sequence", [1_048_570, 18_446_744_073_709_551_600])
def test_ids_of_any_value_count(pipeline, sequence):
    pipeline.member("general", "leia", "han")
    pipeline.run()
    ms = int(pipeline.redis.time()[0]) * 1000 + 3_600_000
    pipeline.redis.xadd(ev.STREAM, {ev.FIELD: says("demo", "jump")}, id=f"{ms}-{sequence}")
    pipeline.publish(*(says("demo", f"e{n}") for n in range(10)))
    assert len(pipeline.run()) == 11
    assert ids(pipeline, "demo") == ["jump", *(f"e{n}" for n in range(10))]


def test_ids_far_ahead_of_the_clock_are_taken_and_warned_of(pipeline, caplog):
    pipeline.member("general", "leia", "han")
    pipeline.run()
    pipeline.redis.xadd(ev.STREAM, {ev.FIELD: says("demo", "far")}, id="9999999999999-0")
    assert len(pipeline.run()) == 1
    assert "ids of the stream are ahead of the clock" in caplog.text


def test_a_stream_whose_ids_are_used_up_is_named(pipeline, caplog):
    pipeline.member("general", "leia", "han")
    pipeline.run()
    pipeline.redis.xadd(ev.STREAM, {ev.FIELD: says("demo", "last")}, id=f"{2**64 - 1}-{2**64 - 1}")
    assert len(pipeline.run()) == 1
    pipeline.rounds.look()
    assert "the stream has the last id that there is" in caplog.text


def test_a_registration_rate_does_not_stop_until_the_clock_has_caught_up(pipeline):
    pipeline.save_app(registration_rate=100, registration_burst=3)
    day = 86_400_000 + int(pipeline.redis.time()[0]) * 1000
    for n in range(12):
        device = ev.DeviceRegistered(**stamp(), user=f"u{n}", device=ev.Device(token=f"{n:04x}"))
        pipeline.redis.xadd(ev.STREAM, {ev.FIELD: ev.encode(device)}, id=f"{day}-{n}")
        pipeline.take()
        with pipeline.pool.connection() as db:
            # A tenth of a second later, by Postgres' clock.
            db.execute(
                "UPDATE carillon.registration_buckets SET at = least(at, now_ms) - 100 FROM (SELECT"
                " (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms) n"
            )
    assert pipeline.journal.counts("demo").get("devices.over_rate", 0) == 0


# what others do to Redis


def test_trimming_by_somebody_else_is_noticed(pipeline, caplog):
    pipeline.publish(says("demo", "e1"))
    pipeline.run()
    pipeline.rounds.look()
    pipeline.publish(*(says("demo", f"lost{n}") for n in range(5)))
    pipeline.redis.xtrim(ev.STREAM, maxlen=0, approximate=False)
    pipeline.rounds.look()
    assert "taken off the stream before they were read" in caplog.text
    assert trimmed(pipeline.partition)[ev.STREAM][0] == 5
    caplog.clear()
    pipeline.publish(says("demo", "e2"))
    pipeline.run()
    pipeline.rounds.look()
    assert (ids(pipeline, "demo"), caplog.text.count("taken off")) == (["e1", "e2"], 0)


def test_an_open_message_whose_entry_somebody_took_away_is_noticed(pipeline, caplog):
    pipeline.member("general", "leia", "han")
    pipeline.publish(says("demo", "e1"))
    pipeline.take()
    pipeline.redis.xtrim(ev.STREAM, maxlen=0, approximate=False)
    pipeline.expand()
    assert trimmed(pipeline.partition)[ev.STREAM][0] == 1
    assert "an open event's entry is gone" in caplog.text


def test_moving_is_not_taken_for_trimming(two):
    numbered(two, "demo", 100)
    two.publish(says("quiet", "q"))
    rounds = two.rounds = two.new_rounds(batch=8)
    rounds.begin()
    two.take()
    two.rounds.look()
    assert (trimmed(two.partition), ids(two, "quiet")) == ({}, ["q"])


@pytest.mark.parametrize("ahead", [0, -1000], ids=["with its clock", "with an older clock"])
def test_a_redis_that_came_back_empty_is_read_from_its_beginning(pipeline, caplog, ahead):
    pipeline.member("general", "leia", "han")
    pipeline.run()
    now = int(pipeline.redis.time()[0]) * 1000
    pipeline.redis.delete(ev.STREAM)
    pipeline.redis.xadd(ev.STREAM, {ev.FIELD: says("demo", "after")}, id=f"{now + ahead * 3600}-0" if ahead else "*")
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    if ahead:
        assert "the stream ends before what was read of it" in caplog.text


def test_what_redis_forgot_is_taken_again_and_what_it_knows_is_not(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(says("demo", "e1"), says("demo", "e2"))
    pipeline.take()
    [first, second] = [id.decode() for id, _ in pipeline.redis.xrange(ev.STREAM)]
    pipeline.redis.hdel("carillon:open", second)
    pipeline.redis.hdel("carillon:expanding", second)
    [group] = pipeline.redis.keys("carillon:ready:e:group:*@demo")
    pipeline.redis.lrem(group, 1, second)
    assert pipeline.lead() == 1
    assert [user_of(n) for n in pipeline.run()] == ["han", "han"]
    assert pipeline.journal.backlog() == (0, 0)
    assert first < second


# one entry's faults


def test_a_bug_stays_with_its_entry(pipeline, monkeypatch, caplog):
    real = ev.decode

    def buggy(document: bytes) -> ev.AnyEvent:
        event = real(document)
        if event.id == "bad":
            raise KeyError("secret text")
        return event

    documents = [says("demo", id) for id in ("e1", "bad", "e2")]
    monkeypatch.setattr("worker.pipeline.intake.events.decode", buggy)
    pipeline.publish(*documents)
    pipeline.take()
    assert ids(pipeline, "demo") == ["e1", "e2"]
    assert [letter.letter.error for letter in pipeline.ledger.dead_letters()] == ["cannot be read: KeyError"]
    assert "secret text" not in caplog.text


def test_a_row_that_postgres_cannot_index_stays_with_its_entry(pipeline):
    # At random, or Postgres would compress them.
    chance = random.Random(1)
    app, channel, user = ("".join(chr(chance.randrange(0x10000, 0xF0000)) for _ in range(n)) for n in (200, 255, 255))
    pipeline.registry.save_app(AppSettings(app))
    document = {"v": 1, "type": "member.added", "id": "m", "app": app, "at": "2026-11-21T20:00:00Z"}
    pipeline.publish(
        says("demo", "e1"),
        json.dumps(document | {"channel": {"id": channel}, "users": [user]}).encode(),
        says("demo", "e2"),
    )
    pipeline.take()
    assert ids(pipeline, "demo") == ["e1", "e2"]
    assert [letter.letter.error for letter in pipeline.ledger.dead_letters()] == [
        "cannot be stored: ProgramLimitExceeded"
    ]


def test_an_answer_that_cannot_be_written_stops_nothing(pipeline):
    pipeline.redis.set(ev.reply_key("taken"), "x")
    device = ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token="ab"), reply="taken")
    pipeline.publish(ev.encode(device), says("demo", "e1"))
    pipeline.take()
    assert ids(pipeline, "demo") == ["e1"]


def test_badges_that_cannot_be_reset_stop_nothing(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.run()
    pipeline.redis.set("carillon:cleared:demo", "x")
    pipeline.publish(ev.encode(ev.BadgeCleared(**stamp(), user="han")), says("demo", "e1"))
    pipeline.take()
    assert ids(pipeline, "demo") == ["e1"]


def test_answers_of_one_id_are_bounded(pipeline):
    for n in range(40):
        device = ev.DeviceRegistered(**stamp(n), user="han", device=ev.Device(token=f"{n:04x}"), reply="same")
        pipeline.publish(ev.encode(device))
    pipeline.take()
    assert pipeline.redis.llen(ev.reply_key("same")) == 16


def test_two_leaders_at_once_lose_nothing(pipeline):
    """The second takes the entry for its own as well; neither removes what the other has opened."""
    pipeline.member("general", "leia", "han")
    pipeline.run()
    pipeline.publish(says("demo", "e1"))
    held: list[Any] = []
    opened = pipeline.journal.open

    def die_before(messages: Sequence[Recorded], *, token: int) -> int:
        held.append((messages, token))
        return 0

    pipeline.journal.open = die_before
    pipeline.take()
    pipeline.journal.open = opened
    assert pipeline.lead() == 1, "another leads, and takes again what the frozen one has committed"
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    [(messages, token)] = held
    with pytest.raises(LeaseLost):
        opened(messages, token=token)
    assert pipeline.run() == []
    assert pipeline.journal.backlog() == (0, 0)


# pressure


def test_how_many_events_wait_is_counted_by_app(two):
    numbered(two, "demo", 50)
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("quiet", "q1")})
    two.redis.xadd(app_stream("quiet"), {ev.FIELD: says("quiet", "q2")})
    rounds = two.rounds = two.new_rounds(batch=8)
    rounds.begin()
    found = pressure(two.partition)
    assert found is not None
    assert found[1]["quiet"] == 2
    two.take()
    two.rounds.look()
    assert pressure(two.partition) == (0, {})
    assert 0 < two.redis.ttl("carillon:pressure") <= 30


def test_what_a_failover_closed_behind_the_cursor_is_taken_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new primary has the entry and not that it was opened: replication ended in between."""
    pipeline.member("general", "leia", "han")
    pipeline.run()
    pipeline.publish(message())
    pipeline.take()
    assert not pipeline.rounds.replaced
    stream = pipeline.partition.keys.EVENTS()
    entries: Any = pipeline.redis.xrange(stream)
    pipeline.redis.flushdb()
    for id, fields in entries:
        pipeline.redis.xadd(stream, fields, id=id)
    look = Streams.look
    monkeypatch.setattr(Streams, "lineage", lambda _: "another")
    monkeypatch.setattr(Streams, "look", lambda *given: look(*given)._replace(lineage="another"))
    pipeline.take()
    assert [pipeline.rounds.replaced, pipeline.lead()] == [True, 1]
    assert [user_of(one) for one in pipeline.run()] == ["han"]
