"""Members, mutes, users and scheduled pushes from a shell: published as a chat server would, applied by the intake."""

import time
from pathlib import Path

from producers import events as ev
from tests.integration.cli.conftest import Cli
from tests.integration.pipeline.harness import Pipeline, message, stamp
from worker.reports.words import counted
from worker.state import keys


def test_members_are_added_listed_and_removed(pipeline: Pipeline, cli: Cli) -> None:
    added = cli.json("member", "add", "general", "han", "leia", "luke")
    assert (added["added"], added["applied"]) == (["han", "leia", "luke"], True)
    assert cli.ok("member", "remove", "general", "luke") == "removed from general: luke\n"
    listed = cli.json("member", "list", "general")
    assert [one["user"] for one in listed] == ["han", "leia"]
    assert listed[0]["since"].endswith("Z")
    assert [one["user"] for one in cli.json("member", "list", "general", "--after", "han")] == ["leia"]
    assert "1 of 2 members; the next: --after han" in cli.ok("member", "list", "general", "--limit", "1")
    assert "no channel 'genral'" in cli.refused("member", "list", "genral")


def test_what_no_worker_applies_is_said(cli: Cli) -> None:
    cli.ok("app", "create", "chat")
    assert "not applied yet" in cli.ok("member", "add", "general", "han", "--wait", "0")
    assert "users" in cli.refused("member", "add", "general", "")


def test_mutes_are_added_listed_and_removed(pipeline: Pipeline, cli: Cli) -> None:
    cli.ok("member", "add", "general", "han", "greedo")
    assert cli.json("mute", "add", "han", "greedo", "jabba")["applied"]
    assert [one["muted"] for one in cli.json("mute", "list", "--user", "han")] == ["greedo", "jabba"]
    assert [one["muted"] for one in cli.json("mute", "list", "--channel", "general")] == ["greedo"]
    assert cli.json("mute", "remove", "han", "greedo")["unmuted"] == ["greedo"]
    assert [one["muted"] for one in cli.json("mute", "list")] == ["jabba"]
    assert cli.json("mute", "list", "--user", "leia") == []


def test_preferences_are_set_and_shown(pipeline: Pipeline, cli: Cli, tmp_path: Path) -> None:
    assert "has chosen nothing" in cli.ok("preferences", "show", "han")
    of = ("--channel", "general", "--level", "mentions", "--trigger", "here=off")
    assert cli.json("preferences", "set", "han", *of)["applied"]
    assert "everything is set for han" in cli.ok("preferences", "set", "han", "--keyword", "deploy", "--privacy", "id")
    everything, general = cli.json("preferences", "show", "han")["rows"]
    assert (everything["keywords"], everything["privacy"]) == (["deploy"], "id")
    assert (general["channel"], general["level"], general["triggers"]) == ("general", "mentions", {"here": False})
    file = tmp_path / "message.json"
    file.write_bytes(ev.encode(message(text="deploy!", mentions=ev.Mentions(here=True))))
    shown = cli.ok("preferences", "show", "han", "--event", str(file))
    assert "  general: level mentions, here off; set at " in shown
    assert "keyword: on, by member\n  member: level mentions: on, unless a switch farther out says otherwise" in shown
    assert shown.endswith("han is notified, for keyword, by member\n")
    cli.ok("preferences", "set", "han", "--channel", "general", "--muted-until", "+2h")
    found = cli.json("preferences", "show", "han", "--event", str(file))["event"]
    assert (found["on"], found["by"], found["reason"]) == ([], "member", "channel_muted")
    assert cli.ok("preferences", "set", "han", "--channel", "general") == "han has chosen nothing for general\n"
    assert [row["channel"] for row in cli.json("preferences", "show", "han")["rows"]] == [None]


