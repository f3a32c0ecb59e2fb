"""`carillon publish` names each event, and warns where nobody can be notified of it."""

import json

import psycopg
import pytest

from tests.integration.cli.conftest import Cli
from worker.providers.kinds import commands

MESSAGE = ("publish", "--app", "chat", "--channel", "general", "--sender", "leia", "--text", "hello", "--id", "e1")
APP = "INSERT INTO carillon.apps (name) VALUES ('chat')"
PROVIDER = (
    "INSERT INTO carillon.providers (app, name, environment, topic, team_id, key_id, credential, host, port)"
    " VALUES ('chat', 'apns', 'sandbox', 't', 't', 'k', '', 'localhost', 1)"
)
CHANNEL = "INSERT INTO carillon.channels (app, id) VALUES ('chat', 'general')"
MEMBERS = "INSERT INTO carillon.members (app, channel, user_id, at, present) VALUES ('chat', 'general', '{}', 1, true)"
DEVICE = (
    "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
    " SELECT 'chat', 'aa', 'han', id, 1, true FROM carillon.providers"
)
OFF = "UPDATE carillon.apps SET push_enabled = false"


@pytest.mark.parametrize(
    ("there", "more", "warning"),
    [
        ([], (), "there is no app 'chat': carillon app create chat"),
        ([APP, OFF], (), "app 'chat' has its pushes switched off: carillon app set chat --push"),
        ([APP], (), f"app 'chat' has no provider: {commands('chat')}"),
        ([APP, PROVIDER], (), "channel 'general' is not known: carillon member add general USER --app chat"),
        (
            [APP, PROVIDER, CHANNEL, MEMBERS.format("leia")],
            (),
            "nobody but leia is in channel 'general': carillon member add general USER --app chat",
        ),
        (
            [APP, PROVIDER, CHANNEL, MEMBERS.format("han")],
            (),
            "none of them has a device: carillon push device add --app chat --user USER --token TOKEN",
        ),
        (
            [APP, PROVIDER],
            ("--recipient", "han"),
            "none of them has a device: carillon push device add --app chat --user USER --token TOKEN",
        ),
        ([APP, PROVIDER, DEVICE], ("--recipient", "han"), None),
        ([APP, PROVIDER, CHANNEL, MEMBERS.format("han"), DEVICE], (), None),
    ],
)
def test_a_message_that_reaches_nobody_is_published_with_a_warning(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, there: list[str], more: tuple[str, ...], warning: str | None
) -> None:
    monkeypatch.setattr("worker.cli._nobody._PATIENCE", 0.0)
    with psycopg.connect(cli.postgres_url) as db:
        for statement in there:
            db.execute(statement.encode())
    done = cli.run(*MESSAGE, *more)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1:] == ["  e1", "what becomes of it: carillon why e1 --app chat"]
    expected = [] if warning is None else [f"nobody is notified of e1: {warning}"]
    assert done.stderr.splitlines() == [f"carillon: warning: {text}" for text in expected]
    done = cli.run(*MESSAGE, *more, "--json")
    outcome = json.loads(done.stdout)
    assert (outcome["events"], outcome["warnings"]) == (["e1"], expected)


def test_a_machine_without_postgres_publishes_without_warnings(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARILLON_POSTGRES_URL")
    done = cli.run(*MESSAGE)
    assert (done.exit_code, done.stderr) == (0, "")
