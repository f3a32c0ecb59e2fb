"""`carillon push webhook`: what it stores, what it shows once, and what it refuses."""

import json

import pytest
from psycopg import connect

from tests.integration.cli.conftest import cli, registry, rows  # noqa: F401 - fixtures
from tests.integration.webhook.conftest import SECRET
from worker.core.model import Answer, NoAnswer, Provider
from worker.providers.webhook.kind import KIND
from worker.providers.webhook.settings import WebhookSettings

URL = "https://127.0.0.1/push"


@pytest.fixture
def session(cli, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CARILLON_WEBHOOK_ALLOW", "127.0.0.0/8,::1/128")
    cli.ok("app", "create", "chat")
    return cli


def stored(registry):  # noqa: F811
    [one] = registry.providers().values()
    return one


def test_a_secret_that_is_made_is_shown_once_and_signs(session, registry):  # noqa: F811
    shown = session.json("push", "webhook", "--url", URL)
    provider = stored(registry)
    assert provider.kind == "webhook" and provider.settings.url == URL
    assert provider.settings.secrets == (shown["secret"],)
    assert len(shown["secret"]) >= 32
    assert shown["secret"] not in session.ok("push", "list", "--json")
    assert shown["secret"] not in repr(provider)
    assert not [row for row in rows(session, "providers") if shown["secret"].encode() in repr(row).encode()]


def test_a_rotation_has_two_secrets_until_the_old_one_is_dropped(session, registry):  # noqa: F811
    session.ok("push", "webhook", "--url", URL, "--secret", SECRET)
    shown = session.json("push", "webhook", "--rotate-secret")
    assert stored(registry).settings.secrets == (shown["secret"], SECRET)
    assert "secret" not in session.json("push", "webhook", "--url", URL + "/2"), "a change of the address keeps them"
    assert stored(registry).settings.secrets == (shown["secret"], SECRET)
    session.ok("push", "webhook", "--drop-old-secret")
    assert stored(registry).settings.secrets == (shown["secret"],)


def test_the_keys_that_encrypt_can_be_rotated(session, registry):  # noqa: F811
    session.ok("push", "webhook", "--url", URL, "--secret", SECRET)
    session.ok("secrets", "rotate")
    assert stored(registry).settings.secrets == (SECRET,)


def test_a_list_of_providers_names_its_host_and_no_more(session):
    session.ok("push", "webhook", "--url", URL + "?key=hunter2", "--signing", "jwt")
    [row] = session.json("push", "list")
    assert (row["kind"], row["host"]) == ("webhook", "127.0.0.1")
    assert "hunter2" not in str(row)


def test_what_an_address_holds_beyond_its_host_is_stored_encrypted_and_not_shown(session, registry):  # noqa: F811
    shown = session.ok("push", "webhook", "--url", URL + "/T0/hunter2?key=hunter3", "--secret", SECRET)
    assert stored(registry).settings.url == URL + "/T0/hunter2?key=hunter3"
    assert not [row for row in rows(session, "providers") if "hunter" in repr(row)]
    preview = session.json("template", "preview")
    assert preview["headers"][":url"].endswith("?…")
    assert "hunter3" not in shown + str(preview)


def test_an_address_that_a_release_before_stored_in_clear_is_used_and_encrypted_by_a_rotation(session, registry):  # noqa: F811
    session.ok("push", "webhook", "--url", URL, "--secret", SECRET)
    with registry._pool.connection() as db:
        db.execute("UPDATE carillon.providers SET url = %s, password = NULL", (URL + "?key=hunter2",))
    assert stored(registry).settings.url == URL + "?key=hunter2"
    session.ok("secrets", "rotate")
    assert stored(registry).settings.url == URL + "?key=hunter2"
    assert not [row for row in rows(session, "providers") if "hunter2" in repr(row)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--url", "http://example.com/push"], "only https", id="http"),
        pytest.param(["--url", "ftp://example.com"], "only https", id="another scheme"),
        pytest.param(["--url", "https://u:p@127.0.0.1/"], "without a user", id="a password in it"),
        pytest.param(["--url", "https://127.0.0.1:99999/"], "not a URL", id="no port"),
        pytest.param(["--url", "https://127.0.0.1:0/"], "port 0", id="port 0"),
        pytest.param(["--url", "https://168.63.129.16/"], "not public", id="Azure's host agent"),
        pytest.param(["--url", "https://10.0.0.1/push"], "CARILLON_WEBHOOK_ALLOW", id="a private address"),
        pytest.param(["--url", "https://169.254.169.254/latest"], "not public", id="a cloud's metadata"),
        pytest.param(["--url", "https://nowhere.invalid/push"], "does not resolve", id="no such host"),
        pytest.param([], "--url", id="no address"),
        pytest.param(["--url", URL, "--secret", "short"], "--secret", id="a short secret"),
        pytest.param(["--url", URL, "--signing", "rot13"], "hmac or jwt", id="another signature"),
        pytest.param(["--url", URL, "--rotate-secret"], "no secret yet", id="nothing to rotate"),
        pytest.param(["--url", URL, "--ca", "/nowhere.pem"], "cannot be read", id="no such CA"),
        pytest.param(["--url", URL, "--name", "a b"], "name:", id="a name that is none"),
    ],
)
def test_bad_input_gives_one_message_and_changes_nothing(session, registry, arguments, said):  # noqa: F811
    assert said in session.refused("push", "webhook", *arguments)
    assert registry.providers() == {}


