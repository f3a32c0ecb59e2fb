"""What was accepted is written once, and again where Redis did not take it."""

import itertools
import threading
from queue import Queue
from types import SimpleNamespace

import pytest

from tests.processes import PATIENCE
from tests.unit.pipeline.runs import NOW, fake
from worker.core.batch import Batch, Freed
from worker.core.model import ACCEPTED, Answer, Response
from worker.pipeline.recorder import RENEW_SECONDS, Claim, Recorder
from worker.state import redis
from worker.state.journal import QueuedBatch
from worker.state.parts import Parts


def test_what_redis_did_not_take_is_written_once_it_is_back():
    seen = [ACCEPTED, None, Answer(400, "BadTopic"), None]
    away = True

    def record(_accepted):
        if away:
            raise redis.Error
        return Freed(0, 0)

    journal = fake(record=record)
    recorder = Recorder(journal, lambda: NOW)
    recorder._thread = threading.current_thread()  # one of its own would write as well
    with recorder.watch("b1", [4, 5, 6, 7], seen, NOW):
        with pytest.raises(redis.Error):
            recorder.record()
        seen[3] = ACCEPTED
        away = False
        recorder.record()
        recorder.record()
    assert [made for _, (made,) in journal.made] == [[("b1", [4])], [("b1", [4, 7])]]


def test_a_batch_of_which_nothing_is_heard_keeps_its_lease():
    now = NOW
    journal = fake(record=Freed(1, 0))
    recorder = Recorder(journal, lambda: now)
    recorder._thread = threading.current_thread()
    woken = []
    recorder.wake = lambda lane, batches: woken.append((lane, batches))
    with recorder.watch("b1", [0], [None], NOW) as flight:
        recorder.record()
        assert journal.made == []
        now += RENEW_SECONDS
        recorder.record()
    assert journal.made == [("record", ([("b1", [])],))]
    assert flight.renewed_at == now
    assert woken == [("urgent", 1), ("bulk", 0)]


def test_who_takes_its_wake_up_back_meanwhile_does_not_disturb_what_is_recorded():
    recorder, woken = Recorder(fake(record=Freed(1, 1)), lambda: NOW), []
    recorder._thread = threading.current_thread()

    def wake(lane, batches):
        woken.append((lane, batches))
        recorder.wake = None

    recorder.wake = wake
    with recorder.watch("b1", [0], [ACCEPTED], NOW):
        recorder.record()
    assert woken == [("urgent", 1), ("bulk", 1)]


def test_a_thread_that_hangs_loses_the_lease_of_its_batch_and_what_was_accepted_is_recorded(caplog):
    seen: list[Response | None] = [None, None]
    now, seconds = NOW, 10
    journal = fake(record=Freed(0, 0), renew=Freed(0, 0))
    recorder = Recorder(journal, lambda: now)
    recorder._thread = threading.current_thread()

    def pass_by(steps):
        nonlocal now
        for _ in range(steps):
            now += RENEW_SECONDS
            recorder.record()

    about = {"app": "demo", "provider": "apns"}
    with recorder.watch("b1", [0, 1], seen, NOW, Claim(journal, [1, 2]), seconds, about) as flight:
        pass_by(seconds - 1)
        seen[0] = Answer(400, "BadTopic")
        pass_by(seconds + 10)
        renewed = 2 * seconds - 1
        assert flight.renewed_at == NOW + renewed * RENEW_SECONDS
        assert journal.names().count("record") == renewed
        assert renewed - 1 <= journal.names().count("renew") <= renewed
        seen[1] = ACCEPTED
        pass_by(10)
    assert journal.names().count("record") == renewed + 1
    assert journal.made[-1] == ("record", ([("b1", [1])],))
    [line] = [line for line in caplog.records if line.levelname == "ERROR"]
    assert (line.app, line.provider, line.batch) == ("demo", "apns", "b1")


