"""Every Lua script runs twice on the real store: what it does, and what it does the second time."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Final

import pytest

from worker.core.badges import Cleared
from worker.core.batch import COUNT, Batch, Freed, Job, Sending
from worker.core.digest import Counted, Kept, Missed
from worker.core.ledger_entry import account, beginning
from worker.core.limits import Rate
from worker.core.reminder import Next, NotifiedOf, Pushed
from worker.core.second_look import SecondLook
from worker.core.way import MOST_ORIGINS, OTHER
from worker.state import keys, reminders
from worker.state import scripts as loader
from worker.state.breaker import Breaker, FirstRefusal
from worker.state.deferred import DeferredDevices
from worker.state.fence import Fence
from worker.state.homes import Home
from worker.state.journal import DONE, Journal, Opened, Push, QueuedBatch, QueuedLook, Recorded, Taken
from worker.state.limiter import ONLY, Limiter, Wanted
from worker.state.missed import due_badges, due_digests
from worker.state.origins import Origins
from worker.state.partition import untagged
from worker.state.redis import Redis
from worker.state.scripts import Scripts
from worker.state.shown import Reading, Shown, Turn
from worker.state.streams import Streams, trimmed

APP: Final = "demo"
ENTRY: Final = "1-1"
#: The scripts that tests of this file run twice.
_COVERED: Final[set[str]] = set()
#: What only says when somebody asked last.
_CLOCKS: Final = {keys.ASKED(), keys.WATCHED(), keys.DEFERRED_ASKED()}


def runs(script: str) -> Callable[[Any], Any]:
    """The test below is that of the script."""
    _COVERED.add(script)
    return lambda test: test


def contents(redis: Redis) -> dict[str, Any]:
    """All that Redis has, by key."""
    read: dict[str, Callable[[Any], Any]] = {
        "string": redis.get,
        "hash": redis.hgetall,
        "list": lambda key: redis.lrange(key, 0, -1),
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        "stream": redis.xrange,
    }
    found: list[str] = [key.decode() for key in redis.scan_iter()]
    return {key: read[_text(redis.type(key))](key) for key in sorted(found) if key not in _CLOCKS}


def _text(value: Any) -> str:
    return str(value.decode())


def again(redis: Redis, call: Callable[[], Any]) -> Any:
    """What the call returns, which must change nothing."""
    before = contents(redis)
    answer = call()
    assert contents(redis) == before
    return answer


def opened(redis: Redis, journal: Journal, entry: str = ENTRY, *, channel: str = "general") -> Recorded:
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id=entry)
    message = Recorded(entry, APP, int(entry.replace("-", "")), channel)
    journal.open([message], token=0)
    return message


def queued(entry: str = ENTRY, *, id: str = "b1", device: int = 7) -> QueuedBatch:
    sending = Sending(entry, "e1", '{"aps":{', "}}", 2_000_000_000, "c1", channel="general", place=11)
    return QueuedBatch(id, Batch(APP, 1, "urgent", [sending], [Job(0, device, "han", "aa", 0)]))


def expanded(redis: Redis, journal: Journal, *batches: QueuedBatch) -> None:
    """The entry's batches are ready."""
    opened(redis, journal)
    [message] = journal.take_messages("urgent", 10)
    journal.expand([message.step(DONE)], batches or [queued()], {}, [])


def taken(journal: Journal) -> Taken:
    found = journal.take_batch("urgent")
    assert found is not None
    return found


def taken_message(redis: Redis, journal: Journal) -> Opened:
    opened(redis, journal)
    [message] = journal.take_messages("urgent", 10)
    return message


def test_every_script_is_run_twice() -> None:
    assert set(loader.names()) == _COVERED


# The journal's messages.


@runs("open")
def test_an_entry_is_opened_once(redis: Redis, journal: Journal) -> None:
    message = opened(redis, journal)
    assert redis.hgetall(keys.OPEN()) == {b"1-1": b"1"}
    assert again(redis, lambda: journal.open([message], token=0)) == 1, "it can be taken still"
    [taken] = journal.take_messages("urgent", 10)
    assert again(redis, lambda: journal.open([message], token=0)) == 0, "a task has it"
    journal.expand([taken.step(DONE)], [queued()], {}, [])
    assert again(redis, lambda: journal.open([message], token=0)) == 0


def test_what_is_opened_is_taken_at_once_by_one(redis: Redis, journal: Journal) -> None:
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id=ENTRY)
    message, documents = Recorded(ENTRY, APP, 11, "general"), {ENTRY: b"{}"}
    ready, [taken] = journal.open_and_take([message], documents, token=0)
    assert (ready, taken.entry, taken.document) == (0, ENTRY, b"{}")
    assert again(redis, lambda: journal.open_and_take([message], documents, token=0)) == (0, []), "another call"


