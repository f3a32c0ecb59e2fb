"""`carillon push fcm`: what it stores, what it asks for, and what it refuses."""

import json

import pytest

from tests.integration.cli.conftest import cli, registry, rows  # noqa: F401 - fixtures
from tests.unit.fcm.key_files import EMAIL, KEY_ID, PROJECT, account, key_file, pem, rsa_key
from worker.cli import _fcm
from worker.simulator import FcmSettings, SimulatorThread
from worker.simulator.fcm.settings import Account

SECRET = pem(rsa_key()).splitlines()[1]
TOKEN = f"cFoo_bar-baz0123456789:APA91b{'x' * 130}"


@pytest.fixture
def session(cli):  # noqa: F811
    cli.ok("app", "create", "chat")
    return cli


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "service-account.json"
    path.write_bytes(key_file())
    path.chmod(0o600)
    return path


def stored(registry):  # noqa: F811
    [one] = registry.providers().values()
    return one


def test_a_key_file_is_stored_encrypted_and_shown_nowhere(session, registry, file):  # noqa: F811
    said = session.ok("push", "fcm", "--service-account", file, "--display", "app", "--app", "chat")
    provider = stored(registry)
    assert (provider.kind, provider.name, provider.settings.display) == ("fcm", "fcm", "app")
    assert provider.settings.account == account()
    assert f"for project {PROJECT}" in said and "docs/fcm.md" in said
    assert SECRET not in said + session.ok("push", "list", "--json")
    assert not [row for row in rows(session, "providers") if SECRET in repr(row)]
    [row] = session.json("push", "list")
    assert (row["kind"], row["project"], row["key_id"], row["display"]) == ("fcm", PROJECT, KEY_ID, "app")


def test_a_key_file_comes_on_standard_input_too(session, registry, file):  # noqa: F811
    done = session.run("push", "fcm", "--service-account", "-", "--display", "system", typed=file.read_text())
    assert done.exit_code == 0, done.output
    assert stored(registry).settings.account == account()


def test_a_change_keeps_what_is_not_given(session, registry, file):  # noqa: F811
    session.ok("push", "fcm", "--service-account", file, "--display", "system", "--channel-id", "messages")
    session.ok("push", "fcm", "--channel-id", "calls")
    settings = stored(registry).settings
    assert (settings.display, settings.channel_id, settings.account) == ("system", "calls", account())
    session.ok("push", "fcm", "--display", "app")
    assert (stored(registry).settings.display, stored(registry).settings.channel_id) == ("app", None)
    assert session.json("push", "fcm", "--service-account", file)["replaced"]
    assert stored(registry).settings.display == "app"


def test_the_keys_that_encrypt_can_be_rotated(session, registry, file):  # noqa: F811
    session.ok("push", "fcm", "--service-account", file, "--display", "app")
    session.ok("secrets", "rotate")
    assert stored(registry).settings.account == account()


def test_in_a_terminal_it_asks_until_each_answer_is_right(session, registry, file, monkeypatch):  # noqa: F811
    monkeypatch.setattr(_fcm, "at_terminal", lambda _: True)
    done = session.run("push", "fcm", typed=f"/nowhere.json\n{file}\nboth\nsystem\n")
    assert done.exit_code == 0, done.output
    assert "cannot be read" in done.output and "'both' is neither" in done.output
    assert stored(registry).settings.display == "system"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--display", "app"], "--service-account: needed", id="no file"),
        pytest.param(["--service-account", "FILE"], "--display: needed", id="no display, which has no default"),
        pytest.param(["--service-account", "FILE", "--display", "both"], "display: 'both'", id="another display"),
        pytest.param(["--service-account", "/nowhere", "--display", "app"], "cannot be read", id="no such file"),
        pytest.param(["--service-account", "FILE", "--display", "app", "--channel-id", "x"], "channel id", id="a channel"),
        pytest.param(["--service-account", "FILE", "--display", "app", "--name", "a b"], "name:", id="a name that is none"),
        pytest.param(["--service-account", "FILE", "--display", "app", "--host", "evil.example"], "ca:", id="another host"),
        pytest.param(["--service-account", "FILE", "--display", "app", "--port", "8443"], "simulator", id="another port"),
    ],
)  # fmt: skip
def test_bad_input_gives_one_message_and_stores_nothing(session, registry, file, arguments, said):  # noqa: F811
    assert said in session.refused("push", "fcm", *[file if one == "FILE" else one for one in arguments])
    assert registry.providers() == {}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"project_info": {}}, "google-services.json", id="the app's own file"),
        pytest.param({"type": "external_account"}, "external_account", id="an external account"),
        pytest.param({"private_key": pem(rsa_key())[:200]}, "cut off", id="a cut key"),
        pytest.param({"token_uri": "https://evil.example"}, "token_uri", id="another endpoint"),
    ],
)
def test_a_wrong_file_is_named_and_stores_nothing(session, registry, file, changed, said):  # noqa: F811
    file.write_bytes(key_file(**changed))
    assert said in session.refused("push", "fcm", "--service-account", file, "--display", "app")
    assert registry.providers() == {}


