"""Each step of a delivery alone."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.pipeline.runs import NOW, NOWHERE, fake, insist, job, new_run, sending, stopped
from worker.core.again import Standing
from worker.core.batch import NEVER, Freed
from worker.core.batch_run import BatchRun, Wait, Well
from worker.core.breaker import Look
from worker.core.model import AppSettings
from worker.core.outcome import DELIVERED, Drop, OpenBreaker, Retry, Unregister
from worker.core.remainder import remainder
from worker.pipeline.steps import End, Step, perform
from worker.pipeline.steps.apply_rate_limits import ApplyRateLimits
from worker.pipeline.steps.check_provider import CheckProvider
from worker.pipeline.steps.drop_changed import DropChanged
from worker.pipeline.steps.drop_expired import DropExpired
from worker.pipeline.steps.drop_moved import DropMoved
from worker.pipeline.steps.drop_not_allowed import drop_not_allowed
from worker.pipeline.steps.find_provider import FindProvider
from worker.pipeline.steps.hold_back import hold_back
from worker.pipeline.steps.in_bulkhead import InBulkhead
from worker.pipeline.steps.record_answers import RecordAnswers
from worker.pipeline.steps.report import Report
from worker.pipeline.steps.retire_devices import RetireDevices
from worker.pipeline.steps.send import Send
from worker.pipeline.steps.wait_for_earlier import LONG, WaitForEarlier
from worker.pipeline.steps.write import Write
from worker.state import presence
from worker.state.journal import Proof

GONE = Unregister("Unregistered", 5)
REFUSED = Unregister("BadDeviceToken", 5, guarded=True)


def now() -> float:
    return NOW


# the list


def test_a_step_that_ends_the_run_is_the_last():
    taken: list[str] = []

    def step(name: str, end: End | None = None) -> Step:
        def take(run: BatchRun) -> End | None:
            taken.append(f"{name} of {run.id}")
            return end

        return take

    assert perform([step("first"), step("second", "conclude"), step("third")], new_run(), lambda: None) == "conclude"
    assert taken == ["first of b1", "second of b1"]


def test_only_a_batch_of_the_bulk_lane_pauses_between_its_steps():
    urgent, bulk, bulkhead = new_run(), new_run(), fake(enter=True)
    bulk.batch = replace(bulk.batch, lane="bulk")
    for run in (urgent, bulk):
        InBulkhead(bulkhead, (fake().step, fake().step))(run)
    assert bulkhead.names() == ["enter", "leave", "enter", "pause", "pause", "leave"]


# before anything is asked of the provider


@pytest.mark.parametrize(
    ("app", "provider", "reason"),
    [
        pytest.param(AppSettings("demo"), None, "no_provider", id="the provider is gone"),
        pytest.param(None, object(), "app_push_off", id="the app is gone"),
        pytest.param(AppSettings("demo", push_enabled=False), object(), "app_push_off", id="the app's pushes are off"),
    ],
)
def test_jobs_without_an_app_or_a_provider_are_dropped(app, provider, reason):
    run = new_run()
    assert FindProvider(fake(app=app, provider=provider), fake())(run) == "conclude"
    assert run.outcomes == [Drop(reason)] * 3


def test_of_a_provider_that_is_gone_nothing_waits():
    breaker = fake()
    FindProvider(fake(app=AppSettings("demo")), breaker)(new_run())
    assert breaker.made == [("resume", (1, True))]


def test_the_app_and_the_provider_are_those_of_now():
    run, app, provider = new_run(), AppSettings("demo", max_age=7), object()
    assert FindProvider(fake(app=app, provider=provider), fake())(run) is None
    assert (run.app, run.provider) == (app, provider)


def test_what_is_too_old_is_dropped_and_nothing_that_was_recorded():
    run = new_run(job(1), job(2, sending=1), job(3), sendings=[sending(expires_at=int(NOW)), sending()])
    run.outcomes[2] = DELIVERED
    DropExpired(now)(run)
    assert run.outcomes == [Drop("expired"), None, DELIVERED]


def test_an_environment_pushes_to_its_own_users_only():
    run = new_run(app=AppSettings("demo", only_to=("u2",)))
    drop_not_allowed(run)
    assert run.outcomes == [Drop("not_allowed_here"), None, Drop("not_allowed_here")]


@pytest.mark.parametrize(
    ("look", "end"),
    [
        pytest.param(None, None, id="the provider flows"),
        pytest.param(Look(stopped(), probe=True, way=1), None, id="a probe may be sent"),
        pytest.param(Look(stopped(), probe=False, way=1), "return", id="it is no time for a probe"),
    ],
)
def test_a_batch_of_a_stopped_provider_is_held_back_until_a_probe_is_due(look, end):
    assert hold_back(new_run(look=look)) == end


def test_a_batch_that_has_nothing_left_to_send_is_not_held_back():
    run = new_run(look=Look(stopped(), probe=False, way=1))
    run.set_outcome(range(3), Drop("expired"))
    assert hold_back(run) is None


def test_a_job_waits_for_an_earlier_one_for_as_long_as_that_holds_it():
    run = new_run(waits={0: (int(NOW) + 7, "b0"), 1: (NEVER, "b0"), 2: (int(NOW) - 1, "b0")})
    assert WaitForEarlier(now)(run) == "conclude"
    assert run.outcomes == [Wait("earlier", seconds, behind="b0") for seconds in (7.0, LONG, 1.0)]


@pytest.mark.parametrize(("rate", "passes"), [(None, False), (1.0, True)])
def test_a_mention_passes_only_what_a_channels_rate_may_hold(rate, passes):
    run = new_run(job(1, why="mention"), app=AppSettings("demo", channel_rate=rate), waits={0: (NEVER, "b0")})
    WaitForEarlier(now)(run)
    assert (run.outcomes[0] is None) is passes


def test_a_device_that_another_batch_has_in_flight_keeps_no_other_waiting():
    run = new_run(blocked={2})
    assert WaitForEarlier(now)(run) is None
    assert run.outcomes == [None, Wait("earlier", 0.0, in_flight=True), None]


# in the provider's share of the process


def test_a_provider_whose_share_is_used_up_is_sent_nothing():
    bulkhead, taken = fake(enter=False), fake()
    assert InBulkhead(bulkhead, (taken.step,))(new_run()) == "return"
    assert taken.made == []
    assert bulkhead.names() == ["enter"]


def test_the_share_is_given_back_whatever_happens():
    def fail(run):
        run.answered = True
        raise KeyError

    bulkhead = fake(enter=True)
    with pytest.raises(KeyError):
        InBulkhead(bulkhead, (fail,))(new_run())
    assert bulkhead.made[-1] == ("leave", (1, True))


def nobody_refuses(app: Any, pushed: Any, now: float) -> list[str]:
    return ["" for _ in pushed]


def test_a_device_that_changed_hands_gets_nothing_that_was_meant_for_another():
    run = new_run()
    DropMoved(fake(are_owned=False, owners={1: "u1", 3: "u3"}), fake(), nobody_refuses, now)(run)
    assert run.outcomes == [None, Drop("device_moved"), None]


def test_where_each_device_is_its_users_no_more_is_asked():
    run, devices = new_run(), fake(are_owned=True)
    DropMoved(devices, fake(), nobody_refuses, now)(run)
    assert devices.made == [("are_owned", ({1: "u1", 2: "u2", 3: "u3"},))]
    assert run.outcomes == [None] * 3


def test_a_device_that_changed_hands_between_two_messages_of_a_batch_gets_those_of_its_user_only():
    run = new_run(job(1, user="han"), job(2), job(1, user="luke"))
    DropMoved(fake(are_owned=True, owners={1: "luke", 2: "u2"}), fake(), nobody_refuses, now)(run)
    assert run.outcomes == [Drop("device_moved"), None, None]


def test_what_is_sent_long_after_its_place_is_decided_again():
    run = new_run(job(1), job(2), job(3, sending=1), sendings=[sending(at=int(NOW) - 60), sending()])
    standings = fake(read=[Standing(), Standing(muted=True)])
    DropMoved(fake(are_owned=True), standings, nobody_refuses, now)(run)
    assert run.outcomes == [None, Drop("muted"), None]
    [(_, (app, questions))] = standings.made
    assert (app, [question.device for question in questions]) == ("demo", [1, 2])


def test_what_its_user_has_read_meanwhile_is_dropped_and_users_are_named_only_where_somebody_has_read():
    sendings = [sending(written=5), sending(written=7, channel="random"), sending(channel="other")]
    run = new_run(job(1), job(2), job(3, sending=1), job(2, sending=2), sendings=sendings)
    general, random = presence.marker("demo", "general"), presence.marker("demo", "random")
    run.outcomes[2] = DELIVERED
    engines = fake(changes={}, marked={})
    DropChanged(engines.changes, engines.marked, now)(run)
    [_, (_, (names, users))] = engines.made
    assert (names, users()) == ({general, random}, [presence.Markers(general, ["u1", "u2"])])
    assert run.outcomes == [None, None, DELIVERED, None]
    engines = fake(changes={}, marked={general: {"u1": 4, "u2": 6}})
    DropChanged(engines.changes, engines.marked, now)(run)
    assert run.outcomes == [None, Drop("read"), DELIVERED, None]


class _Exchange:
    """Gives each job that is sent its outcome from a table, and remembers the jobs of each call."""

    def __init__(self, **outcomes: Any) -> None:
        self.sent: list[list[int]] = []
        self._outcomes = {int(name.removeprefix("job")): list(given) for name, given in outcomes.items()}

    def send(self, run, indexes, *, timeout=None):
        self.sent.append(list(indexes))
        for index in indexes:
            given = self._outcomes.get(index, [DELIVERED])
            run.outcomes[index] = given.pop(0) if len(given) > 1 else given[0]


def new_exchange(**outcomes: Any) -> Any:
    return _Exchange(**outcomes)


def check(run, *, proves=True, resume=True, exchange: Any = None) -> Any:
    """Returns how the step ends, and what it asked of the provider's health and of the journal, in its order."""
    calls = fake(proves=proves, resume=resume, probe_timeout=2.0)
    step = CheckProvider(calls, exchange or new_exchange(), calls, insist(), now, lambda: 0.5)
    return step(run), calls.names()


