"""S18, A6: several apps, each with its own settings."""

import pytest

from tests.integration.cli.conftest import Cli, apn, redis_of, rows
from worker.core.model import AppSettings
from worker.state.partition import untagged


def test_S18_apps_are_created_listed_and_shown(cli, key_file):
    assert "carillon push apn --app chat" in cli.ok("app", "create", "chat")
    cli.ok("app", "create", "support", "--member-cap", "none", "--push-to-online")
    cli.ok(*apn(key_file), "--app", "chat")
    assert [(one["app"], one["providers"]) for one in cli.json("app", "list")] == [("chat", "apns"), ("support", None)]
    shown = cli.json("app", "show", "support")
    assert shown["settings"]["member_cap"] is None
    assert shown["settings"]["push_to_online"] is True
    assert (shown["providers"], shown["counts"], shown["errors"]) == ([], {}, [])
    text = cli.ok("app", "show", "support")
    assert "member_cap: none" in text and "nothing happened yet" in text


def test_A6_pushes_are_switched_off_and_on(cli, registry):
    cli.ok("app", "create", "chat")
    assert cli.ok("app", "set", "chat", "--no-push") == "app 'chat': push_enabled off\n"
    assert registry.apps() == {"chat": AppSettings("chat", push_enabled=False)}
    cli.ok("app", "set", "chat", "--push")
    assert registry.apps() == {"chat": AppSettings("chat")}


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        pytest.param(["--member-cap", "7"], "member_cap", 7, id="a cap"),
        pytest.param(["--member-cap", "none"], "member_cap", None, id="no cap"),
        pytest.param(["--device-cap", "3"], "device_cap", 3, id="devices"),
        pytest.param(["--max-age", "60"], "max_age", 60, id="age"),
        pytest.param(["--push-rate", "12.5"], "push_rate", 12.5, id="a rate"),
        pytest.param(["--push-to-online"], "push_to_online", True, id="online"),
        pytest.param(["--fold-after", "5"], "fold_after", 5, id="folding"),
    ],
)
def test_every_setting_can_be_changed_alone(cli, registry, flags, field, value):
    cli.ok("app", "create", "chat")
    before = registry.apps()["chat"]
    assert cli.json("app", "set", "chat", *flags)[field] == value
    after = registry.apps()["chat"]
    assert getattr(after, field) == value
    same = {name for name in AppSettings.__dataclass_fields__ if getattr(before, name) == getattr(after, name)}
    assert same == AppSettings.__dataclass_fields__.keys() - {field}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param(["create", "chat"], "is there already", id="twice"),
        pytest.param(["create", "a:b"], "none of them a colon", id="name"),
        pytest.param(["create", "new", "--member-cap", "0"], "nor none", id="a cap of nobody"),
        pytest.param(["set", "chat"], "nothing to change", id="nothing"),
        pytest.param(["set", "chta", "--no-push"], "known: chat", id="unknown"),
        pytest.param(["set", "chat", "--device-cap", "none"], "is not a whole number from 1", id="not optional"),
        pytest.param(["set", "chat", "--max-age", "99999999999"], "is not a whole number", id="too much"),
        pytest.param(["show", "chta"], "known: chat", id="show"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(cli, command, said):
    cli.ok("app", "create", "chat")
    before = rows(cli, "apps")
    assert said in cli.refused("app", *command)
    assert rows(cli, "apps") == before


def test_only_those_who_are_named_get_pushes(cli, registry):
    cli.ok("app", "create", "chat")
    assert cli.ok("app", "set", "chat", "--only-to", "han", "--only-to", "eve") == "app 'chat': only_to han, eve\n"
    assert registry.apps() == {"chat": AppSettings("chat", only_to=("han", "eve"))}
    assert cli.json("app", "set", "chat", "--only-to", "none")["only_to"] is None
    assert registry.apps() == {"chat": AppSettings("chat")}


def test_recent_messages_go_when_they_are_not_to_be_kept(cli):
    import time

    from worker.state import recent

    cli.ok("app", "create", "chat")
    partition = untagged(redis_of(cli))
    recent.keep(partition, [("chat", "general", b"{}")], now=time.time())
    cli.ok("app", "set", "chat", "--no-keep-recent")
    assert recent.documents(partition, "chat", now=time.time()) == []


def test_a_database_without_schema_says_to_migrate(cli: Cli, empty_postgres_url, monkeypatch):
    monkeypatch.setenv("CARILLON_POSTGRES_URL", empty_postgres_url)
    done = cli.run("app", "list")
    assert done.exit_code == 1
    assert "carillon migrate" in done.output


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        pytest.param(["--level", "mentions"], "level", "mentions", id="level"),
        pytest.param(["--level", "none"], "level", "none", id="a level called none"),
        pytest.param(
            ["--trigger", "reaction=on", "--trigger", "here=off"], "triggers", {"reaction": True, "here": False}
        ),
        pytest.param(["--online-delay", "30"], "online_delay", 30, id="delay"),
        pytest.param(
            ["--quiet", "fri-sun,22:00-08:00", "--quiet-zone", "device"],
            "quiet",
            [{"days": ["fri", "sat", "sun"], "from": "22:00", "to": "08:00"}],
            id="quiet",
        ),
        pytest.param(
            ["--placeholder", "fr_CA=Bonjour", "--placeholder", "New"], "placeholder", {"fr-ca": "Bonjour", "": "New"}
        ),
    ],
)
def test_settings_of_attention_are_kept(cli, given, name, value):
    cli.ok("app", "create", "demo")
    cli.ok("app", "set", "demo", *given)
    assert cli.json("app", "show", "demo")["settings"][name] == value
    assert cli.ok("app", "show", "demo")