@pytest.mark.parametrize("channel", ["general", ""])
def test_what_was_opened_and_taken_is_given_again_where_the_answer_was_lost(
    redis: Redis, journal: Journal, scripts: Scripts, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, answers = scripts.open, list[Any]()

    def lost(**given: Any) -> Any:
        answers.extend((call(**given), again(redis, lambda: call(**given))))
        return answers[-1]

    monkeypatch.setattr(journal, "_scripts", SimpleNamespace(open=lost, expand=scripts.expand))
    for entry in ("1-1", "1-2"):
        redis.xadd(keys.EVENTS(), {"event": "{}"}, id=entry)
    messages = [Recorded("1-1", APP, 11, channel), Recorded("1-2", APP, 12, channel)]
    ready, both = journal.open_and_take(messages, {"1-1": b"{}", "1-2": b"{}"}, token=0)
    assert answers[0] == answers[1]
    assert (ready, [one.entry for one in both]) == (0, ["1-1", "1-2"])
    steps = [one.step(DONE) for one in both]
    assert journal.expand(steps[:1], [queued()], {}, []) == (set(), 0)
    assert journal.expand(steps, [], {}, []) == ({"1-1"}, 0), "it is done"
    assert journal.expand(steps[1:], [], {}, []) == (set(), 0)


def test_what_another_task_has_by_now_is_not_given_again(redis: Redis, journal: Journal, scripts: Scripts) -> None:
    given: dict[str, Any] = {"token": 0, "groups": [(f"@{APP}", 1)], "entries": [ENTRY], "states": [f"{APP}\n\n11\n"]}
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id=ENTRY)
    assert scripts.open(**given, turn="a-1", lease=0.01) == [0, [[ENTRY.encode(), b""]]]
    redis.delete(keys.TAKEN_AT_ONCE())  # with its time
    redis.zadd(keys.DUE(), {f"e:{ENTRY}": 1})
    assert journal.make_due_ready() == 1
    assert again(redis, lambda: scripts.open(**given, turn="a-1", lease=8.0)) == [1, []]
    assert len(journal.take_messages("urgent", 10)) == 1
    assert again(redis, lambda: scripts.open(**given, turn="a-1", lease=8.0)) == [0, []]


@runs("open_targeted")
def test_a_targeted_push_is_opened_once(redis: Redis, scripts: Scripts) -> None:
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id=ENTRY)
    pushes = [Push(ENTRY, APP, 11, "[7]", 2_000_000_000.0)]
    assert scripts.open_targeted(pushes=pushes) == 1
    assert redis.smembers(keys.SCHEDULED()) == {b"1-1"}
    assert again(redis, lambda: scripts.open_targeted(pushes=pushes)) == 0


@runs("take_messages")
def test_a_message_is_taken_by_one(redis: Redis, journal: Journal) -> None:
    assert taken_message(redis, journal).entry == ENTRY
    assert again(redis, lambda: journal.take_messages("urgent", 10)) == []


@runs("renew_messages")
def test_a_lease_of_messages_begins_anew(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    message = taken_message(redis, journal)
    records = [(message.entry, message.state, message.group, message.turn)]
    assert [scripts.renew_messages(lease=1_000, messages=records) for _ in range(2)] == [1, 1]
    ends = redis.zscore(keys.DUE(), f"g:{message.group}")
    assert ends is not None
    assert ends > redis.time()[0] + 900


@runs("give_back")
def test_messages_are_given_back_once(redis: Redis, journal: Journal) -> None:
    message = taken_message(redis, journal)
    journal.give_back("urgent", [message])
    assert journal.ready("e", "urgent") == 1
    again(redis, lambda: journal.give_back("urgent", [message]))


@runs("postpone")
def test_a_message_is_postponed_once(redis: Redis, journal: Journal) -> None:
    message = taken_message(redis, journal)
    assert journal.postpone(message) == 0
    assert redis.zscore(keys.DUE(), f"e:{ENTRY}") is not None
    assert again(redis, lambda: journal.postpone(message)) == 0


@runs("expand")
def test_a_step_is_taken_once(redis: Redis, journal: Journal) -> None:
    step = taken_message(redis, journal).step(DONE)
    counts, accounts = {APP: {"messages": 1}}, [b"{}"]
    assert journal.expand([step], [queued()], counts, accounts) == (set(), 0)
    assert (redis.hget(keys.OPEN(), ENTRY), redis.llen(keys.ACCOUNTS())) == (b"1", 1)
    assert again(redis, lambda: journal.expand([step], [queued()], counts, accounts)) == ({ENTRY}, 0)


def test_a_batch_is_taken_at_once_by_one(redis: Redis, journal: Journal) -> None:
    step = taken_message(redis, journal).step(DONE)
    given: list[Any] = [[step], [queued()], {}, [], (), (), (), ()]
    stale, freed, taken = journal.expand_and_take(*given)
    assert (stale, freed, taken and (taken.id, taken.badges)) == (set(), 0, ("b1", [1]))
    assert again(redis, lambda: journal.expand_and_take(*given)) == (set(), 0, taken), "its answer was lost"
    assert journal.take_batch("urgent") is None


def test_a_batch_that_was_not_leased_with_its_expansion_is_not_with_a_repeat(redis: Redis, journal: Journal) -> None:
    step = taken_message(redis, journal).step(DONE)
    given: list[Any] = [[step], [queued()], {}, [], (), (), (), ()]
    [_, _, first] = journal.expand_and_take(*given)
    redis.zadd(keys.DUE(), {"b:b1": 1})
    journal.make_due_ready()
    assert again(redis, lambda: journal.expand_and_take(*given)) == ({ENTRY}, 0, None), "its lease is over"
    taken = journal.take_batch("urgent")
    assert taken is not None and taken._replace(accepted=()) == first
    assert again(redis, lambda: journal.expand_and_take(*given)) == ({ENTRY}, 0, None), "another worker has it"


@runs("abandon")
def test_an_expansion_is_given_up_once(redis: Redis, journal: Journal) -> None:
    taken_message(redis, journal)
    assert journal.abandon(ENTRY) == 0
    assert not redis.xlen(keys.EVENTS())
    assert again(redis, lambda: journal.abandon(ENTRY)) == 0


@runs("clear")
def test_badges_are_reset_once(redis: Redis, journal: Journal) -> None:
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id=ENTRY)
    redis.hset(keys.BADGE(APP), "7", 3)
    cleared = [Cleared(ENTRY, APP, [7], place=11)]
    assert journal.clear_badges(cleared) == {ENTRY}
    assert not redis.exists(keys.BADGE(APP))
    assert again(redis, lambda: journal.clear_badges(cleared)) == {ENTRY}