def test_a_provider_that_flows_is_not_checked():
    assert check(new_run()) == (None, [])


def test_after_a_probe_that_proves_the_provider_well_the_others_go():
    run, exchange = new_run(look=Look(stopped(), probe=True, way=1)), new_exchange()
    assert check(run, exchange=exchange) == (None, ["probe_timeout", "proves", "mark", "resume"])
    assert exchange.sent == [[1]], "one job, and it is recorded before the breaker closes"


def test_after_a_probe_that_failed_the_batch_waits():
    assert check(new_run(look=Look(stopped(), probe=True, way=1)), proves=False)[0] == "return"


def test_a_provider_that_a_person_stopped_meanwhile_is_sent_no_more():
    assert check(new_run(look=Look(stopped(), probe=True, way=1)), resume=False)[0] == "return"


def test_a_batch_behind_others_of_its_provider_sends_its_probe_alone():
    assert check(new_run(look=Look(stopped(), probe=True, way=1, alone=True)))[0] == "return"


def test_a_batch_without_a_job_to_probe_with_is_concluded():
    run = new_run(look=Look(stopped(), probe=True, way=1))
    run.set_outcome(range(3), Drop("device_moved"))
    assert check(run) == ("conclude", [])


def test_a_later_notification_of_the_channel_waits_with_one_that_a_rate_holds():
    run = new_run(job(1), job(1), job(2))
    ApplyRateLimits(fake(cooldowns={1: 4.2}, reserve=[]), NOWHERE, now)(run)
    assert run.outcomes == [Wait("device_held", 5.0), Wait("device_held", 5.0), None]