def test_what_no_preference_can_be_is_refused(cli: Cli) -> None:
    cli.ok("app", "create", "chat")
    assert "triggers are direct, mention" in cli.refused("preferences", "set", "han", "--trigger", "hear=on")
    assert "following: needs a channel" in cli.refused("preferences", "set", "han", "--follow")
    assert "keywords: only without a channel" in cli.refused(
        *("preferences", "set", "han", "--keyword", "r2", "--channel", "general")
    )


def test_quiet_time_is_set_and_shown(pipeline: Pipeline, cli: Cli) -> None:
    assert "no quiet time" in cli.ok("quiet", "show", "han")
    hours = ("--notify", "mon-fri,09:00-18:00", "--zone", "Europe/Berlin")
    assert cli.json("quiet", "set", "han", *hours, "--trigger", "direct", "--sender", "leia")["applied"]
    row = cli.json("quiet", "show", "han")["row"]
    assert row["notify"] == [{"days": ["mon", "tue", "wed", "thu", "fri"], "from": "09:00", "to": "18:00"}]
    assert row["allow"] == {"triggers": ["direct"], "users": ["leia"]}
    assert cli.ok("quiet", "set", "han", "--pause", "+2h") == "han has a quiet time\n"
    assert "paused now until " in cli.ok("quiet", "show", "han")
    cli.ok("quiet", "set", "han", "--quiet", "00:00-24:00", "--zone", "Asia/Tokyo")
    shown = cli.json("quiet", "show", "han")
    assert (shown["quiet_now"], shown["until"], shown["always"]) == ("quiet", None, True)
    assert "always quiet: these windows have no end" in cli.ok("quiet", "show", "han")
    assert cli.ok("quiet", "set", "han") == "han has no quiet time\n"
    assert cli.json("quiet", "show", "han")["quiet_now"] is None


def test_what_no_quiet_time_can_be_is_refused(cli: Cli) -> None:
    cli.ok("app", "create", "chat")
    assert "did you mean 'Europe/Berlin'?" in cli.refused("quiet", "set", "han", "--zone", "Europe/Berln")
    assert "--quiet: 'late' is not HH:MM-HH:MM" in cli.refused("quiet", "set", "han", "--quiet", "late")
    assert "zone: required with quiet" in cli.refused("quiet", "set", "han", "--quiet", "22:00-07:00")
    both = ("--quiet", "22:00-07:00", "--notify", "09:00-18:00", "--zone", "Europe/Berlin")
    assert "they contradict each other" in cli.refused("quiet", "set", "han", *both)
    default = ("--quiet", "22:00-07:00", "--quiet-zone", "Mars/Olympus")
    assert "--quiet-zone: 'Mars/Olympus' is no time zone" in cli.refused("app", "set", "chat", *default)


def test_the_default_of_the_app_is_shown_as_such(cli: Cli) -> None:
    cli.ok("app", "create", "chat", "--quiet", "22:00-07:00", "--quiet-zone", "Europe/Berlin")
    assert "the app's default counts" in cli.ok("quiet", "show", "han")


def test_a_user_is_shown_with_all_that_decides(pipeline: Pipeline, cli: Cli) -> None:
    cli.ok("member", "add", "general", "han")
    cli.ok("mute", "add", "han", "greedo")
    cli.ok(
        *("push", "device", "add", "--user", "han", "--token", "cafe01", "--app-version", "4.2"),
        *("--environment", "production", "--attribute", "team=red", "--attribute", "level=3"),
    )
    shown = cli.json("user", "show", "han")
    assert (shown["online"], shown["muted"], [one["id"] for one in shown["channels"]]) == (
        False,
        ["greedo"],
        ["general"],
    )
    assert shown["devices"][0]["app_version"] == "4.2"
    said = cli.ok("user", "show", "han")
    assert "1 device\n" in said and "in 1 channel\n" in said and "cafe01" not in said
    [device] = cli.json("push", "device", "get", "--user", "han")
    assert device["attributes"] == {"team": "red", "level": 3}
    assert "no device: nothing can be pushed" in cli.ok("user", "show", "nobody")