@runs("unknown")
def test_an_event_is_unknown_that_has_no_entry_and_is_not_open_and_has_no_account(
    redis: Redis, journal: Journal
) -> None:
    opened(redis, journal)
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id="2-1")
    redis.hset(keys.OPEN(), "3-1", 1)
    ended = {f"{n}-1": id for n, id in enumerate(['a "quote"', "plain", "é"], 4)}
    journal.abandon(ENTRY)
    redis.rpush(keys.ACCOUNTS(), *(account(APP, "other", "page:0", {}) for _ in range(1500)))
    redis.rpush(keys.ACCOUNTS(), *(account(APP, id, "page:0", {}) for id in ended.values()))
    asked = {entry: beginning(APP, f"of {entry}") for entry in (ENTRY, "2-1", "3-1", "7-1", "8-1")}
    asked |= {entry: beginning(APP, id) for entry, id in ended.items()} | {"9-1": beginning(APP, "plai")}
    for _ in range(2):
        assert again(redis, lambda: journal.unknown(asked)) == {ENTRY, "7-1", "8-1", "9-1"}


@runs("drop")
def test_what_nobody_opened_leaves_its_stream_once(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    opened(redis, journal)
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id="2-1")
    assert scripts.drop(entries=[ENTRY, "2-1"]) == 1
    assert redis.xlen(keys.EVENTS()) == 1
    assert again(redis, lambda: scripts.drop(entries=[ENTRY, "2-1"])) == 1, "how many nobody had opened"


@runs("document")
def test_a_document_is_read(redis: Redis, journal: Journal) -> None:
    opened(redis, journal)
    assert [again(redis, lambda: journal.document(ENTRY)) for _ in range(2)] == [b"{}", b"{}"]


# Second looks.


def missed(redis: Redis, journal: Journal) -> list[Any]:
    """A message that han was not notified of is expanded. Returns what the step was given."""
    kept = Counted("general", Kept(1_000, "0f" * 8, called=True), 50.0, 60.0)
    what = [Missed(APP, "han", 11, kept, 5.0, {7: COUNT, 8: 4})]
    given: list[Any] = [[taken_message(redis, journal).step(DONE)], [], {}, [], [], what]
    assert journal.expand(*given) == (set(), 0)
    return given


def test_what_is_missed_counts_once(redis: Redis, journal: Journal) -> None:
    given = missed(redis, journal)
    assert redis.hget(keys.DIGEST(APP, "han"), "general") == b"1 1\n1000 0f0f0f0f0f0f0f0f 1"
    assert redis.hgetall(keys.BADGE(APP)) == {b"7": b"1", b"8": b"4"}
    assert redis.zscore(keys.DIGESTS(), f"{APP}\nhan") == 60
    assert redis.zscore(keys.SILENT_BADGES(), f"{APP}\nhan") == 5
    assert again(redis, lambda: journal.expand(*given)) == ({ENTRY}, 0)


@runs("tell_missed")
def test_of_what_is_missed_users_hear_once(redis: Redis, journal: Journal) -> None:
    missed(redis, journal)
    assert due_digests(untagged(redis), 59, 10) == []
    [digest], [badge] = due_digests(untagged(redis), 60, 10), due_badges(untagged(redis), 60, 10)
    later = [(APP, "han", digest.counted, "70.5", "61.0", "1")]
    assert journal.tell_missed(later, [], [], {}, []) == set()
    assert again(redis, lambda: journal.tell_missed(later, [], [], {}, [])) == set()
    [digest] = due_digests(untagged(redis), 71, 10)
    assert (digest.pending.end, digest.pending.looked) == (61.0, True)
    heard = [(APP, "han", digest.counted, "", "", "")]
    assert journal.tell_missed(heard, [badge], [], {}, [b"{}"]) == set()
    assert not redis.exists(keys.DIGEST(APP, "han"), keys.DIGESTS(), keys.SILENT_BADGES())
    assert again(redis, lambda: journal.tell_missed(heard, [badge], [], {}, [b"{}"])) == {f"{APP}\nhan"}


def delayed(redis: Redis, journal: Journal) -> None:
    """The entry's expansion is done, and a second look at it is left."""
    step = taken_message(redis, journal).step(DONE)
    journal.expand([step], [], {}, [], [QueuedLook(ENTRY, "0.0", APP, 11, 30.0, SecondLook("online", ["han", "r2"]))])
    assert (redis.hget(keys.OPEN(), ENTRY), redis.zcard(keys.SECOND_LOOKS_DUE())) == (b"1", 1)


def second_look(redis: Redis, journal: Journal) -> Opened:
    delayed(redis, journal)
    redis.zadd(keys.SECOND_LOOKS_DUE(), {f"0.0/{ENTRY}": 1})
    assert journal.make_due_ready() == 1
    assert (journal.ready("e", "urgent"), journal.load()) == (1, {APP: (1, 0)})
    [look] = journal.take_messages("urgent", 10)
    return look


def test_a_second_look_waits_for_its_time(redis: Redis, journal: Journal) -> None:
    delayed(redis, journal)
    assert again(redis, journal.make_due_ready) == 0
    assert again(redis, lambda: journal.take_messages("urgent", 10)) == []
    assert redis.xlen(keys.EVENTS()) == 1, "its entry stays on the stream"