def test_what_follows_one_that_waits_for_another_batch_waits_for_that_batch_too():
    run = new_run(job(1), job(1), job(2), waits={0: (NEVER, "b0")})
    WaitForEarlier(now)(run)
    ApplyRateLimits(fake(cooldowns={}, reserve=[]), NOWHERE, now)(run)
    assert run.outcomes == [Wait("earlier", LONG, behind="b0"), Wait("earlier", LONG, behind="b0"), None]
    run.outcomes[2] = DELIVERED
    [(again, _)] = remainder(run, NOW)
    assert again.behind == "b0", "nobody else would wake it before its time"


def test_what_would_wait_beyond_its_life_is_dropped_at_once():
    run = new_run(job(1), sendings=[sending(expires_at=int(NOW) + 3)])
    ApplyRateLimits(fake(cooldowns={1: 4.2}), NOWHERE, now)(run)
    assert run.outcomes == [Drop("expired", cause="device_held")]


def test_what_follows_one_that_is_over_for_good_goes_in_another_round():
    run = new_run(job(1), job(1), job(2))
    exchange = new_exchange(job0=[Drop("BadPath")], job1=[None, DELIVERED])
    Send(exchange)(run)
    assert exchange.sent == [[0, 1, 2], [1]]
    assert run.outcomes == [Drop("BadPath"), DELIVERED, DELIVERED]


