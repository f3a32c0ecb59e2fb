"""The world of a demo: the same from the same seed, of every kind, and published as events that say nothing else."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from producers.events import DeviceRegistered, MemberAdded, encode
from worker.demo.expectation import read_all
from worker.demo.generator import generate
from worker.demo.history import beginnings, message
from worker.demo.world import DEAF, MEMBER_CAP, World

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
    assert [phone.token for phone in later.phones] == [phone.token for phone in world.phones]


def test_every_reason_and_every_kind_of_phone_occurs(world):
    readings = read_all(world)
    reasons = sum((reading.skipped for reading in readings), Counter())
    assert reasons.keys() == {
        "sender",
        "not_a_member",
        "not_in_thread",
        "muted_sender",
        "online",
        "no_device",
        "over_member_cap",
    }
    assert {reading.whole for reading in readings} >= {None, "skip_push", "too_old", "channel_push_off"}
    natures = {phone.nature for reading in readings for phones in reading.notified.values() for phone in phones}
    assert natures == {"live", "busy", "gone", "returned", "foreign"}
    assert any(line.repeated for line in world.lines)
    assert any(line.recipients for line in world.lines)


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
            assert all(any(p.nature not in DEAF for p in phones) for phones in reading.notified.values())


def test_whatever_the_order_of_the_news_each_device_was_last_registered_by_its_owner(world):
    owner: dict[str, tuple[datetime, str]] = {}
    for event in beginnings(world, 7, NOW):
        if isinstance(event, DeviceRegistered):
            token = event.device.address.lower()
            owner[token] = max(owner.get(token, (event.at, event.user)), (event.at, event.user))
    assert {token: user for token, (_, user) in owner.items()} == {p.token: p.user for p in world.phones}


def test_the_members_published_last_are_the_members(world):
    members = {
        e.channel.id: set(e.users) for e in beginnings(world, 7, NOW) if isinstance(e, MemberAdded) and e.at == NOW
    }
    assert members == {room.id: set(room.members) for room in world.rooms.values()}


def test_every_line_is_an_event_of_the_contract(world):
    for line in world.lines:
        assert encode(message(world, line, NOW))
        assert not {"{", "}"} & set(line.text)