def test_a_user_is_shown_with_what_they_chose(pipeline: Pipeline, cli: Cli) -> None:
    shown = cli.json("user", "show", "han")
    assert (shown["preferences"], shown["quiet"], shown["digest_due"]) == (0, None, None)
    cli.ok("preferences", "set", "han", "--channel", "general", "--level", "mentions")
    cli.ok("quiet", "set", "han", "--pause", "+2h")
    pipeline.redis.zadd(keys.DIGESTS(), {"demo\nhan": 4_004_056_800})
    shown = cli.json("user", "show", "han")
    assert (shown["preferences"], shown["quiet"]["reason"]) == (1, "paused")
    assert shown["digest_due"] == "2096-11-18T06:00:00Z"
    said = cli.ok("user", "show", "han")
    assert "1 preference: carillon preferences show han --app demo\n" in said
    assert f"paused until {shown['quiet']['until']}: carillon quiet show han --app demo\n" in said
    assert f"what they missed is decided on at {shown['digest_due']}, for a digest\n" in said


def test_a_user_is_shown_where_they_are(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.redis.set("carillon:online:demo:han", 1)
    assert "online now, and gets no push meanwhile\n" in cli.ok("user", "show", "han")
    pipeline.redis.mset({"carillon:active:demo:han": 1, "carillon:viewing:demo:han": "general"})
    cli.ok("app", "set", "demo", "--online-delay", "30", "--present", "active")
    said = "online now, active, has general open, and gets a push after 30 s, if it is unread\n"
    assert said in cli.ok("user", "show", "han")
    shown = cli.json("user", "show", "han")
    assert (shown["online"], shown["active"], shown["viewing"]) == (True, True, "general")


def test_what_a_device_may_be_sent_is_shown_and_no_key(pipeline: Pipeline, cli: Cli) -> None:
    point = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    keys = ev.DeviceKeys(id="k7", scheme="aes128gcm", p256dh=point, auth="BTBZMqHH6r4Tts7J_aSIgg")
    device = ev.Device(token="cafe01", accepts=["clear", "sealed"], privacy="id", keys=keys)
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=device))
    cli.ok("member", "add", "general", "han")  # returns once it is applied, and what was published before it
    found = cli.json("user", "show", "han")
    [shown] = found["devices"]
    assert (shown["accepts"], shown["privacy"], shown["key"]) == (["clear", "sealed"], "id", "k7")
    assert not [secret for secret in (keys.p256dh, keys.auth, "cafe01") if secret in str(found)]


def test_a_scheduled_push_is_listed_and_cancelled(pipeline: Pipeline, cli: Cli) -> None:
    cli.ok("push", "device", "add", "--user", "han", "--token", "cafe01")
    for id, when in (("late", "+2h"), ("soon", "+1h")):
        cli.ok("push", "send", "--user", "han", "--alert", "hi", "--send-at", when, "--id", id)
    ends = time.monotonic() + 30
    while len(cli.json("push", "scheduled")) < 2 and time.monotonic() < ends:  # until the intake has taken both
        time.sleep(0.02)
    assert "published already" in cli.refused("push", "send", "--user", "han", "--alert", "hi", "--id", "soon")
    listed = cli.json("push", "scheduled")
    assert [one["id"] for one in listed] == ["soon", "late"]
    assert listed[0]["at"].endswith("Z")
    assert cli.json("push", "cancel", "soon") == {"app": "demo", "cancelled": "soon"}
    assert [one["id"] for one in cli.json("push", "scheduled", "--app", "demo")] == ["late"]
    assert "does not wait for its time any more" in cli.refused("push", "cancel", "soon")
    assert "is known" in cli.refused("push", "cancel", "never")
    assert "cancelled by hand" in cli.ok("why", "soon")
    assert pipeline.journal.backlog() == (1, 0)


def test_one_and_many() -> None:
    assert [counted(n, "device") for n in (0, 1, 2000)] == ["0 devices", "1 device", "2,000 devices"]
    assert [counted(n, "try", "tries") for n in (1, 2)] == ["1 try", "2 tries"]