def test_what_follows_one_that_is_tried_again_waits_with_it():
    run = new_run(job(1), job(1))
    exchange = new_exchange(job0=[Retry(3.0, "status_503")], job1=[None])
    Send(exchange)(run)
    assert exchange.sent == [[0, 1]]
    assert run.outcomes[1] == Wait("earlier", 3.0)


# whatever became of the batch


@pytest.mark.parametrize(
    ("outcomes", "marks"),
    [
        pytest.param([DELIVERED, Drop("expired"), Retry(1.0, "x")], [], id="nothing comes before the last step"),
        pytest.param([DELIVERED, GONE, None], ["mark"], id="a device is retired before"),
    ],
)
def test_outcomes_are_recorded_before_anything_else_is_done_about_them(outcomes, marks):
    journal, run = fake(), new_run()
    run.outcomes = outcomes
    RecordAnswers(journal, insist())(run)
    assert journal.names() == marks


def test_a_mass_unregistration_is_recorded_as_well():
    journal, run = fake(), new_run(unconfirmed=[(1, 5, "Unregistered")])
    run.set_outcome(range(3), Drop("mass_gone", alarm=True))
    RecordAnswers(journal, insist())(run)
    assert journal.names() == ["mark"]


def test_a_device_is_retired_at_once_only_where_its_provider_cannot_be_at_fault():
    devices, deferred, run = fake(), fake(), new_run(unconfirmed=[(9, 5, "Unregistered")])
    run.outcomes = [GONE, REFUSED, DELIVERED]
    RetireDevices(devices, deferred, insist())(run)
    assert devices.made == [
        ("retire", (1, [(1, 5, "Unregistered")])),
        ("note_mass_unregister", (1, [(9, 5, "Unregistered")])),
    ]
    assert deferred.made == [("defer", (1, [(2, 5, "BadDeviceToken")]))]


def test_where_no_device_is_gone_no_engine_is_asked():
    run = new_run()
    run.set_outcome(range(3), DELIVERED)
    RetireDevices(fake(), fake(), insist())(run)


def write(run) -> Any:
    """Returns what was written: the batches of what is tried again, and the counts."""
    journal = fake(finish=Freed(1, 0))
    Write(journal, insist(), now, lambda: "0123456789abcdef", lambda _: None)(run)
    [(_, (batch, again, counts, _, looks, banners, pushed, well))] = journal.made
    assert not (looks or banners or pushed or well)
    assert batch == "b1"
    return again, counts


def test_the_outcomes_are_written_in_one_step():
    run = new_run()
    run.outcomes = [DELIVERED, Retry(4.0, "status_503"), OpenBreaker("BadTopic")]
    again, counts = write(run)
    assert [(one.delay, one.takes_over, len(one.batch.jobs)) for one in again] == [(4.0, False, 1), (0.0, True, 1)]
    assert {one.id[:16] for one in again} == {f"{5:016x}"}, "it sorts as its first message does"
    assert counts["demo"] == {
        "accepted": 1,
        "retry": 1,
        "retry.status_503": 1,
        "parked": 1,
        "parked.BadTopic": 1,
    }
    assert run.freed == Freed(1, 0)