def test_S15_a_test_push_goes_to_a_webhook_s_devices_too(cli, registry, receiver, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CARILLON_WEBHOOK_ALLOW", "127.0.0.0/8,::1/128")
    cli.ok("app", "create", "chat")
    cli.ok("push", "webhook", "--url", receiver.url, "--ca", receiver.ca_path)
    with registry._pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
            " VALUES ('chat', 'any string', 'han', %s, 0, true)",
            (stored(registry).id,),
        )
    [device] = cli.json("push", "test", "han", "--message", "hello")["devices"]
    assert device["accepted"]
    [one] = receiver.got[0].recipients
    assert (one["device_id"], one["user"]) == ("any string", "han")
    findings = json.loads(cli.run("doctor", "--no-workers", "--timeout", "5", "--json").stdout)
    [seen] = [row for row in findings if "webhook" in str(row)]
    assert "where a webhook may be" in str(seen)


def test_a_preview_shows_the_request_that_a_webhook_gets_and_no_signature(session):
    session.ok("push", "webhook", "--url", URL, "--secret", SECRET)
    shown = session.json("template", "preview", "--badge", "3")
    assert (shown["headers"][":url"], shown["headers"]["Carillon-Signature"]) == (URL, "(made with the secret)")
    assert not [name for name in shown["headers"] if name.startswith("apns-")]
    body = json.loads(shown["body"])
    [recipient] = body["recipients"]
    assert body["batch"] == shown["headers"]["Carillon-Batch"]
    assert (recipient["badge"], recipient["payload"]) == (3, json.loads(shown["payload"]))


def test_nowhere_is_a_webhook_taken_for_a_way_to_apple(session):
    session.ok("push", "webhook", "--url", URL)
    for command in (("push", "list"), ("app", "show", "chat"), ("provider", "list")):
        said = session.ok(*command) + str(session.json(*command))
        assert "production" not in said and "APNs" not in said and "Apple" not in said
    assert "webhook at 127.0.0.1" in session.ok("app", "show", "chat")
    [provider] = session.json("push", "list")
    with connect(session.postgres_url) as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
            " SELECT 'chat', 'phone', 'han', id, 0, true FROM carillon.providers"
        )
    assert f"{provider['name']} (webhook): 1 device of 1 user" in session.ok(
        "push", "send", "--everyone", "--alert", "x", "--dry-run"
    )
    away = Provider(1, "chat", "hook", "production", WebhookSettings("https://127.0.0.1:1/x"))
    for response in (NoAnswer("not_sent", "connect: refused"), Answer(404, None)):
        assert "Apple" not in KIND.advice(response, away) and "push apn" not in KIND.advice(response, away)


def test_a_name_of_another_kind_is_refused_by_every_kind(session, registry, tmp_path):  # noqa: F811
    session.ok("push", "webhook", "--name", "first", "--url", URL)
    session.ok("push", "web", "--name", "second", "--subject", "mailto:push@example.com")
    words = "choose another name, or change it with: carillon push"
    assert f"is a webhook; {words} webhook" in session.refused("push", "web", "--name", "first")
    for command in ("apn", "fcm"):
        assert f"is a webhook; {words} webhook" in session.refused("push", command, "--name", "first")
    assert f"is a web; {words} web" in session.refused("push", "webhook", "--name", "second", "--url", URL)
    assert sorted(provider.kind for provider in registry.providers().values()) == ["web", "webhook"]
    session.ok("push", "remove", "first", "--yes")
    session.ok("push", "web", "--name", "first", "--subject", "mailto:push@example.com")