@pytest.mark.parametrize("window", ["22:00-08:00", "fri,22:00-24:00", "sat-mon,22:00-08:00"])
def test_a_quiet_time_is_shown_as_it_is_given(cli, window):
    cli.ok("app", "create", "demo", "--quiet", window, "--quiet-zone", "device")
    assert f"quiet: {window}\n" in cli.ok("app", "show", "demo")


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        pytest.param(["--level", "loud"], "'loud' is none of all, mentions, personal, none", id="a level"),
        pytest.param(["--trigger", "heer=on"], "triggers are direct, mention, reply", id="a trigger"),
        pytest.param(
            ["--remind-trigger", "heer"], "'heer' is none of direct, mention, reply", id="a reminder's trigger"
        ),
        pytest.param(["--remind-after", "59"], "is not a whole number from 60 to 86,400", id="too soon a reminder"),
        pytest.param(["--pad", "15"], "is not a whole number from 16 to 1,024", id="too little padding"),
        pytest.param(["--trigger", "here=maybe"], "is not TRIGGER=on or TRIGGER=off", id="neither on nor off"),
        pytest.param(["--quiet", "22:00-8:00", "--quiet-zone", "device"], "is not HH:MM-HH:MM", id="half a time"),
        pytest.param(["--quiet", "22:00-22:00", "--quiet-zone", "device"], "ends as it begins", id="an empty window"),
        pytest.param(["--quiet", "00:00-24:00", "--quiet-zone", "device"], "have no end", id="always quiet"),
        pytest.param(["--quiet", "mun,22:00-08:00", "--quiet-zone", "device"], "is not HH:MM-HH:MM", id="no day"),
        pytest.param(["--quiet", "22:00-08:00"], "--quiet-zone", id="quiet without a zone"),
        pytest.param(["--online-delay", "601"], "601", id="too long a delay"),
        pytest.param(["--fold-every", "10"], "needs --fold-after", id="an update of nothing"),
        pytest.param(["--online-delay", "30", "--max-age", "30"], "has to be below --max-age", id="never"),
    ],
)
def test_a_setting_of_attention_that_cannot_be_is_refused(cli, given, refusal):
    cli.ok("app", "create", "demo")
    assert refusal in " ".join(cli.refused("app", "set", "demo", *given).split())


@pytest.mark.parametrize(
    ("typed", "delay", "present", "sound"),
    [
        pytest.param("\n\n", 30, "active", 15, id="what the guide recommends"),
        pytest.param("never\nn\n", None, "online", None, id="neither"),
        pytest.param("soon\n20\n700\n60\n", 20, "active", 60, id="asked again until it is right"),
    ],
)
def test_a_person_at_a_terminal_is_asked(cli, monkeypatch, typed, delay, present, sound):
    monkeypatch.setattr("worker.cli.app.at_terminal", bool)
    cli.ok("app", "create", "chat", typed=typed)
    shown = cli.json("app", "show", "chat")["settings"]
    assert (shown["online_delay"], shown["present"], shown["sound_every"]) == (delay, present, sound)
    cli.ok("app", "create", "other", "--member-cap", "7")
    assert cli.json("app", "show", "other")["settings"]["online_delay"] is None
