"""`carillon push web`: what it makes, what it keeps, and what it refuses."""

import re

import pytest

from tests.integration.cli.conftest import cli, registry, rows  # noqa: F401 - fixtures
from tests.integration.pipeline.keys import new_key
from worker.providers.web.vapid import key_pair, new_key_pair

SUBJECT = ("--subject", "mailto:push@example.com")


@pytest.fixture
def session(cli):  # noqa: F811
    cli.ok("app", "create", "chat")
    return cli


def stored(registry):  # noqa: F811
    [one] = registry.providers().values()
    return one


def test_it_makes_a_key_pair_and_prints_the_public_key_alone(session, registry):  # noqa: F811
    shown = session.ok("push", "web", *SUBJECT)
    provider = stored(registry)
    [public] = re.findall(r"\b[A-Za-z0-9_-]{87}\b", shown)
    assert (provider.name, provider.kind, provider.settings.public_key) == ("web", "web", public)
    assert key_pair(provider.settings.private_key).public == public
    assert provider.settings.private_key not in shown
    assert not [row for row in rows(session, "providers") if provider.settings.private_key in repr(row)]
    [row] = session.json("push", "list")
    assert (row["kind"], row["subject"], row["public_key"]) == ("web", "mailto:push@example.com", public)


def test_a_change_keeps_the_key_pair_and_what_is_not_given(session, registry):  # noqa: F811
    before = session.json("push", "web", *SUBJECT)
    page = "https://chat.example.com/c/{channel}"
    after = session.json("push", "web", "--page", page)
    assert (after["public_key"], after["subject"], after["page"]) == (before["public_key"], before["subject"], page)
    assert (before["replaced"], after["replaced"]) == (False, True)
    assert session.json("push", "web", "--subject", "https://example.com")["page"] == page
    assert session.json("push", "web", "--page", "")["page"] is None


@pytest.mark.parametrize("form", ["PEM", "base64url"])
def test_a_key_of_another_sender_is_brought_along(session, registry, tmp_path, form):  # noqa: F811
    keys = new_key_pair()
    text = new_key() if form == "PEM" else keys.private
    file = tmp_path / "vapid"
    file.write_text(text)
    file.chmod(0o600)
    shown = session.json("push", "web", *SUBJECT, "--private-key", str(file))
    assert shown["public_key"] == key_pair(text).public


def test_the_keys_that_encrypt_can_be_rotated(session, registry):  # noqa: F811
    before = session.json("push", "web", *SUBJECT)
    session.ok("secrets", "rotate")
    assert key_pair(stored(registry).settings.private_key).public == before["public_key"]


def test_another_key_says_what_it_costs_and_asks(session, registry):  # noqa: F811
    before = session.json("push", "web", *SUBJECT)
    assert session.json("push", "web", "--new-key")["public_key"] != before["public_key"], "nobody has subscribed"
    provider = stored(registry)
    with registry._pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
            " VALUES ('chat', 'https://fcm.googleapis.com/wp/a', 'leia', %s, 0, true)",
            (provider.id,),
        )
    refused = session.refused("push", "web", "--new-key")
    assert "1 browser of 'web' would get nothing until" in refused and "--yes" in refused
    assert stored(registry).settings == provider.settings
    after = session.json("push", "web", "--new-key", "--yes")
    assert after["public_key"] != provider.settings.public_key


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "--subject", id="no subject"),
        pytest.param(["--subject", "push@example.com"], "mailto:", id="a bare address"),
        pytest.param(["--subject", "mailto:push@localhost"], "nobody can be reached", id="this machine"),
        pytest.param([*SUBJECT, "--page", "/c/{channel}"], "an https URL", id="a page without its host"),
        pytest.param([*SUBJECT, "--page", "https://a.example/{user}"], "all that can be put in", id="another word"),
        pytest.param([*SUBJECT, "--private-key", "/nowhere"], "cannot be read", id="no such file"),
        pytest.param([*SUBJECT, "--private-key", "/etc/hostname"], "neither PEM text", id="a file that is no key"),
        pytest.param([*SUBJECT, "--private-key", "x", "--new-key"], "not both", id="two keys"),
        pytest.param([*SUBJECT, "--host", "localhost"], "needs its CA", id="a simulator without its CA"),
        pytest.param([*SUBJECT, "--port", "8443"], "give its --host", id="a port of nothing"),
        pytest.param([*SUBJECT, "--name", "a b"], "name:", id="a name that is none"),
    ],
)
def test_bad_input_gives_one_sentence_and_stores_nothing(session, registry, arguments, said):  # noqa: F811
    assert said in session.refused("push", "web", *arguments)
    assert registry.providers() == {}


def test_a_name_of_another_kind_is_refused(session, registry, monkeypatch):  # noqa: F811
    monkeypatch.setenv("CARILLON_WEBHOOK_ALLOW", "127.0.0.0/8")
    session.ok("push", "webhook", "--url", "https://127.0.0.1/push", "--name", "web")
    assert "is a webhook" in session.refused("push", "web", *SUBJECT)
    assert stored(registry).kind == "webhook"