def test_where_all_were_accepted_the_answers_are_counted_as_the_batch_is_finished():
    run = new_run(sent_at=NOW - 2.0, well=Well(3, "a credential"))
    run.set_outcome(range(3), DELIVERED)
    journal = fake(finish=Freed(0, 0))
    Write(journal, insist(), now, lambda: "0123456789abcdef", lambda _: None)(run)
    [(_, (*_, well))] = journal.made
    assert well == Proof(3, "a credential", 2.0)


def test_where_no_device_of_the_way_was_in_trouble_nobody_asks_for_cooldowns():
    limiter = fake(reserve=[])
    ApplyRateLimits(limiter, NOWHERE, now)(new_run(troubled=False))
    assert "cooldowns" not in limiter.names()


def test_one_that_went_before_an_earlier_one_is_counted_as_that():
    run = new_run(overtaking=[0, 1])
    run.outcomes = [DELIVERED, Drop("expired"), DELIVERED]
    _, counts = write(run)
    assert counts["demo"]["overtaken"] == 1
    assert run.counts["overtaken"] == 1


@pytest.mark.parametrize(
    ("outcomes", "faults", "message"),
    [
        pytest.param([DELIVERED], [], "batch delivered", id="all"),
        pytest.param([Drop("expired")], [], "batch done", id="nothing to send"),
        pytest.param([DELIVERED], [0], "batch delivered in part", id="some"),
        pytest.param([Retry(1.0, "x")], [0], "batch not delivered", id="none"),
    ],
)
def test_a_batch_is_called_delivered_only_where_something_was(caplog, outcomes, faults, message):
    caplog.set_level("INFO")
    run = new_run(job(1), faults=faults)
    run.outcomes = outcomes
    write(run)
    run.taken_at = NOW - 2.5
    Report(lambda id: f"name of {id}", lambda: NOW)(run)
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("INFO", message)
    assert (record.provider, record.jobs, record.seconds) == ("name of 1", 1, 2.5)


def test_the_line_of_a_batch_names_some_of_its_events(caplog):
    caplog.set_level("INFO")
    run = new_run(job(1), sendings=[sending(event_id=f"e{n}") for n in range(1_205)])
    run.outcomes = [DELIVERED]
    write(run)
    Report(str, lambda: NOW)(run)
    assert caplog.records[0].events == "e0 e1 e2 e3 e4 and 1,200 more"


def test_a_fault_of_ours_is_an_error_of_its_own(caplog):
    run = new_run(job(1))
    run.outcomes = [Drop("PayloadTooLarge", alarm=True)]
    write(run)
    for _ in range(3):
        Report(str, lambda: NOW)(run)
    [record] = [one for one in caplog.records if one.levelname == "ERROR"]
    assert (record.reason, record.count) == ("PayloadTooLarge", 1)


def test_the_devices_of_all_jobs_and_of_some_are_those_of_the_jobs() -> None:
    run = new_run(job(7), job(9), job(7))
    assert [run.device_of_each(run.pending()) for _ in range(2)] == [[7, 9, 7]] * 2
    assert run.device_of_each([1, 2]) == [9, 7]
    assert run.following(run.pending()) == {0: 2}
    run.set_numbers([4, 5, 6])
    assert (run.badges, run.device_of_each(range(3))) == ([4, 5, 6], [7, 9, 7])


def test_what_steps_ask_of_every_batch_is_known_as_its_run_begins() -> None:
    sendings = [sending(at=7, expires_at=90, kind="call"), sending(at=5, expires_at=95), sending(at=6, expires_at=80)]
    run = new_run(job(1), job(2, sending=1), sendings=sendings)
    assert (run.kinds, run.first_came, run.first_expires, run.tried) == ({"call", ""}, 5, 80, False)
    assert new_run(job(1), job(2, attempt=1)).tried


def test_each_job_knows_the_next_one_to_its_device() -> None:
    run = new_run(job(1), job(2), job(1), job(1), job(2))
    assert run.following(range(5)) == {0: 2, 2: 3, 1: 4}
    assert run.following([1, 3, 4]) == {0: 2}
    assert new_run().following(range(3)) == {}
