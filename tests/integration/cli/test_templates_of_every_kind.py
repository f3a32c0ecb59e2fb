"""The examples of docs/templates.md, one for each kind of provider: stored, previewed, and delivered by one message."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producers import events as ev
from tests.integration.cli.conftest import Cli
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from tests.processes import ROOT
from tests.unit.fcm.key_files import EMAIL, KEY_ID, PROJECT, account, pem, rsa_key
from worker.core.model import Provider
from worker.providers.fcm.access_token import AccessTokenError
from worker.providers.fcm.client import FcmClient
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fleet_tokens import FleetTokens
from worker.providers.web.client import WebClient
from worker.providers.web.endpoint import SERVICES
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair
from worker.sender.sender import Sender
from worker.simulator import FcmSettings as FcmSimulator
from worker.simulator import SimulatorThread
from worker.simulator import WebSettings as WebSimulator
from worker.simulator.fcm.settings import Account
from worker.simulator.web.subscriptions import Wish, make
from worker.state.partition import Keyspace
from worker.state.provider_tokens import ProviderTokens

VAPID = new_key_pair()
KINDS = ("apns", "fcm", "web")
REGISTRATION = f"{'han':-<20}:APA91b{'x' * 130}"


def example(kind: str) -> str:
    """The first template under the kind's heading."""
    heading = {"apns": "For APNs and webhooks", "fcm": "For FCM", "web": "For Web Push"}[kind]
    page = (ROOT / "docs" / "templates.md").read_text()
    found = re.search(rf"## {heading}\n.*?```json\n(.*?)```", page, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def fcm() -> Iterator[SimulatorThread]:
    with SimulatorThread(FcmSimulator(accounts=(Account(EMAIL, KEY_ID, pem(rsa_key()), PROJECT),))) as simulator:
        yield simulator


@pytest.fixture
def web() -> Iterator[SimulatorThread]:
    with SimulatorThread(WebSimulator(seed=7)) as simulator:
        yield simulator


@pytest.fixture
def pipeline(
    postgres_url: str, redis_url: str, cli: Cli, fcm: SimulatorThread, web: SimulatorThread
) -> Iterator[Pipeline]:
    """The app `demo` with a provider of each kind, and Han with a device of each."""
    made = Pipeline(postgres_url, redis_url)
    made.now = time.time() - 100
    cli.keys[:] = [made.secret_key]
    google = FcmSettings(account(), "app", host="localhost", port=fcm.port, ca=fcm.ca_pem)
    made.registry.save_provider(Provider(0, "demo", "fcm", "production", google))
    there: dict[str, Any] = {"host": "127.0.0.1", "port": web.port, "ca": web.ca_pem}
    browsers = WebSettings("mailto:push@example.com", VAPID.public, VAPID.private, "", **there)
    made.registry.save_provider(Provider(0, "demo", "web", "production", browsers))
    tokens = FleetTokens(ProviderTokens(Keyspace(made.redis).fleet), faults=(AccessTokenError,))
    made.clients["fcm"] = FcmClient(Sender(), tokens, connections=1, proxy=None)
    made.clients["web"] = WebClient(unseal=made.registry.device_secrets.unseal, hosts=SERVICES)
    general = ev.ChannelId(id="general")
    made.publish(ev.MemberAdded(**stamp(seconds(made)), channel=general, users=["leia", "han"]))
    [browser] = make(7, Wish("mozilla", first=0, key=VAPID.public))
    given = ev.Subscription(endpoint=browser["endpoint"], keys=ev.SubscriptionKeys(**browser["keys"]))
    for device in (
        ev.Device(token=token("han"), platform="ios"),
        ev.Device(token=REGISTRATION, platform="android"),
        ev.Device(subscription=given, platform="web"),
    ):
        made.publish(ev.DeviceRegistered(**stamp(seconds(made)), user="han", device=device))
    yield made
    made.clients["fcm"].close()
    made.clients["web"].close()
    made.close()


def seconds(pipeline: Pipeline) -> float:
    """Since the harness's own time."""
    return pipeline.now - START.timestamp()


def stored(cli: Cli, tmp_path: Path) -> None:
    for kind in KINDS:
        (file := tmp_path / f"{kind}.json").write_text(example(kind))
        cli.ok("template", "set", file, "--app", "demo", "--provider", kind)


def test_each_is_stored_and_delivered_as_it_was_previewed(
    pipeline: Pipeline, cli: Cli, fcm: SimulatorThread, web: SimulatorThread, tmp_path: Path
) -> None:
    stored(cli, tmp_path)
    written = message(text="hello", data={"n": 7}, seconds=seconds(pipeline))
    (event := tmp_path / "event.json").write_bytes(ev.encode(written))
    shown = {
        kind: cli.json("template", "preview", "--app", "demo", "--provider", kind, "--message", event, "--user", "han")
        for kind in KINDS
    }
    assert {kind: one["rendered_by"] for kind, one in shown.items()} == dict.fromkeys(KINDS, "the stored template")
    pipeline.publish(written)
    [iphone] = pipeline.run()
    assert fcm.refused == web.refused == []
    assert json.loads(iphone.payload) == json.loads(shown["apns"]["payload"])
    [android], [browser] = fcm.accepted, web.accepted
    assert json.loads(browser.payload) == json.loads(shown["web"]["body"])
    expected, sent = json.loads(shown["fcm"]["body"])["message"], json.loads(android.payload)["message"]
    # Whom it is for, its id, and the seconds that are left are the device's own.
    for found in (expected, sent):
        del found["token"], found["data"]["id"], found["android"]["ttl"]
    assert sent == expected
    assert sent["data"]["body"] == "hello" and json.loads(sent["data"]["data"]) == {"n": 7}
    assert pipeline.journal.counts("demo").get("template_failed", 0) == 0


def test_a_template_of_another_kind_is_refused_in_one_sentence(pipeline: Pipeline, cli: Cli, tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / f"{kind}.json").write_text(example(kind))
    said = {
        (provider, kind): cli.refused("template", "set", tmp_path / f"{kind}.json", "--provider", provider)
        for provider in KINDS
        for kind in KINDS
        if provider != kind and (provider, kind) != ("web", "fcm")
    }
    assert "provider 'apns' (apns): aps: required" in said["apns", "fcm"]
    assert "provider 'apns' (apns): aps: required" in said["apns", "web"]
    assert "provider 'fcm' (fcm): aps: is of a template for APNs" in said["fcm", "apns"]
    assert "provider 'fcm' (fcm): web_push: FCM knows no such field" in said["fcm", "web"]
    assert "provider 'web' (web): aps: is of a template for APNs" in said["web", "apns"]
    assert "--provider: app 'demo' has 3, name one: apns, fcm, web" in cli.refused(
        "template", "set", tmp_path / "fcm.json"
    )
    assert cli.json("template", "list") == []


def test_without_a_template_a_preview_shows_the_request_of_the_kind(pipeline: Pipeline, cli: Cli) -> None:
    shown = {kind: cli.json("template", "preview", "--app", "demo", "--provider", kind) for kind in KINDS}
    assert shown["apns"]["headers"][":path"].startswith("/3/device/")
    assert shown["fcm"]["headers"][":path"].endswith("/messages:send")
    assert shown["web"]["headers"]["content-encoding"] == "aes128gcm"
    assert all(one["bytes"] <= one["limit"] for one in shown.values())
    secrets = json.dumps(shown)
    assert VAPID.private not in secrets and "ya29" not in secrets


def test_a_test_push_is_shown_and_taken_by_a_device_of_each_kind(pipeline: Pipeline, cli: Cli, tmp_path: Path) -> None:
    stored(cli, tmp_path)
    pipeline.run()
    done = cli.json("push", "test", "han", "--app", "demo", "--message", "hello", "--simulator")
    assert [(one["provider"], one["answer"]) for one in done["devices"]] == [(kind, "accepted") for kind in KINDS]
    assert {one["rendered_by"] for one in done["devices"]} == {"the stored template"}
    text = cli.ok("push", "test", "han", "--app", "demo", "--message", "hello", "--simulator")
    assert REGISTRATION not in text and "mozilla.com/wpush/v2/" not in text
