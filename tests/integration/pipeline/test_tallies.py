"""The shared counters say what the ledger says, each outcome once, whatever process dies in between."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.chaos import shared
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from worker.core.ledger_entry import Entry
from worker.core.model import ACCEPTED, Answer, NoAnswer
from worker.core.tally import PART, histograms
from worker.database import ledger_rows, tallies
from worker.state import scheduled

REGISTERED = int(START.timestamp() * 1000)


def flush(pipeline: Pipeline) -> None:
    while pipeline.ledger.flush(pipeline.journal):
        pass


def rows(pipeline: Pipeline, source: str = "ledger") -> dict[int, dict[str, float]]:
    """Provider -> counters of the app, without the other sources' rows."""
    with pipeline.pool.connection() as db:
        found = db.execute(
            "SELECT provider, totals FROM carillon.tallies WHERE source = %s AND app = 'demo'", (source,)
        )
        return dict(found.fetchall())


def counted(totals: dict[str, float]) -> dict[str, float]:
    return {name: n for name, n in totals.items() if "_seconds." not in name}


def in_ledger(pipeline: Pipeline) -> Counter[str]:
    """The ledger's own account, with sums over the reasons of each outcome."""
    with pipeline.pool.connection() as db:
        kept = shared.in_ledger(db)
    total: Counter[str] = Counter()
    for (_, provider, name), n in kept.items():
        total[name] += n
        if provider and "." in name:
            total[name.partition(".")[0]] += n
    return +total


def every_outcome(pipeline: Pipeline) -> None:
    users = [f"u{n}" for n in range(30)]
    pipeline.save_app(member_cap=None, device_rate=1)
    pipeline.member("general", "leia", "han", "luke", "muted", "busy", "again", *users)
    pipeline.publish(
        ev.UserMuted(**stamp(), user="muted", target="leia"),
        ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["nobody"]),
    )
    answers = pipeline.apns.answers
    answers[token("han")] = [Answer(410, "Unregistered", REGISTERED + 1)]
    answers[token("luke")] = [Answer(410, "ExpiredToken", REGISTERED - 1)]
    answers[token("busy")] = [Answer(429, "TooManyRequests")]
    answers[token("again")] = [NoAnswer("unknown", "connection lost"), ACCEPTED]
    pipeline.publish(message(), message(id="e2"), message(id="e3"), message(id="silent", skip_push=True))
    pipeline.run()
    pipeline.later()
    pipeline.run()
    answers[token("late")] = [Answer(403, "InvalidProviderToken")]
    pipeline.member("small", "leia", "late")
    pipeline.publish(message(channel="small", id="e4"))
    pipeline.run()
    pipeline.now += 7200
    pipeline.later()
    pipeline.run()


def test_O3_the_counters_are_those_of_the_ledger_for_every_outcome(pipeline: Pipeline) -> None:
    every_outcome(pipeline)
    flush(pipeline)
    found = rows(pipeline)
    assert found.keys() == {0, pipeline.provider.id}
    total = Counter(counted(found[0])) + Counter(counted(found[pipeline.provider.id]))
    assert total == Counter(pipeline.journal.counts("demo"))
    assert total.keys() >= {"accepted", "overtaken", "retired", "dropped", "retry", "parked", "limited", "considered"}
    assert any(name.startswith("skipped_message.") for name in total)
    with pipeline.pool.connection() as db:
        assert shared.differences(db) == []
        tallies.add(db, "ledger", {("demo", pipeline.provider.id): {"accepted": 1}})
        [difference] = shared.differences(db)
    assert difference.startswith(f"accepted of provider {pipeline.provider.id} of demo: {total['accepted'] + 1:g}, and")
    times = histograms(found[pipeline.provider.id])
    accepted = sum(sum(of.buckets.values()) for (name, _), of in times.items() if name == "accept_seconds")
    answered = sum(sum(of.buckets.values()) for (name, _), of in times.items() if name == "answer_seconds")
    assert accepted == total["accepted"]
    assert answered > accepted


class Died(Exception):
    pass