def test_a_provider_with_devices_keeps_its_project_and_its_kind(session, registry, file):  # noqa: F811
    session.ok("push", "fcm", "--service-account", file, "--display", "app")
    register(registry)
    file.write_bytes(key_file(project_id="another-project"))
    refused = session.refused("push", "fcm", "--service-account", file)
    assert f"is for project {PROJECT} and has 1 device" in refused
    assert "is a fcm" in session.refused("push", "apn", "--name", "fcm", "--bundle-id", "io.team.App")


def register(registry, platform="android"):  # noqa: F811
    with registry._pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active, platform)"
            " VALUES ('chat', %s, 'han', %s, 0, true, %s)",
            (TOKEN, stored(registry).id, platform),
        )


@pytest.fixture
def simulator():
    known = Account(EMAIL, KEY_ID, pem(rsa_key()), PROJECT)
    with SimulatorThread(FcmSettings(accounts=(known,), control_port=0)) as simulator:
        yield simulator


@pytest.fixture
def at_simulator(session, registry, file, simulator):  # noqa: F811
    place = ("--host", "localhost", "--port", simulator.port, "--ca", simulator.ca_path)
    session.ok("push", "fcm", "--service-account", file, "--display", "system", *place)
    register(registry)
    return session


def test_a_test_push_arrives(at_simulator, simulator):
    [device] = at_simulator.json("push", "test", "han", "--message", "hello")["devices"]
    assert device["accepted"] and TOKEN not in str(device)
    [entry] = simulator.accepted
    assert json.loads(entry.payload)["message"]["android"]["notification"]["body"] == "hello"


def test_a_dry_run_asks_fcm_and_reaches_nobody(at_simulator, simulator):
    outcome = at_simulator.json("push", "test", "han", "--message", "hello", "--dry-run")
    assert not outcome["sent"] and outcome["devices"][0]["valid"]
    assert (
        "ok   device" in (said := at_simulator.ok("push", "test", "han", "--dry-run")) and "FCM would accept it" in said
    )
    assert not simulator.accepted


def test_a_dry_run_that_fcm_refuses_fails(at_simulator, registry):  # noqa: F811
    with registry._pool.connection() as db:
        db.execute("UPDATE carillon.devices SET token = 'short'")
    done = at_simulator.run("push", "test", "han", "--dry-run")
    assert done.exit_code == 1
    assert "400 INVALID_ARGUMENT:message.token" in done.stdout and "register the device again" in done.stdout


def test_doctor_proves_the_account_without_a_device(at_simulator, simulator):
    done = at_simulator.run("doctor", "--no-workers")
    assert f"accepts its service account for project {PROJECT}" in " ".join(done.stdout.split())
    assert not simulator.accepted


def test_a_preview_is_the_exact_request(at_simulator):
    shown = at_simulator.json("template", "preview", "--provider", "fcm")
    assert shown["headers"][":path"] == f"/v1/projects/{PROJECT}/messages:send"
    assert shown["headers"]["authorization"] == "Bearer (access token)"
    assert json.loads(shown["body"])["message"]["android"]["notification"]
