"""Sealed payloads over real TLS and HTTP/2: what the simulators got, opened with the devices' keys."""

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import KEY, START, Pipeline, Tokens, message, stamp, token
from tests.unit.web.browser import Browser, base64url, new_browser
from worker.core.attention import Attention
from worker.core.model import Provider
from worker.providers.apns.client import ApnsClient
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import ApnsSettings, Key
from worker.simulator import Settings, SimulatorThread
from worker.simulator.process import ControlClient
from worker.simulator.sealed import DeviceKeys

HAN, REY = new_browser(), new_browser()


def registered(user: str, of: Browser, now: float) -> ev.DeviceRegistered:
    keys = ev.DeviceKeys(id="k1", scheme="aes128gcm", p256dh=base64url(of.keys.p256dh), auth=base64url(of.keys.auth))
    device = ev.Device(token=token(user), accepts=["sealed"], keys=keys)
    return ev.DeviceRegistered(**stamp(now), user=user, device=device)


def kept(of: Browser) -> DeviceKeys:
    """What stays on the device."""
    private = of.private.private_numbers().private_value.to_bytes(32, "big")
    return DeviceKeys(base64url(private), base64url(of.keys.auth))


@pytest.fixture
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(Settings(control_port=0)) as made:
        yield made


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, simulator: SimulatorThread) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    made.now = time.time() - 100
    there = ApnsSettings("io.carillon.demo", Key("T", "K", KEY), "localhost", simulator.port, simulator.ca_pem)
    made.registry.save_provider(Provider(made.provider.id, "demo", "apns", "production", there))
    sender = ApnsSender()
    made.clients["apns"] = ApnsClient(sender, cast("Any", Tokens()))
    yield made
    sender.close()
    made.close()


def test_what_apns_got_is_opened_by_each_device_and_by_no_other(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    now = pipeline.now - START.timestamp()
    pipeline.save_app(attention=Attention(privacy="sealed", pad=512))
    pipeline.publish(ev.MemberAdded(**stamp(now), channel=ev.ChannelId(id="general"), users=["leia", "han", "rey"]))
    pipeline.publish(registered("han", HAN, now), registered("rey", REY, now), message(text="the pier", seconds=now))
    pipeline.run()
    entries = simulator.accepted
    assert {entry.token for entry in entries} == {token("han"), token("rey")}
    assert not [entry for entry in entries if "the pier" in entry.payload]
    found = simulator.opened({token("han"): kept(HAN), token("rey"): kept(REY)})
    assert {one.token: one.inside["aps"]["alert"]["body"] for one in found} == {
        token("han"): "the pier",
        token("rey"): "the pier",
    }

    [wrong] = simulator.opened({token("han"): kept(REY)})
    assert (wrong.inside, wrong.fault) == (None, "the tag does not fit")
    control = ControlClient("127.0.0.1", simulator.control_port or 0, simulator.control_token)
    [shown] = control.opened({token("rey"): kept(REY)})
    assert shown["inside"]["carillon"]["message"] == "m-e1"


def test_keys_are_never_shown() -> None:
    assert kept(HAN).private not in repr(kept(HAN))