def test_only_what_is_in_flight_for_longer_than_a_pause_is_written(monkeypatch: pytest.MonkeyPatch):
    begun, over = Queue[None](), Queue[None]()

    def sleep(_seconds: float) -> None:
        begun.put(None)
        over.get(timeout=PATIENCE)

    def pass_by() -> None:
        over.put(None)
        begun.get(timeout=PATIENCE)

    monkeypatch.setattr("worker.pipeline.recorder.time", SimpleNamespace(sleep=sleep))
    journal = fake(record=Freed(0, 0))
    recorder = Recorder(journal, lambda: NOW)
    with recorder.watch("b1", [0], [ACCEPTED], NOW):
        begun.get(timeout=PATIENCE)
        with recorder.watch("b2", [0], [ACCEPTED], NOW):
            pass
        with recorder.watch("b3", [0], [ACCEPTED], NOW):
            pass_by()
            assert journal.made == [("record", ([("b1", [0])],))]
            pass_by()
            assert journal.made[1:] == [("record", ([("b3", [0])],))]
    # It is awake for the next batch, for a moment.
    pass_by()
    for _ in range(100):
        over.put(None)
    assert len(journal.made) == 2


def test_where_no_thread_could_begin_the_next_batch_begins_one(monkeypatch):
    recorder = Recorder(fake(), lambda: NOW)

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            recorder.watch("b1", [0], [None], NOW).__enter__()
    assert recorder.in_flight == 0
    with recorder.watch("b2", [0], [None], NOW):
        assert recorder._thread is not None
        assert recorder._thread.is_alive()


def test_what_is_put_off_for_a_moment_is_made_ready_when_it_is_time():
    now = NOW
    journal = fake(ready_batches=Freed(2, 0))
    recorder, woken = Recorder(journal, lambda: now), []
    recorder._thread = threading.current_thread()
    batches = [
        QueuedBatch(f"b{n}", Batch("demo", 1, "urgent", [], []), delay) for n, delay in enumerate((0.8, 0.0, 0.5, 60.0))
    ]
    recorder.put_off(batches)
    assert recorder.make_ready() > 1.0, "nobody would be woken: it is the tick's"
    recorder.wake = lambda lane, n: woken.append((lane, n))
    recorder.put_off(batches)
    assert recorder.make_ready() == pytest.approx(0.5)
    now += 0.6
    assert recorder.make_ready() == pytest.approx(0.2)
    now += 0.6
    recorder.make_ready()
    assert journal.made == [("ready_batches", (["b2"],)), ("ready_batches", (["b0"],))]
    assert woken[0] == ("urgent", 2)


def test_one_thread_writes_for_the_recorders_of_one_server():
    threads, clock = Queue[threading.Thread](), itertools.count(NOW, RENEW_SECONDS)

    def record(_accepted: object) -> Freed:
        threads.put(threading.current_thread())
        return Freed(0, 0)

    first = Recorder(fake(record=record), lambda: next(clock))
    other = Recorder(fake(record=record), lambda: next(clock), first)
    with other.watch("b1", [0], [None], NOW):
        thread = threads.get(timeout=PATIENCE)
        with first.watch("b2", [0], [None], NOW):
            assert {threads.get(timeout=PATIENCE) for _ in range(4)} == {thread}
    assert (first._thread, other._thread) == (thread, None)


def test_what_waits_for_threads_that_hang_is_left_to_others_while_their_batches_are_in_flight():
    recorder, woken, left = Recorder(fake(), lambda: NOW), Queue[tuple[str, int]](), [True, False]
    recorder.wake = lambda lane, n: woken.put((lane, n))
    recorder.is_left = lambda: left.pop(0) if left else False
    with recorder.watch("b1", [0], [None], NOW):
        assert woken.get(timeout=PATIENCE) == ("urgent", 1)
    assert woken.get(timeout=PATIENCE) == ("bulk", 0)
    assert woken.empty()


