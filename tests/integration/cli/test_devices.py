"""`carillon push device` and `carillon devices`, over the real stream with an intake at work."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.integration.cli.conftest import Cli
from tests.integration.pipeline.harness import Pipeline
from tests.integration.pipeline.test_subscriptions import AUTH, ENDPOINT, P256DH, subscription
from tests.unit.kinds.toy.browser import BrowserSettings
from worker.core.model import Provider
from worker.providers import kinds


def test_S16_a_device_is_added_listed_and_deleted(pipeline: Pipeline, cli: Cli) -> None:
    said = cli.json("push", "device", "add", "--user", "han", "--token", "AB" * 32, "--locale", "en-GB")
    assert said == {"app": "demo", "user": "han", "added": True}
    [listed] = cli.json("push", "device", "get", "--user", "han")
    assert (listed["token"], listed["active"], listed["locale"]) == ("ab" * 32, True, "en-GB")
    assert "ababab…abab" in cli.ok("push", "device", "get", "--user", "han")
    assert cli.ok("push", "device", "delete", "--token", "ab" * 32) == "deleted\n"
    assert cli.json("push", "device", "get", "--user", "han") == []
    assert cli.ok("push", "device", "get", "--user", "han").startswith(
        "han has no device that could be pushed to; --all"
    )


def test_push_device_delete_says_what_it_did_and_did_not(pipeline: Pipeline, cli: Cli) -> None:
    cli.ok("push", "device", "add", "--user", "bob", "--token", "cafe01")
    for asked, code, said in [
        (("--user", "han", "--token", "cafe01"), 2, "not theirs: it is bob's, nothing changed\n"),
        (("--token", "00ff00ff"), 2, "no such device\n"),
        (("--user", "bob", "--token", "CAFE01"), 0, "deleted\n"),
        (("--token", "cafe01"), 0, "nothing changed: it is registered to nobody any more\n"),
    ]:
        done = cli.run("push", "device", "delete", *asked)
        assert (done.exit_code, done.output) == (code, said)
    assert cli.json("push", "device", "get", "--user", "bob") == []


def test_push_device_delete_wins_over_a_registration_of_the_year_2999(pipeline: Pipeline, cli: Cli) -> None:
    cli.ok("push", "device", "add", "--user", "mallory", "--token", "abcd")
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.devices SET registered_at = 32503680000000, registered_us = 0")
    refused = cli.run("push", "device", "add", "--user", "han", "--token", "abcd")
    assert refused.exit_code == 2 and "a registration of 3000-01-01T00:00:00.000000Z" in refused.stderr
    assert cli.ok("push", "device", "delete", "--token", "abcd") == "deleted\n"
    cli.ok("push", "device", "add", "--user", "han", "--token", "abcd")
    assert [d.user for d in pipeline.devices.of_user("demo", "han")] == ["han"]


def test_push_device_history_tells_what_happened(pipeline: Pipeline, cli: Cli) -> None:
    cli.ok("push", "device", "add", "--user", "han", "--token", "abcd")
    cli.ok("push", "device", "add", "--user", "leia", "--token", "abcd")
    shown = cli.json("push", "device", "history", "--token", "ABCD")
    assert [line["what"] for line in shown["history"]] == ["taken_over", "registered"]
    assert "taken_over" in cli.ok("push", "device", "history", "--id", shown["device"]["id"])


def test_devices_restore_undoes_refusals(pipeline: Pipeline, cli: Cli) -> None:
    cli.ok("push", "device", "add", "--user", "han", "--token", "abcd")
    [device] = pipeline.devices.of_user("demo", "han")
    later = int((datetime.now(UTC) + timedelta(minutes=1)).timestamp() * 1000)
    pipeline.devices.retire(pipeline.provider.id, [(device.id, later, "Unregistered")])
    counted = cli.json("devices", "restore", "--since", "1h", "--dry-run")
    assert counted == {"restored": 0, "restorable": 1, "by_reason": {"Unregistered": 1}}
    assert "1 device restored" in cli.ok("devices", "restore", "--since", "2020-01-01T00:00Z", "--app", "demo")
    assert [d.user for d in pipeline.devices.of_user("demo", "han")] == ["han"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("push", "device", "add", "--user", "han", "--token", "xyz"), "even number of hex", id="a token"),
        pytest.param(
            ("push", "device", "add", "--user", "han", "--token", "ab", "--provider", "fcm"),
            "no provider 'fcm'",
            id="a provider",
        ),
        pytest.param(("push", "device", "get", "--user", "han", "--app", "nope"), "no app 'nope'", id="an app"),
        pytest.param(("push", "device", "history"), "either --id or --token", id="neither of two"),
        pytest.param(("push", "device", "history", "--token", "ab"), "no such device", id="a device"),
        pytest.param(("devices", "restore", "--since", "yesterday"), "--since: expected how long ago", id="a time"),
        pytest.param(("devices", "restore", "--since", "2026-11-21"), "no offset from UTC", id="a time without offset"),
    ],
)
def test_bad_input_gives_one_message_and_exit_code_2(
    pipeline: Pipeline, cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    assert said in cli.refused(*arguments)
    assert pipeline.devices.of_user("demo", "han", retired=True) == []


def test_a_browser_is_added_from_a_file_and_shown_without_what_reaches_it(
    pipeline: Pipeline, cli: Cli, tmp_path: Path
) -> None:
    kinds.register("tests.unit.kinds.toy.browser")
    pipeline.registry.save_provider(Provider(0, "demo", "web", "production", BrowserSettings("box", "hunter2")))
    try:
        file = tmp_path / "subscription.json"
        file.write_bytes(msgspec.json.encode(subscription()))
        file.chmod(0o600)
        added = cli.run("push", "device", "add", "--user", "han", "--subscription-file", file)
        shown = [
            cli.ok(*command, *as_json)
            for command in (("push", "device", "get", "--user", "han"), ("user", "show", "han"))
            for as_json in ((), ("--json",))
        ]
        assert (added.exit_code, pipeline.devices.of_user("demo", "han")[0].platform) == (0, "web")
        assert all("web" in one for one in shown) and "https://push.example/…AABl" in shown[1]
        for secret in (ENDPOINT, P256DH, AUTH):
            assert secret not in added.output + "".join(shown)
        file.write_text('{"endpoint": ')
        refused = cli.run("push", "device", "add", "--user", "han", "--subscription-file", file)
        assert (refused.exit_code, "--subscription-file: it is not" in refused.stderr) == (2, True)
        assert cli.ok("push", "device", "delete", "--token", ENDPOINT) == "deleted\n"
    finally:
        del kinds.KINDS["browser"]