def test_a_second_look_is_taken_by_one(redis: Redis, journal: Journal) -> None:
    look = second_look(redis, journal)
    assert (look.entry, look.look, look.app, look.place, look.document) == (ENTRY, "0.0", APP, 11, b"{}")
    assert again(redis, lambda: journal.take_messages("urgent", 10)) == []
    assert again(redis, lambda: journal.make_due_ready()) == 0


def test_a_second_look_ends_once_and_with_it_its_entry(redis: Redis, journal: Journal) -> None:
    step = second_look(redis, journal).step(DONE)
    assert journal.expand([step], [], {}, [b"{}"]) == (set(), 0)
    assert not redis.exists(keys.SECOND_LOOKS(), keys.SECOND_LOOKS_DUE(), keys.OPEN())
    assert not redis.xlen(keys.EVENTS())
    assert again(redis, lambda: journal.expand([step], [], {}, [b"{}"])) == ({f"0.0/{ENTRY}"}, 0)


def test_a_second_look_of_a_dead_worker_is_ready_again_when_its_lease_is_over(redis: Redis, journal: Journal) -> None:
    look = second_look(redis, journal)
    journal.renew_messages([look])
    assert again(redis, journal.make_due_ready) == 0
    redis.zadd(keys.SECOND_LOOKS_DUE(), {look.id: 1})
    assert journal.make_due_ready() == 1
    assert journal.take_messages("urgent", 10) == [look]


def test_a_second_look_is_given_back_and_given_up_once(redis: Redis, journal: Journal) -> None:
    look = second_look(redis, journal)
    journal.give_back("urgent", [look])
    assert journal.ready("e", "urgent") == 1
    again(redis, lambda: journal.give_back("urgent", [look]))
    [look] = journal.take_messages("urgent", 10)
    assert journal.abandon(look.id) == 0
    assert not redis.exists(keys.SECOND_LOOKS(), keys.SECOND_LOOKS_DUE(), keys.OPEN())
    assert again(redis, lambda: journal.abandon(look.id)) == 0


def test_second_looks_and_messages_each_get_their_half(redis: Redis, journal: Journal) -> None:
    step = taken_message(redis, journal).step(DONE)
    looks = [QueuedLook(ENTRY, f"0.{n}", APP, 11, 0.0, SecondLook("online", ["han"])) for n in range(6)]
    journal.expand([step], [], {}, [], looks)
    assert journal.make_due_ready() == 6
    for n in range(2):
        opened(redis, journal, f"2-{n}")
    assert [bool(one.look) for one in journal.take_messages("urgent", 4)] == [True, True, False, False]
    assert [bool(one.look) for one in journal.take_messages("urgent", 4)] == [True] * 4


# Reminders.


@runs("remind")
def test_a_reminder_is_sent_once(redis: Redis, journal: Journal) -> None:
    expanded(redis, journal)
    name = "demo\ngeneral\nhan"
    journal.finish(taken(journal).id, [], {}, [], pushed=[Pushed(name, 0, 7, "m1", "c1", "Leia")])
    [one] = reminders.due(untagged(redis), 2_000_000_000.0, 10)
    assert (one.name, one.times, one.messages) == (name, 0, [NotifiedOf(7, "m1", "c1", "Leia")])
    sent = (one, Next(one.messages, due=2_000_000_001.5, times=1), 0)
    assert journal.remind([sent], [queued(id="b2")], {APP: {"reminders": 1}}, [b"{}"]) == set()
    assert again(redis, lambda: journal.remind([sent], [queued(id="b2")], {APP: {"reminders": 1}}, [b"{}"])) == {name}
    [one] = reminders.due(untagged(redis), 2_000_000_002.0, 10)
    assert (one.due, one.times) == (2_000_000_001.5, 1)
    ended = (one, Next(reason="read"), 7)
    assert journal.remind([ended], [], {}, []) == set()
    assert not redis.exists(keys.REMINDERS(), keys.REMINDER(name), keys.REMINDERS_SENT())
    assert again(redis, lambda: journal.remind([ended], [], {}, [])) == {name}


# The journal's batches.


@runs("take_batch")
def test_a_batch_is_taken_by_one_and_counts_once(redis: Redis, journal: Journal) -> None:
    expanded(redis, journal)
    assert taken(journal).badges == [1]
    assert again(redis, lambda: journal.take_batch("urgent")) is None


@runs("return_batch")
def test_a_batch_is_handed_back_once(redis: Redis, journal: Journal) -> None:
    expanded(redis, journal)
    batch = taken(journal)
    journal.return_batch(batch.id)
    again(redis, lambda: journal.return_batch(batch.id))
    assert taken(journal).badges == [1], "it was counted already"


