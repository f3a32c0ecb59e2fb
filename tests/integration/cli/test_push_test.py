"""S15: a real push to a user's own devices, and what became of each."""

import json
import time
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet

from producers import events as ev
from tests.integration.cli.conftest import redis_of
from worker.simulator import Answer
from worker.state import recent
from worker.state.partition import untagged

GONE = int(time.time() * 1000)


@pytest.fixture
def han(with_key, registry):
    """Han with two devices, in the channel `general`."""
    [id] = registry.providers()
    with registry._pool.connection() as db:
        db.execute("INSERT INTO carillon.members VALUES ('chat', 'general', 'han', 0, true)")
        for token, locale in (("aa01", None), ("aa02", "fr")):
            db.execute(
                "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active, locale)"
                " VALUES ('chat', %s, 'han', %s, 0, true, %s)",
                (token, id, locale),
            )
    return with_key


def written(channel: str, text: str) -> ev.MessageNew:
    return ev.MessageNew(
        id="e1",
        app="chat",
        at=datetime.now(UTC),
        channel=ev.Channel(id=channel),
        message=ev.Message(id="m1", text=text),
        sender=ev.Sender(id="leia"),
    )


def keep(cli, *messages: ev.MessageNew) -> None:
    documents = [(one.app, one.channel.id, ev.encode(one)) for one in messages]
    recent.keep(untagged(redis_of(cli)), documents, now=time.time())


def test_S15_a_recent_message_of_a_channel_of_theirs_goes_to_all_their_devices(han, apns):
    keep(han, written("secret", "not for han"), written("general", "for han"))
    done = han.json("push", "test", "han")
    assert "channel 'general'" in done["message"]
    assert [(one["token"], one["accepted"]) for one in done["devices"]] == [("aa01", True), ("aa02", True)]
    assert sorted(entry.token for entry in apns.accepted) == ["aa01", "aa02"]
    payloads = [json.loads(entry.payload) for entry in apns.accepted]
    assert {one["aps"]["alert"]["body"] for one in payloads} == {"for han"}
    assert all("badge" not in one["aps"] for one in payloads)


def test_a_message_that_may_not_be_read_on_the_way_is_sent_to_nobody(han, apns):
    keep(han, written("general", "for han alone"))
    han.ok("app", "set", "chat", "--privacy", "sender")
    assert "those kept may not be read on the way" in han.json("push", "test", "han")["message"]
    assert not [entry for entry in apns.accepted if "for han alone" in entry.payload]


def test_it_is_rendered_with_the_template_of_the_device_s_language(han, apns, tmp_path):
    (french := tmp_path / "fr.json").write_text('{"aps": {"alert": "{{ recipient.id }}: {{ message.text }}"}}')
    han.ok("template", "set", french, "--locale", "fr")
    han.ok("push", "test", "han", "--message", "salut")
    alerts = {entry.token: json.loads(entry.payload)["aps"]["alert"] for entry in apns.accepted}
    assert alerts["aa02"] == "han: salut"
    assert alerts["aa01"]["body"] == "salut"


def test_each_result_is_shown_and_a_refusal_ends_with_1(han, apns):
    apns.set_tokens({"aa01": Answer("Unregistered", timestamp=GONE)})
    done = han.run("push", "test", "han", "--message", "hello")
    assert done.exit_code == 1
    assert "FAIL device" in done.stdout and "410 Unregistered" in done.stdout
    assert "registers again when it is opened" in done.stdout
    assert "ok   device" in done.stdout


def test_a_credential_that_no_key_decrypts_is_said(han, apns):
    han.keys[:] = [Fernet.generate_key().decode()]
    done = han.run("push", "test", "han", "--app", "chat")
    assert done.exit_code == 1 and "CARILLON_SECRET_KEYS" in done.stdout and "PEM" not in done.stdout


def test_a_simulator_of_its_own_takes_it_without_a_credential(han, apns):
    han.keys[:] = [Fernet.generate_key().decode()]
    done = han.json("push", "test", "han", "--message", "hello", "--simulator")
    assert [one["accepted"] for one in done["devices"]] == [True, True]
    assert json.loads(done["devices"][0]["payload"])["aps"]["alert"]["body"] == "hello"
    assert "to nobody's phone" in han.ok("push", "test", "han", "--message", "hello", "--simulator")
    assert "one of them" in han.refused("push", "test", "han", "--simulator", "--dry-run")
    assert apns.accepted == []


def test_a_dry_run_sends_nothing(han, apns):
    said = han.ok("push", "test", "han", "--dry-run")
    assert "nothing was sent" in said and "a sample, for no recent message" in said
    assert apns.accepted == []


def test_one_device_may_be_chosen(han, apns):
    done = han.json(
        "push", "test", "han", "--device", "AA02", "--message", json.dumps(json.loads(ev.encode(written("x", "y"))))
    )
    assert [one["token"] for one in done["devices"]] == ["aa02"]
    assert [entry.token for entry in apns.accepted] == ["aa02"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["luke"], "has no device", id="nobody"),
        pytest.param(["han", "--device", "ff"], "no such device", id="another's device"),
        pytest.param(["han", "--message", "{}"], "message: ", id="no message"),
        pytest.param(["han", "--app", "x"], "known: chat", id="app"),
    ],
)
def test_bad_input_is_refused(han, arguments, said):
    assert said in han.refused("push", "test", *arguments)
