"""`carillon why`: every silence and every wait has a reason, with its time."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from producers import events as ev
from tests.integration.cli.conftest import Cli
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from worker.core.model import ACCEPTED, Answer
from worker.state.breaker import Breaker


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, cli: Cli) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    made.member("general", "leia", "han")
    made.take()
    yield made
    made.close()


def why(cli: Cli, event: str = "e1", *flags: str) -> str:
    return cli.ok("why", event, "--app", "demo", *flags)


TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_what_was_accepted_says_when(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message())
    pipeline.run()
    output = why(cli)
    assert re.search(rf"published {TIME}, taken {TIME}", output)
    assert re.search(rf"device \d+: accepted by APNs, {TIME}", output)
    found = cli.json("why", "e1", "--app", "demo")
    assert list(found["pushed"]["han"].values()) == [["accepted"]]
    for at in (found["published"], found["taken"]):
        assert abs(datetime.fromisoformat(at) - datetime.now(UTC)) < timedelta(minutes=10)
    # By the clock of the worker that did it, not of the ledger that wrote it down.
    for at in (*found["expanded"], *found["pushed_at"]["han"].popitem()[1]):
        assert datetime.fromisoformat(at) == START


def test_a_refused_document_is_known_by_its_app_and_id(pipeline: Pipeline, cli: Cli) -> None:
    bad = {"v": 1, "type": "message.new", "id": "evt-9", "app": "demo", "message": {"id": "m", "text": None}}
    pipeline.publish(json.dumps(bad).encode())
    pipeline.take()
    output = why(cli, "evt-9")
    assert re.search(rf"dead-lettered {TIME}: .*; see: carillon dead-letters show \d+", output)
    [letter] = pipeline.ledger.dead_letters()
    assert (letter.letter.app, letter.letter.event_id) == ("demo", "evt-9")
    assert cli.json("why", "evt-9", "--app", "demo")["dead_letters"][0]["id"] == letter.id


def test_what_is_scheduled_says_when_it_begins(pipeline: Pipeline, cli: Cli) -> None:
    at = datetime.now(UTC) + timedelta(hours=3)
    now = stamp() | {"id": "p1", "at": datetime.now(UTC)}
    pipeline.publish(ev.PushSend(**now, where=ev.Where(user="han"), alert="x", send_at=at))
    pipeline.take()
    assert f"scheduled: it begins at {at:%Y-%m-%dT%H:%M:%S}" in why(cli, "p1")
    assert cli.json("why", "p1", "--app", "demo")["scheduled"].startswith(f"{at:%Y-%m-%dT%H:%M:%S}")


@pytest.mark.parametrize("manual", [True, False])
def test_what_waits_for_a_stopped_provider_names_it_and_since_when(pipeline: Pipeline, cli: Cli, manual: bool) -> None:
    Breaker(pipeline.partition).stop(pipeline.provider.id, "new key", time.time() - 60, manual=manual)
    pipeline.publish(message())
    pipeline.run()
    what = "is paused by hand" if manual else "is stopped"
    assert re.search(rf"waits: its provider 'apns' {what} since {TIME} \(new key\)", why(cli))
    [wait] = cli.json("why", "e1", "--app", "demo")["waits"].values()
    assert wait["provider"] == "apns" and wait["stopped"]["reason"] == "new key"


def test_a_device_in_cooldown_says_until_when_and_tries_are_counted(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.apns.answers[token("han")] = [Answer(429, "TooManyRequests", retry_after=120)]
    pipeline.publish(message())
    pipeline.run()
    assert re.search(rf"refused for now \(TooManyRequests\), will be tried again at {TIME}", why(cli))


def test_earlier_tries_are_counted_and_not_repeated(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.apns.answers[token("han")] = [*[Answer(503, "Shutdown")] * 3, ACCEPTED]
    pipeline.publish(message())
    pipeline.run()
    for _ in range(3):
        pipeline.later()
        pipeline.deliver()
    output = why(cli)
    assert "after 3 earlier tries (Shutdown: 3 times)" in output
    assert output.count("Shutdown") == 1


def test_a_repeat_is_reported(pipeline: Pipeline, cli: Cli) -> None:
    for _ in range(3):
        pipeline.publish(message())
    pipeline.run()
    assert "published 3 times under this id" in why(cli) and "counted once" in why(cli)
    assert cli.json("why", "e1", "--app", "demo")["repeats"] == 2


def test_what_is_recorded_and_waits_is_on_its_way(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message())
    pipeline.take()
    assert "on its way: it waits for a worker to expand it" in why(cli)
    pipeline.expand()
    assert re.search(r"device \d+: on its way", why(cli))


def test_a_webhook_is_not_apns(pipeline: Pipeline, cli: Cli) -> None:
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.providers SET kind = 'webhook'")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.providers SET kind = 'key'")
    pipeline.deliver()
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.providers SET kind = 'webhook'")
    assert "accepted by its webhook" in why(cli)


def test_an_id_may_begin_with_a_dash(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message(id="-x1"))
    pipeline.run()
    assert "1 gets a push" in why(cli, "-x1")
    assert "accepted by APNs" in cli.ok("why", "--app", "demo", "--user", "han", "-x1")


def test_what_was_never_published_says_what_may_be_and_what_waits_to_be_taken(pipeline: Pipeline, cli: Cli) -> None:
    done = cli.run("why", "e9", "--app", "demo")
    assert done.exit_code == 1 and "nothing is known of event 'e9'" in done.stderr
    pipeline.publish(message(id="e9"))
    done = cli.run("why", "e9", "--app", "demo")
    assert done.exit_code == 1 and "Entries wait to be taken" in done.stderr


def test_control_characters_of_a_document_do_not_reach_the_terminal(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(b'{"id": "\x1b[31mred", "app": "demo"}')
    pipeline.take()
    done = cli.run("why", "\x1b[31mred", "--app", "demo")
    assert "\x1b" not in done.output


def test_times_are_of_each_step_and_a_providers_answers_are_summed_up(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message())
    pipeline.run()
    output = why(cli)
    assert re.search(rf"^expanded {TIME}$", output, re.MULTILINE)
    assert re.search(r"^  apns: 1 accepted$", output, re.MULTILINE)
    found = cli.json("why", "e1", "--app", "demo")
    assert found["providers"] == {"apns": {"accepted": 1}}
    [device] = found["devices"]["han"].values()
    assert (device["state"], device["provider"], device["tries"]) == ("accepted", "apns", 1)


def test_a_message_is_found_by_its_own_id_and_those_of_several_channels_are_listed(
    pipeline: Pipeline, cli: Cli
) -> None:
    pipeline.publish(named("general", "e7", "m-7"))
    pipeline.run()
    assert "message m-7 is event e7" in why(cli, "m-7") and "1 gets a push" in why(cli, "m-7")
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="other"), users=["han"]))
    pipeline.publish(named("other", "e8", "m-7"))
    pipeline.run()
    output = why(cli, "m-7")
    assert "2 events have this id" in output
    assert "in general: carillon why e7 --app demo" in output and "in other: carillon why e8 --app demo" in output
    assert [one["event"] for one in cli.json("why", "m-7")["events"]] == ["e8", "e7"]


def named(channel: str, event: str, id: str) -> ev.MessageNew:
    return msgspec.structs.replace(message(channel, id=event), message=ev.Message(id=id, text="hello"))


def test_a_user_has_everything_that_they_got_missed_and_wait_for(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="off"), users=["han", "leia"]))
    pipeline.publish(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="off", push_notifications=False)))
    pipeline.publish(message(id="got"), message(id="wrote", sender="han"), message("off", id="nobody"))
    pipeline.run()
    Breaker(pipeline.partition).stop(pipeline.provider.id, "new key", time.time() - 60, manual=True)
    pipeline.publish(message(id="held"), message(id="others", recipients=["leia"]))
    pipeline.run()
    found = cli.json("why", "--user", "han")
    assert {one["event"]: (one["decision"], one["reason"]) for one in found["events"]} == {
        "got": ("pushed", None),
        "wrote": ("skipped", "sender"),
        "nobody": ("nobody", "channel_push_off"),
        "held": ("pushed", None),
    }
    states = {one["event"]: [of["state"] for of in one["devices"].values()] for one in found["events"]}
    assert (states["got"], states["held"]) == (["accepted"], ["waits"])
    output = cli.ok("why", "--user", "han", "--since", "2h")
    assert re.search(rf"{TIME}  got \(m-got in general\): gets a push\n  device \d+: accepted by APNs", output)
    assert "wrote (m-wrote in general): no push: wrote it (sender)" in output
    assert "nobody (m-nobody in off): nobody got a push: pushes are off for its channel (channel_push_off)" in output
    assert "waits: its provider 'apns' is paused by hand" in output
    assert "nothing was for luke since" in cli.ok("why", "--user", "luke")


def test_a_device_has_what_its_users_got_on_it(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message(id="e1"))
    pipeline.run()
    [(one,)] = sql(pipeline, "SELECT id FROM carillon.devices WHERE user_id = 'han'")
    pipeline.publish(ev.DeviceRegistered(**stamp(1), user="han", device=ev.Device(token=token("han", 1))))
    pipeline.publish(message(id="e2"))
    pipeline.run()
    found = cli.json("why", "--device", one)
    assert (found["user"], found["active"]) == ("han", True)
    assert {one["event"]: list(one["devices"]) for one in found["events"]} == {"e1": [str(one)], "e2": [str(one)]}
    assert "there is no device 999" in cli.refused("why", "--device", "999")
    [(other,)] = sql(pipeline, f"SELECT id FROM carillon.devices WHERE user_id = 'han' AND id <> {one}")
    assert "e1 (m-e1 in general): gets a push, on other devices" in cli.ok("why", "--device", other)


def test_who_was_only_counted_is_no_candidate(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message())
    pipeline.run()
    pipeline.account("e1")
    page = '{"considered": 2, "pushed": [], "skipped": {}, "rest": {"over_member_cap": 2}}'
    sql(pipeline, f"UPDATE carillon.ledger SET account = '{page}' WHERE part = 'page:0'")
    [one] = cli.json("why", "--user", "han")["events"]
    assert (one["decision"], one["reason"]) == ("counted", "over_member_cap")


def sql(pipeline: Pipeline, statement: str) -> list[tuple[object, ...]]:
    with pipeline.pool.connection() as db:
        done = db.execute(statement.encode())
        return done.fetchall() if done.description else []


def test_a_user_of_too_many_messages_is_asked_for_a_shorter_time(
    pipeline: Pipeline, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(
        pipeline,
        "INSERT INTO carillon.ledger (app, event_id, part, account) SELECT 'demo', 'e' || n, 'page:0',"
        ' \'{"pushed": ["luke"]}\' FROM generate_series(1, 30000) n',
    )
    monkeypatch.setattr("worker.database.push_log.STATEMENT_MS", 1)
    assert "name a shorter time with --since" in cli.refused("why", "--user", "han")


def test_an_unknown_event_was_never_published_or_may_be_deleted_or_was_refused(pipeline: Pipeline, cli: Cli) -> None:
    young = cli.run("why", "e9", "--app", "demo").stderr
    assert "it was never published under this id. Nothing was deleted yet" in " ".join(young.split())
    sql(pipeline, "UPDATE carillon.migrations SET applied_at = now() - interval '90 days'")
    old = " ".join(cli.run("why", "e9", "--app", "demo").stderr.split())
    assert re.search(rf"never published under this id since {TIME}. What was published before that is deleted", old)
    pipeline.publish(b'{"id": "e9", "app": "demo", "type": "message.new", "v": 1}', b'\xff "e9"')
    pipeline.take()
    sql(pipeline, "UPDATE carillon.dead_letters SET event_id = NULL, app = NULL WHERE app IS NULL")
    output = why(cli, "e9")
    assert output.count("dead-lettered") == 2
    assert cli.json("why", "e9", "--app", "demo")["known"] is True


def test_of_what_is_asked_for_must_be_said_once(cli: Cli) -> None:
    assert "Give an ID, --user or --device" in cli.refused("why")
    assert "give either an ID or --device" in cli.refused("why", "e1", "--device", "1")


def test_who_was_refused_by_a_preference_learns_whose_row_it_was(pipeline: Pipeline, cli: Cli) -> None:
    general = ev.ChannelId(id="general")
    pipeline.publish(ev.PreferencesUpdated(**stamp(-1), user="han", channel=general, level="mentions"), message())
    pipeline.run()
    whose = "  decided by the user's setting for the channel"
    assert f"{whose}, of 2026-11-21: level mentions" in why(cli, "e1", "--user", "han")
    assert cli.json("why", "e1", "--app", "demo")["by"] == {"han": "member"}
    since = ("--user", "han", "--app", "demo", "--since", "2026-01-01T00:00Z")
    assert "(mentions_only), by the user's setting for the channel" in cli.ok("why", *since)
    pipeline.publish(ev.PreferencesUpdated(**stamp(60), user="han", channel=general, level="all"))
    pipeline.run()
    assert f"{whose}, which was changed since" in why(cli, "e1", "--user", "han")


def test_a_call_says_who_was_called_who_was_not_and_what_was_too_late(pipeline: Pipeline, cli: Cli) -> None:
    call = ev.Call(id="7d444840-9dc0-11d1-b245-5ffdce74fad2")
    given: dict[str, Any] = {"call": call, "channel": ev.Channel(id="general"), "caller": ev.Sender(id="leia")}
    pipeline.publish(ev.CallStarted(**(stamp() | {"id": "c1"}), **given, recipients=["han", "luke"]))
    pipeline.take()
    pipeline.expand()
    ended = ev.CallEnded(**(stamp(1) | {"id": "c2"}), call=ev.CallName(id=call.id), reason="answered_elsewhere")
    pipeline.publish(ended, ev.CallStarted(**(stamp(2) | {"id": "c3"}), **given, recipients=["han"]))
    pipeline.run()
    assert "dropped.call_ended" in str(cli.json("why", "c1", "--app", "demo"))
    assert "the call had ended by then" in why(cli, "c1")
    assert "without a device" in why(cli, "c1", "--user", "luke")
    assert "the device did not get the call" in why(cli, "c2")
    assert "an event before it began the same call" in why(cli, "c3")


def test_a_message_waits_for_no_device_that_is_for_something_else(pipeline: Pipeline, cli: Cli) -> None:
    voip = ev.Device(token=token("han", 5), purpose="voip")
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=voip), message())
    pipeline.take()
    pipeline.expand()
    assert len(re.findall(r"device \d+", why(cli))) == 1


def test_quiet_time_is_said_and_what_came_through_it_and_what_became_of_the_digest(
    pipeline: Pipeline, cli: Cli
) -> None:
    pause = START + timedelta(hours=1)
    allow = ev.Allow(users=["leia"])
    pipeline.publish(ev.QuietUpdated(**stamp(), user="han", pause_until=pause, allow=allow))
    pipeline.publish(message(id="e1", sender="luke"), message(id="e2"))
    pipeline.run()
    assert "han got no push: paused all notifications (paused)" in why(cli, "e1", "--user", "han")
    assert "han gets a push, for what its sender writes comes through their quiet time" in why(cli, "e2")
    pipeline.now += 2 * 3600
    assert len(pipeline.tell()) == 1
    while pipeline.ledger.flush(pipeline.journal):
        pass
    digest = f"digest:han:{int(pause.timestamp())}"
    assert re.search(rf"device \d+: accepted by APNs, {TIME}", why(cli, digest))
    assert digest in cli.ok("why", "--user", "han", "--app", "demo", "--since", "2026-11-01T00:00Z")