@runs("mark")
def test_outcomes_are_remembered(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    expanded(redis, journal)
    batch = taken(journal)
    assert [scripts.mark(id=batch.id, outcomes=b"[1]", lease=8) for _ in range(2)] == [1, 1]
    assert redis.hget(keys.BATCH(batch.id), "outcomes") == b"[1]"
    assert scripts.mark(id="none", outcomes=b"[1]", lease=8) == 0


@runs("uncount")
def test_a_job_gives_its_number_back_once(redis: Redis, journal: Journal) -> None:
    sending = Sending(ENTRY, "e1", '{"aps":{', "}}", 2_000_000_000, "c1", channel="general", place=11)
    jobs = [Job(0, 7, "han", "aa", 0), Job(0, 7, "han", "aa", 0)]
    expanded(redis, journal, QueuedBatch("b1", Batch(APP, 1, "urgent", [sending], jobs)))
    assert taken(journal).badges == [1, 2]
    assert journal.uncount("b1", [0])[1] == 1
    assert redis.hgetall(keys.BADGE(APP)) == {b"7": b"1"}
    assert again(redis, lambda: journal.uncount("b1", [0]))[1] == 1


@runs("read_elsewhere")
def test_a_reading_has_its_turn_once(redis: Redis) -> None:
    redis.zadd(keys.SHOWN(APP), {"general\nhan": 100})
    shown = Shown(untagged(redis))
    reading = Reading(APP, "han", "general\nhan", ENTRY, 100, "3", [7])
    assert shown.read([reading]) == [Turn(True, 0.0, 100, frozenset({7}))]
    assert redis.hget(keys.BADGE(APP), "7") == b"3"
    assert again(redis, lambda: shown.read([reading])) == [Turn(True, 0.0, 100, frozenset({7}))]


@runs("ready_batches")
def test_batches_that_were_put_off_are_made_ready_once(redis: Redis, journal: Journal) -> None:
    expanded(redis, journal)
    journal.finish(taken(journal).id, [queued(id="b2")._replace(delay=30.0)], {}, [])
    assert journal.ready_batches(["b2", "nobody"]) == Freed(0, 0)
    redis.zincrby(keys.DUE(), -31, "b:b2")
    assert journal.ready_batches(["b2"]) == Freed(1, 0)
    assert again(redis, lambda: journal.ready_batches(["b2"])) == Freed(0, 0)
    assert taken(journal).id == "b2"


@runs("record")
def test_accepted_jobs_are_remembered(redis: Redis, journal: Journal) -> None:
    expanded(redis, journal)
    batch = taken(journal)
    for _ in range(2):
        journal.record([(batch.id, [0])])
    journal.return_batch(batch.id)
    assert set(taken(journal).accepted) == {0}


@runs("finish")
def test_a_batch_is_finished_once(redis: Redis, journal: Journal) -> None:
    expanded(redis, journal)
    batch = taken(journal)
    later = [queued(id="b2")._replace(delay=30.0)]
    journal.finish(batch.id, later, {APP: {"pushed": 1}}, [b"{}"])
    assert (redis.hget(keys.OPEN(), ENTRY), journal.counts(APP)) == (b"1", {"pushed": 1})
    again(redis, lambda: journal.finish(batch.id, later, {APP: {"pushed": 1}}, [b"{}"]))


@runs("fail")
def test_failed_tries_are_counted(redis: Redis, journal: Journal) -> None:
    expanded(redis, journal)
    assert [journal.failed("b1"), journal.failed("b1")] == [1, 2]
    assert again(redis, lambda: journal.failed("none")) == 0


@runs("due")
def test_what_is_due_is_made_ready_once(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    expanded(redis, journal, queued()._replace(delay=30.0))
    redis.zadd(keys.DUE(), {"b:b1": 1})
    moved, examined, gap = scripts.due(limit=10, patience=8, gap="")
    assert (moved, examined) == (1, 1)
    assert again(redis, lambda: scripts.due(limit=10, patience=8, gap=gap)) == [0, 0, gap]


@runs("ready")
@runs("load")
def test_what_waits_is_counted(redis: Redis, journal: Journal) -> None:
    expanded(redis, journal)
    for _ in range(2):
        assert again(redis, lambda: (journal.ready("b", "urgent"), journal.load())) == (1, {APP: (0, 1)})
        assert journal.ready_by_lane() == {"urgent": (0, 1), "bulk": (0, 0)}


@runs("watch")
def test_one_ticks(journal: Journal) -> None:
    assert [journal.unwatched(), journal.unwatched()] == [True, False]


@runs("forget_accounts")
def test_accounts_are_forgotten_once(redis: Redis, journal: Journal) -> None:
    redis.rpush(keys.ACCOUNTS(), "a", "b", "c")
    journal.forget_accounts([b"a", b"b"])
    assert redis.lrange(keys.ACCOUNTS(), 0, -1) == [b"c"]
    again(redis, lambda: journal.forget_accounts([b"a", b"b"]))


# Providers and devices.


@runs("answers")
def test_answers_are_counted(redis: Redis) -> None:
    breaker = Breaker(untagged(redis))
    found = [breaker.record(1, answered=2, refused=[7], failed=1, alive=True) for _ in range(2)]
    assert [(one.answered, one.refused, one.failed) for one in found] == [(2, 1, 1), (4, 2, 2)]


@runs("first_refusals")
def test_a_refusal_is_noted_once(redis: Redis) -> None:
    breaker = Breaker(untagged(redis))
    assert breaker.first_refusals(1, [(7, 5)], credential="k") == [FirstRefusal(0.0, proven=False)]
    redis.zincrby(keys.FIRST_REFUSALS(1), -10, "7/5")
    breaker.record(1, answered=1, ago=20.0, credential="k")
    [(age, proven, worked)] = breaker.first_refusals(1, [(7, 5)], credential="k")
    assert 9.0 < age < 1000.0
    assert (proven, worked) == (False, True)
    breaker.record(1, answered=1, ago=0.0, credential="another")
    [(_, proven, worked)] = breaker.first_refusals(1, [(7, 5)], credential="k")
    assert (proven, worked) == (True, False)
    breaker.accepted(1, {(7, 5)})
    assert breaker.first_refusals(1, [(7, 5)], ago=0.0) == [FirstRefusal(0.0, proven=False, worked=True)]


@runs("resume")
def test_a_provider_is_resumed_once(redis: Redis) -> None:
    breaker = Breaker(untagged(redis))
    breaker.stop(1, "Shutdown", 1.0)
    assert breaker.resume(1)
    assert not again(redis, lambda: breaker.resume(1))


@runs("look_again")
def test_a_way_that_is_stopped_is_looked_at_again_at_once(redis: Redis, journal: Journal) -> None:
    breaker = Breaker(untagged(redis))
    breaker.stop(1, "silent", 1.0)
    breaker.look_again(1, 1, probe=True)
    expanded(redis, journal, queued(), queued(id="b2", device=8), queued(id="b3", device=9))
    looks = [journal.take_batch("urgent") for _ in range(3)]
    assert [one and one.look and one.look.probe for one in looks] == [True, False, None]
    breaker.look_again(1, 1, probe=False)
    assert again(redis, lambda: breaker.look_again(1, 1, probe=False)) is None
    third = journal.take_batch("urgent")
    assert third and third.look and not third.look.probe, "a probe is on its way"
    breaker.look_again(1, 1, probe=True)
    assert not redis.exists(keys.PROBE(1), keys.LOOKED(1))


@runs("over_quota")
def test_a_way_is_over_its_quota_and_one_refusal_counts(redis: Redis) -> None:
    limiter = Limiter(untagged(redis))
    for _ in range(2):
        assert limiter.over_quota("1@push.example", 30.0, "status_429", jitter=0.5) > 29
    assert redis.hget(keys.QUOTA("1@push.example"), "row") == b"1"
    assert limiter.quotas([1, "1@push.example"]).keys() == {"1@push.example"}


@runs("note_origins")
def test_origins_are_noted_and_those_beyond_the_bound_share_a_way(redis: Redis) -> None:
    origins = Origins(untagged(redis))
    assert origins.note(1, ["a.example"]) == {"a.example": "a.example"}
    redis.zadd(keys.ORIGINS(1), {f"h{n}.example": redis.time()[0] for n in range(MOST_ORIGINS - 1)})
    given = ["a.example", "one.example", "two.example"]
    for _ in range(2):
        assert list(origins.note(1, given).values()) == ["a.example", OTHER, OTHER]
    assert f"1@{OTHER}" in origins.ways([1])[1]


@runs("defer")
def test_a_retirement_is_deferred_once(redis: Redis) -> None:
    deferred = DeferredDevices(untagged(redis))
    deferred.add(1, [(7, 5, "Unregistered")], delay=5)
    assert deferred.waiting()
    again(redis, lambda: deferred.add(1, [(7, 5, "Unregistered")], delay=60))


@runs("deferred_due")
def test_deferred_retirements_are_due_until_they_are_decided(redis: Redis) -> None:
    deferred = DeferredDevices(untagged(redis))
    deferred.add(1, [(7, 5, "Unregistered")], delay=0)
    found = [again(redis, lambda: deferred.due(delay=5)) for _ in range(2)]
    assert found == [{1: [(7, 5, "Unregistered")]}] * 2


@runs("reserve")
def test_times_are_reserved_each_time(redis: Redis) -> None:
    limiter, wanted = Limiter(untagged(redis)), [Wanted("app:demo", Rate(1.0, 1.0), [(1, 60.0)], ONLY)]
    [first], [second] = limiter.reserve(wanted), limiter.reserve(wanted)
    assert first.runs[0].ahead == 0
    assert second.runs[0].ahead > 0.5


@runs("cool_down")
@runs("cooldowns")
def test_a_device_cools_down_and_one_refusal_counts(redis: Redis) -> None:
    limiter = Limiter(untagged(redis))
    for _ in range(2):
        assert limiter.cool_down(1, {7: 30.0}, jitter=0.5)[7] > 29
    assert redis.hget(keys.COOLDOWN_REFUSALS(1), "7") == b"1"
    assert again(redis, lambda: limiter.cooldowns(1, [7, 8])).keys() == {7}


@runs("count_bursts")
def test_a_page_of_a_message_counts_once(redis: Redis, scripts: Scripts) -> None:
    windows = [
        [keys.BURST(APP, "general", n) for n in (2, 1)]
        + [keys.SOUNDS(APP, of, n) for of in ("general", "") for n in (2, 1)]
    ]
    users = [("han", 1, "plain"), ("leia", 1, "called")]
    given = {"windows": windows, "now": 1_000, "bursts": [(60, 5, 0, 9_000, 9_000, "\npage", "1-0", 2)], "users": users}
    counted = [[[1, b"0", 1], [1, b"0", 1]]]
    assert scripts.count_bursts(**given) == counted
    assert again(redis, lambda: scripts.count_bursts(**given)) == counted
    folded = given | {"bursts": [(60, 0, 10_000, 9_000, 9_000, "\nlater", "2-0", 2)]}
    waiting = [[[2, b"11000", 0], [2, b"11000", 0]]]
    assert scripts.count_bursts(**folded) == waiting
    assert again(redis, lambda: scripts.count_bursts(**folded)) == waiting


@runs("count_days")
def test_a_push_of_a_day_counts_once(redis: Redis, scripts: Scripts) -> None:
    days = [keys.PUSHES_OF_DAY(APP, "2026-11-21")] * 2
    given = {"days": days, "seconds": 60, "pages": [(1, "page", 2)], "users": ["han", "leia"]}
    assert scripts.count_days(**given) == [[1, 1]]
    assert again(redis, lambda: scripts.count_days(**given)) == [[1, 1]]
    later = given | {"pages": [(1, "later", 2)]}
    assert again(redis, lambda: scripts.count_days(**later)) == [[0, 0]]


@runs("show_folds")
def test_the_newest_fold_is_shown(redis: Redis, scripts: Scripts) -> None:
    channels = [keys.FOLDS(APP, "general")] * 2
    given = {"channels": channels, "seconds": 60, "looks": [("2", 1), ("1", 2)], "users": ["han", "han", "leia"]}
    assert scripts.show_folds(**given) == [[1], [0, 1]]
    assert again(redis, lambda: scripts.show_folds(**given)) == [[1], [0, 1]]


@runs("lead")
def test_a_leader_leads_until_a_newer_one_does(redis: Redis, scripts: Scripts) -> None:
    assert scripts.lead(token=2) == 1
    assert again(redis, lambda: (scripts.lead(token=2), scripts.lead(token=1))) == (1, 0)


@runs("walk")
def test_events_of_another_app_are_moved_once(redis: Redis, scripts: Scripts) -> None:
    redis.sadd(keys.APPS(), APP)
    document = '{"v": 1, "type": "message.new", "id": "e1", "app": "demo"}'
    redis.xadd(keys.EVENTS(), {"event": document}, id=ENTRY)
    given = {"token": 1, "after": "0-0", "head": "", "entries": 10, "octets": 10_000, "longest": 1_000}
    assert scripts.walk(**given) == [b"1-1", 0, [b"demo", 1], []]
    assert again(redis, lambda: scripts.walk(**given)) == [b"0-0", 0, [], []]


@runs("move")
def test_an_entry_is_moved_once(redis: Redis, scripts: Scripts) -> None:
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id=ENTRY)
    assert scripts.move(token=1, entries=[(ENTRY, APP)]) == [1]
    assert redis.xlen(keys.APP_EVENTS(APP)) == 1
    assert again(redis, lambda: scripts.move(token=1, entries=[(ENTRY, APP)])) == [0]


@runs("read_stream")
@runs("figures")
@runs("look")
def test_streams_are_read(redis: Redis) -> None:
    streams = Streams(untagged(redis))
    redis.xadd(keys.EVENTS(), {"event": "{}"}, id=ENTRY)
    for _ in range(2):
        found = again(redis, lambda: streams.read(keys.EVENTS(), "0-0", entries=10, octets=1_000))
        assert [entry.document for entry in found.entries] == [b"{}"]
        figures = again(redis, lambda: streams.figures({keys.EVENTS(): "0-0"}))
        assert figures[keys.EVENTS()].length == 1
        looked = again(redis, lambda: streams.look({keys.EVENTS(): "0-0"}))
        assert looked == (streams.lineage(), {}, figures)


@runs("trimmed")
def test_lost_entries_are_counted(redis: Redis, scripts: Scripts) -> None:
    for _ in range(2):
        assert scripts.trimmed(stream=keys.EVENTS(), entries=3) == 1
    assert trimmed(untagged(redis))[keys.EVENTS()][0] == 6


@runs("finished")
def test_up_to_where_all_is_done_only_grows(redis: Redis) -> None:
    streams = Streams(untagged(redis))
    assert streams.finished(keys.EVENTS()) == "0-0"
    for last, known in (("5-2", "5-2"), ("5-2", "5-2"), ("5-1", "5-2"), ("10-0", "10-0")):
        streams.note_finished(keys.EVENTS(), last)
        assert streams.finished(keys.EVENTS()) == known


@runs("pressure")
def test_pressure_is_written_as_a_whole(redis: Redis) -> None:
    streams = Streams(untagged(redis))
    for _ in range(2):
        streams.tell_pressure({APP: 5})
        assert redis.hget(keys.PRESSURE(), APP) == b"5"
    streams.tell_pressure({})
    assert redis.hget(keys.PRESSURE(), APP) is None


@runs("weigh")
def test_what_is_in_batches_is_seen_without_a_change(redis: Redis, journal: Journal, scripts: Scripts) -> None:
    expanded(redis, journal, queued())
    [found] = scripts.weigh(batches=["b1", "of nobody"])
    assert found[:2] == [b"b1", APP.encode()]
    assert found[3:7] == [b"1", b"", ENTRY.encode(), 1]
    assert again(redis, lambda: scripts.weigh(batches=["b1", "of nobody"])) == [found]


@runs("heads")
def test_lists_are_seen_without_a_change(redis: Redis, scripts: Scripts) -> None:
    redis.rpush(keys.READY("urgent"), "a", "b")
    lists = [keys.READY("urgent"), keys.READY("bulk")]
    assert again(redis, lambda: scripts.heads(lists=lists)) == [[2, b"a"], [0, b""]]


@runs("lines")
def test_lines_are_seen_without_a_change(redis: Redis, journal: Journal, scripts: Scripts) -> None:
    expanded(redis, journal, queued())
    lines = [("urgent", "1"), ("bulk", "1"), ("urgent", "1@host")]
    assert again(redis, lambda: scripts.lines(most=1, lines=lines)) == [[1, 0, [b"b1"]], [0, 0, []], [0, 0, []]]
    Breaker(untagged(redis)).stop(1, "a new key on Monday", 0.0, manual=True)
    assert [held for _, held, _ in again(redis, lambda: scripts.lines(most=1, lines=lines))] == [1, 1, 1]


@runs("octets")
def test_sizes_of_documents_are_seen_without_a_change(redis: Redis, scripts: Scripts) -> None:
    for document in ("{}", "{ }", "{  }"):
        redis.xadd(keys.EVENTS(), {"event": document})
    ends = "18446744073709551615-18446744073709551615"
    streams = [(keys.EVENTS(), "0-0"), ("carillon:events:none", "0-0"), (keys.EVENTS(), ends)]
    assert again(redis, lambda: scripts.octets(most=2, streams=streams)) == [[2, 5], [0, 0], [0, 0]]


@runs("outbox")
def test_rows_of_an_outbox_are_moved_once(redis: Redis, redis_url: str) -> None:
    relay = Fence(redis_url, "source", max_backlog=100)
    relay.claim()
    assert relay.move([("1", b"{}"), ("2", b"{}")]) == ([0, 1], None)
    assert redis.xlen(keys.EVENTS()) == 2
    assert again(redis, lambda: relay.move([("1", b"{}"), ("2", b"{}")])) == ([0, 1], None)
    relay.close()


@runs("while_full")
def test_a_small_command_runs_while_redis_is_full(redis: Redis, scripts: Scripts) -> None:
    redis.config_set("maxmemory", 1)
    try:
        for _ in range(2):
            scripts.while_full(command="HSET", key=keys.CONDITIONS(), arguments=["key", "value"])
        with pytest.raises(Exception, match="maxmemory"):
            redis.hset(keys.CONDITIONS(), "other", "value")
    finally:
        redis.config_set("maxmemory", 0)
    assert redis.hgetall(keys.CONDITIONS()) == {b"key": b"value"}


def test_names_that_a_script_has_not_are_refused(scripts: Scripts) -> None:
    with pytest.raises(TypeError, match=r"lead\.lua takes"):
        scripts.lead(tokens=1)
    with pytest.raises(TypeError, match="a record of `entries` is id, app"):
        scripts.move(token=1, entries=[("1-1",)])


# What a spread app's batches of other partitions do at its home.


@runs("number_batch")
def test_a_batch_of_another_partition_counts_once(redis: Redis, scripts: Scripts) -> None:
    home, batch = Home(untagged(redis), 3), queued().batch
    assert home.number("b1", batch, again=False, lease=60) == ([1], frozenset())
    before = contents(redis)
    assert home.number("b1", batch, again=False, lease=60) == ([1], frozenset())
    answer = keys.NUMBERED("b1~3")
    assert {key: value for key, value in contents(redis).items() if key not in (answer, keys.BATCH("b1~3"))} == {
        key: value for key, value in before.items() if key not in (answer, keys.BATCH("b1~3"))
    }
    assert home.number("b2", batch, again=False, lease=60) == ([2], {7})


@runs("renew_claims")
def test_a_device_that_has_accepted_is_free(redis: Redis, scripts: Scripts) -> None:
    home = Home(untagged(redis), 3)
    home.number("b1", queued().batch, again=False, lease=60)
    assert home.renew([("b1", [7])], 60) == Freed(0, 0)
    again(redis, lambda: home.renew([("b1", [7])], 60))
    assert home.number("b2", queued().batch, again=False, lease=60).blocked == frozenset()


@runs("release_claims")
def test_a_batch_of_another_partition_leaves_nothing(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    home = Home(untagged(redis), 3)
    home.number("b1", queued().batch, again=False, lease=60)
    expanded(redis, journal, queued(id="b5"))
    assert journal.take_batch("urgent") is None
    assert home.release("b1", done=30) == Freed(1, 0)
    again(redis, lambda: home.release("b1", done=30))
    assert taken(journal).badges == [2]
    assert redis.keys("*~3") == [keys.NUMBERED("b1~3").encode()], "it is known for a moment that it was counted"
    assert home.number("b1", queued().batch, again=False, lease=60).badges == [2]


@runs("note_numbered")
def test_a_batch_knows_that_it_was_counted_elsewhere(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    expanded(redis, journal)
    assert not taken(journal).numbered
    journal.note_numbered("b1")
    again(redis, lambda: journal.note_numbered("b1"))
    journal.return_batch("b1")
    assert taken(journal).numbered
    assert scripts.note_numbered(id="gone") == 0


@runs("await_home")
def test_a_batch_that_waits_for_home_keeps_its_devices(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    expanded(redis, journal)
    taken(journal)
    assert [scripts.await_home(id="b1", delay=10.0) for _ in range(2)] == [1, 1]
    assert redis.hget(keys.BATCH("b1"), "leased") is None
    assert redis.hget(keys.SENDING(1), "7") == b"b1"
    assert journal.take_batch("urgent") is None
    redis.zadd(keys.DUE(), {"b:b1": 1})
    journal.make_due_ready()
    assert taken(journal).id == "b1"
    assert scripts.await_home(id="gone", delay=1.0) == 0


@runs("carry_home")
def test_a_note_is_taken_once(redis: Redis, scripts: Scripts) -> None:
    left = {
        "missed": [(APP, "han", "general", "line", 0, 2_000_000_000.0, 2_000_000_000.0)],
        "badges": [(APP, 7, 11, "")],
        "silent": [(APP, "han", 2_000_000_000.0)],
    }
    assert scripts.carry_home(source=3, number=5, **left) == 1
    assert redis.hgetall(keys.BADGE(APP)) == {b"7": b"1"}
    assert again(redis, lambda: scripts.carry_home(source=3, number=5, **left)) == 0
    assert again(redis, lambda: scripts.carry_home(source=3, number=4, **left)) == 0
    assert scripts.carry_home(source=2, number=4, **left) == 1


@runs("unshow")
def test_what_was_read_is_shown_no_more_but_what_is_newer(redis: Redis, scripts: Scripts) -> None:
    redis.zadd(keys.SHOWN(APP), {"general\nhan": 5, "general\nleia": 9})
    assert [scripts.unshow(app=APP, shown=f"general\n{user}", till=7) for user in ("han", "leia")] == [1, 0]
    assert again(redis, lambda: scripts.unshow(app=APP, shown="general\nhan", till=7)) == 0