def test_O3_tallies_count_once_if_the_process_dies_between_the_commit_and_the_forgetting(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.run()
    forget = pipeline.journal.forget_accounts

    def die(documents: Any) -> None:
        raise Died

    pipeline.journal.forget_accounts = die  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(Died):
            pipeline.ledger.flush(pipeline.journal)
    pipeline.publish(message(id="e2"))
    pipeline.run()
    with pytest.raises(Died):
        pipeline.ledger.flush(pipeline.journal)
    pipeline.journal.forget_accounts = forget  # type: ignore[method-assign]
    flush(pipeline)
    flush(pipeline)
    assert rows(pipeline)[pipeline.provider.id]["accepted"] == 2
    assert rows(pipeline)[0]["messages"] == 2


def test_two_processes_that_read_the_same_tallies_count_them_once(pipeline: Pipeline) -> None:
    """The second reads before the first forgets, and a batch is done in between."""
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.run()
    forget = pipeline.journal.forget_accounts

    def later(documents: Any) -> None:
        pipeline.journal.forget_accounts = forget  # type: ignore[method-assign]
        pipeline.publish(message(id="e2"))
        pipeline.run()
        assert pipeline.ledger.flush(pipeline.journal) > len(documents)
        forget(documents)

    pipeline.journal.forget_accounts = later  # type: ignore[method-assign]
    flush(pipeline)
    assert pipeline.journal.accounts(9) == []
    assert rows(pipeline)[pipeline.provider.id]["accepted"] == 2


def test_a_tally_is_no_row_of_the_ledger_and_one_row_to_the_release_before(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(), message(id="e2"))
    pipeline.run()
    documents = pipeline.journal.accounts(99)
    flush(pipeline)
    of_tallies = "SELECT count(*) FROM carillon.ledger WHERE part = %s OR event_id = ''"
    with pipeline.pool.connection() as db:
        assert db.execute(of_tallies, (PART,)).fetchone() == (0,)
        # It writes whatever it finds as a ledger entry, and refuses a part that is there.
        ledger_rows.insert(db, [msgspec.json.decode(document, type=Entry) for document in documents])
        assert db.execute(of_tallies, (PART,)).fetchone() == (1,)


def test_a_cancelled_push_is_counted(pipeline: Pipeline) -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    pipeline.publish(ev.PushSend(**stamp() | {"id": "p1"}, where=ev.Where(everyone=True), alert="soon", send_at=at))
    pipeline.take()
    [waiting] = scheduled.soonest(pipeline.partition, 1)
    assert scheduled.cancel(pipeline.partition, pipeline.journal, "demo", "p1", waiting.entry)
    flush(pipeline)
    assert rows(pipeline)[0] == {"skipped_message.cancelled": 1}


def test_what_happens_to_devices_is_counted_whoever_does_it(pipeline: Pipeline) -> None:
    pipeline.save_app(device_cap=2, stale_days=1)
    pipeline.member("general", "han", devices=3)
    pipeline.member("general", "leia", "luke")
    leia = ev.DeviceToken(token=token("leia"))
    pipeline.publish(
        ev.DeviceRegistered(**stamp(1), user="chewie", device=ev.Device(token=token("luke"))),
        ev.DeviceUnregistered(**stamp(2), user="leia", device=leia),
    )
    pipeline.apns.answers[token("han", 1)] = [Answer(410, "Unregistered", REGISTERED + 1)]
    pipeline.publish(message(sender="luke", recipients=["han"]))
    pipeline.run()
    pipeline.devices.restore(START - timedelta(days=9), reason="Unregistered")
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.devices SET registered_at = 0 WHERE active")
        db.execute("DELETE FROM carillon.device_use")
    pipeline.upkeep.prune(30)
    assert rows(pipeline, "devices") == {
        0: {
            "devices.registered": 5,
            "devices.taken_over": 1,
            "devices.unregistered": 1,
            "devices.evicted": 1,
            "devices.refused": 1,
            "devices.restored": 1,
            "devices.stale": 3,
        }
    }


def intake(pipeline: Pipeline) -> dict[str, dict[str, float]]:
    """App -> counters."""
    with pipeline.pool.connection() as db:
        return dict(db.execute("SELECT app, totals FROM carillon.tallies WHERE source = 'intake'").fetchall())


def test_events_are_counted_by_type_and_outcome(pipeline: Pipeline) -> None:
    pipeline.save_app(registration_rate=1, registration_burst=3)
    pipeline.member("general", "leia", "han", devices=2)
    old = ev.DeviceRegistered(**stamp(-60), user="luke", device=ev.Device(token=token("leia")), reply="r1")
    pipeline.publish(old, message(), message(), b"no event", replace(message(id="x"), app="nobody"))
    pipeline.publish(ev.DeviceUnregistered(**stamp(-90), user="han", device=ev.DeviceToken(token=token("han"))))
    pipeline.publish(ev.MemberAdded(**stamp(9e6), channel=ev.ChannelId(id="general"), users=["luke"]))
    pipeline.take()
    taken = {
        "demo": {
            "events.taken.member.added": 1,
            "events.taken.device.registered": 3,
            "events.over_rate.device.registered": 2,
            "events.taken.device.unregistered": 1,
            "events.taken.message.new": 1,
            "events.repeat.message.new": 1,
            "events.refused.member.added": 1,
        },
        "": {"events.refused.unknown": 1, "events.refused.message.new": 1},
    }
    assert intake(pipeline) == taken
    # A new leader takes again what the last one may have left.
    pipeline.lead()
    assert intake(pipeline) == taken


def test_a_registration_that_a_newer_one_overrides_is_counted_if_its_author_asks(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia")
    pipeline.publish(ev.DeviceRegistered(**stamp(-60), user="luke", device=ev.Device(token=token("leia")), reply="r1"))
    pipeline.take()
    assert intake(pipeline)["demo"]["events.superseded.device.registered"] == 1


def test_an_event_that_cannot_be_stored_is_counted_once(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> None:
        raise KeyError

    pipeline.publish(*(message(id=f"e{n}") for n in range(3)))
    monkeypatch.setattr("worker.pipeline.intake.plain_stretch.take", fail)
    monkeypatch.setattr("worker.pipeline.intake.messages.record", fail)
    pipeline.take()
    assert intake(pipeline) == {"demo": {"events.refused.message.new": 3}}
