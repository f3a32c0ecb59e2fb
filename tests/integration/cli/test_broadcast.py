"""Broadcast channels from a shell, at a simulator of Apple's over TLS."""

import pytest

from tests.integration.cli.conftest import Cli, apn, rows
from worker.simulator import Settings, SimulatorThread


def test_a_channel_is_made_listed_shown_and_deleted(with_key: Cli) -> None:
    kept = with_key.json("broadcast", "create", "--stored")
    plain = with_key.ok("broadcast", "create", "--app", "chat").split()[2].rstrip(",")
    assert kept["stored"] and with_key.json("broadcast", "list")["channels"] == [kept["channel"], plain]
    assert "stores the newest update" in with_key.ok("broadcast", "show", kept["channel"])
    assert not with_key.json("broadcast", "show", plain)["stored"]
    assert "--yes" in with_key.refused("broadcast", "delete", plain)
    with_key.ok("broadcast", "delete", plain, "--yes")
    assert with_key.ok("broadcast", "list") == f"{kept['channel']}\n"
    acts = [(row["act"], row["target"]) for row in with_key.json("audit", "--limit", "3")]
    assert acts == [
        ("broadcast channel deleted", plain),
        ("broadcast channel created", plain),
        ("broadcast channel created", kept["channel"]),
    ]


def test_what_apple_refuses_is_a_sentence_and_leaves_no_act(with_key: Cli) -> None:
    before = len(rows(with_key, "audit"))
    for command in (("show",), ("delete", "--yes")):
        done = with_key.run("broadcast", command[0], "bm9uZQ==", *command[1:])
        assert done.exit_code == 1 and "no such broadcast channel in production" in " ".join(done.stderr.split())
    assert "no id of a broadcast channel" in " ".join(with_key.run("broadcast", "show", "!").stderr.split())
    assert len(rows(with_key, "audit")) == before


def test_an_app_without_a_provider_at_apns_has_no_channels(cli: Cli) -> None:
    cli.ok("app", "create", "chat")
    assert "--provider: name one of app 'chat' at APNs; known: none" in cli.refused("broadcast", "list")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(broadcasts=False), "has no capability for broadcast channels"),
        (Settings(max_channels=0), "as many broadcast channels as Apple allows"),
    ],
    ids=["capability", "limit"],
)
def test_a_channel_that_may_not_be_made(cli: Cli, key_file, settings: Settings, sentence: str) -> None:
    with SimulatorThread(settings) as simulator:
        cli.ok("app", "create", "chat")
        cli.ok(*apn(key_file), "--host", "localhost", "--port", simulator.port, "--ca", simulator.ca_path)
        done = cli.run("broadcast", "create")
    assert done.exit_code == 1 and sentence in " ".join(done.stderr.replace("│", " ").split())
