"""The world of a demo: the same from the same seed, of every kind, and published as events that say nothing else."""

from collections import Counter
from datetime import UTC, datetime
from unittest.mock import ANY
from urllib.parse import urlsplit

import pytest

from producers.events import DeviceRegistered, MemberAdded, encode
from worker.demo.expectation import read_all
from worker.demo.generator import generate
from worker.demo.history import beginnings, message, silent
from worker.demo.services.web import keys_of
from worker.demo.world import DEAF, MEMBER_CAP, World
from worker.simulator.web.services import SERVICES, service_at
from worker.simulator.web.subscriptions import browser_of, decode, find, hash_of
from worker.simulator.web.subscriptions import encode as encode_key

NOW = datetime(2026, 11, 21, 20, tzinfo=UTC)


def make(seed: int = 7, **more: int) -> World:
    given = {"users": 2000, "channels": 120, "messages": 1200, "steady": 240, "now_ms": 1_795_000_000_000} | more
    return generate(seed, app="demo", **given)


@pytest.fixture(scope="module")
def world() -> World:
    return make()


def test_the_same_seed_makes_the_same_world(world):
    again = make()
    assert again == world
    assert [encode(event) for event in beginnings(again, 7, NOW)] == [
        encode(event) for event in beginnings(world, 7, NOW)
    ]


def test_another_seed_makes_another_world(world):
    assert make(8).lines != world.lines


def test_the_hour_changes_nothing_but_the_registrations(world):
    later = make(now_ms=1_795_900_000_000)
    assert later.lines == world.lines
    assert [device.token for device in later.devices] == [device.token for device in world.devices]


def test_every_reason_and_every_kind_of_phone_occurs(world):
    readings = read_all(world)
    reasons = sum((reading.skipped for reading in readings), Counter())
    assert reasons.keys() == {
        "sender",
        "not_a_member",
        "not_in_thread",
        "muted_sender",
        *("channel_muted", "level_none", "mentions_only", "switched_off"),
        *("read", "quiet", "viewing"),
        "no_device",
        "over_member_cap",
    }
    assert {reading.whole for reading in readings} >= {None, "skip_push", "too_old", "channel_push_off"}
    natures = {device.nature for reading in readings for devices in reading.notified.values() for device in devices}
    assert natures == {"live", "busy", "gone", "returned", "foreign"}
    assert any(line.repeated for line in world.lines)
    assert any(line.recipients for line in world.lines)


def test_devices_are_of_three_kinds_and_some_people_have_several(world):
    shares = {kind: n / len(world.devices) for kind, n in Counter(device.kind for device in world.devices).items()}
    assert shares == {"apns": pytest.approx(0.45, abs=0.03), "fcm": pytest.approx(0.4, abs=0.03), "web": ANY}
    assert max(len({device.kind for device in world.devices_of(user)}) for user in world.people) == 3
    troubled = {(device.kind, device.nature) for device in world.devices if device.nature != "live"}
    assert troubled == {
        *(("apns", nature) for nature in ("busy", "gone", "returned", "foreign")),
        *(("fcm", nature) for nature in ("busy", "gone", "foreign")),
        *(("web", nature) for nature in ("busy", "gone")),
    }


def test_browsers_are_registered_with_the_subscriptions_that_a_simulator_of_the_seed_makes(world):
    browsers = {device.token: device for device in world.devices if device.kind == "web"}
    hosts = {urlsplit(endpoint).hostname for endpoint in browsers}
    assert hosts == {service.host for service in SERVICES.values()}
    for event in beginnings(world, 7, NOW):
        if isinstance(event, DeviceRegistered) and event.device.platform == "web":
            given = event.device.subscription
            assert given is not None
            assert browsers[given.endpoint].keys == (given.keys.p256dh, given.keys.auth)
            host = urlsplit(given.endpoint).hostname or ""
            at = service_at(host, given.endpoint.removeprefix(f"https://{host}"))
            assert at is not None
            found = find(7, *at)
            assert found is not None
            assert encode_key(browser_of(7, found.number).public) == given.keys.p256dh
            assert found.key_hash == hash_of(decode(keys_of(7).public))


def test_silent_pushes_go_to_people_with_browsers_and_without_dead_devices(world):
    devices = [device for sync in world.syncs for user in sync.users for device in world.devices_of(user)]
    assert {device.kind for device in devices} == {"apns", "fcm", "web"}
    assert not any(device.nature in DEAF for device in devices)
    assert encode(silent("demo", world.syncs[0], NOW))


def test_channels_are_of_every_size(world):
    sizes = [len(room.members) for room in world.rooms.values()]
    assert min(sizes) == 2
    assert max(sizes) == 1680
    assert len(sizes) == 120


@pytest.mark.parametrize("users", [20, 50])
def test_a_small_world_is_a_world(users):
    assert len(make(users=users, channels=3, messages=30, steady=6).lines) == 30


def test_who_is_notified_under_the_cap_does_not_depend_on_when_a_dead_phone_is_retired(world):
    for reading in read_all(world):
        if len(reading.notified) == MEMBER_CAP:
            assert all(any(p.nature not in DEAF for p in devices) for devices in reading.notified.values())


def test_whatever_the_order_of_the_news_each_device_was_last_registered_by_its_owner(world):
    owner: dict[str, tuple[datetime, str]] = {}
    for event in beginnings(world, 7, NOW):
        if isinstance(event, DeviceRegistered):
            # What APNs gives out is hexadecimal; of others each character counts.
            token = event.device.address.lower() if event.device.platform == "ios" else event.device.address
            owner[token] = max(owner.get(token, (event.at, event.user)), (event.at, event.user))
    assert {token: user for token, (_, user) in owner.items()} == {p.token: p.user for p in world.devices}


def test_the_members_published_last_are_the_members(world):
    members = {
        e.channel.id: set(e.users) for e in beginnings(world, 7, NOW) if isinstance(e, MemberAdded) and e.at == NOW
    }
    assert members == {room.id: set(room.members) for room in world.rooms.values()}


def test_every_line_is_an_event_of_the_contract(world):
    for line in world.lines:
        assert encode(message(world, line, NOW))
        assert not {"{", "}"} & set(line.text)