def test_a_bug_in_what_wakes_workers_does_not_end_the_thread_that_keeps_leases(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.pipeline.recorder.AWAY", 0.0)
    again, woken, clock = threading.Event(), [], itertools.count(NOW, RENEW_SECONDS)

    def wake(_lane: object, batches: int) -> None:
        woken.append(batches)
        if len(woken) > 1:
            again.set()
        raise RuntimeError

    recorder = Recorder(fake(record=Freed(1, 0)), lambda: next(clock))
    recorder.wake = wake
    with recorder.watch("b1", [0], [None], NOW):
        assert again.wait(PATIENCE)


def test_devices_at_home_are_kept_while_a_batch_is_in_flight_but_those_that_have_accepted():
    clock, home, journal = [NOW], fake(renew=Freed(0, 0)), fake(record=Freed(0, 0))
    journal.lease = 8.0
    recorder = Recorder(journal, lambda: clock[0])
    recorder._thread = threading.current_thread()
    recorder._homes = Parts(PATIENCE)
    seen: list[Response | None] = [None, None, None]
    with recorder.watch("b1", [0, 1, 2], seen, NOW, Claim(home, [7, 7, 8], needed=[9])):
        recorder.record()
        assert home.made == []
        seen[:] = [ACCEPTED, None, ACCEPTED]
        clock[0] += RENEW_SECONDS
        recorder.record()
        assert home.made == [("renew", ([("b1", [8])], 8.0))]
        seen[1] = ACCEPTED
        clock[0] += RENEW_SECONDS
        recorder.record()
    [_, (_, ([(batch, accepted)], lease))] = home.made
    assert (batch, sorted(accepted), lease) == ("b1", [7, 8], 8.0)


def test_what_waits_at_home_for_a_device_that_has_accepted_is_woken_at_once():
    clock, journal, home = [NOW], fake(record=Freed(0, 0)), fake(renew=Freed(2, 1))
    journal.lease, home.partition = 8.0, SimpleNamespace(index=3)
    recorder, woken = Recorder(journal, lambda: clock[0]), []
    recorder._thread = threading.current_thread()
    recorder._homes = Parts(PATIENCE)
    recorder.wake_home = lambda *of: woken.append(of)
    with recorder.watch("b1", [0], [ACCEPTED], NOW, Claim(home, [7])):
        clock[0] += RENEW_SECONDS
        recorder.record()
    assert woken == [(3, "urgent", 2), (3, "bulk", 1)]


def test_a_home_that_is_away_keeps_no_lease_and_no_other_home_from_being_renewed():
    def away(*_: object) -> Freed:
        raise redis.Away[0]

    clock, journal = [NOW], fake(record=Freed(0, 0))
    journal.lease = 8.0
    first, second = fake(renew=away), fake(renew=Freed(0, 0))
    recorder = Recorder(journal, lambda: clock[0])
    recorder._thread = threading.current_thread()
    recorder._homes = Parts(PATIENCE)
    with (
        recorder.watch("b1", [0], [None], NOW, Claim(first, [7])) as flight,
        recorder.watch("b2", [0], [None], NOW, Claim(second, [8])),
    ):
        clock[0] += RENEW_SECONDS
        recorder.record()
        recorder.record()
    assert flight.renewed_at == clock[0]
    assert (len(first.made), second.made) == (1, [("renew", ([("b2", [])], 8.0))])


def test_a_home_that_gives_no_answer_delays_no_acceptance():
    back, clock, journal = threading.Event(), [NOW], fake(record=Freed(0, 0))
    journal.lease = 8.0
    recorder = Recorder(journal, lambda: clock[0])
    recorder._thread = threading.current_thread()

    def silent(*_: object) -> Freed:
        assert back.wait(PATIENCE)
        return Freed(0, 0)

    with recorder.watch("b1", [0], [ACCEPTED], NOW, Claim(fake(renew=silent), [7])):
        clock[0] += RENEW_SECONDS
        recorder.record()
    back.set()
    assert journal.made == [("record", ([("b1", [0])],))]
