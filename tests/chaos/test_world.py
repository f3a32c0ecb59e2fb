"""The people have devices of every make, which their kinds take, and the account knows what is sent to each of them again."""

from collections import Counter
from random import Random

import pytest

from producers.events import MessageNew
from producers.partitions import UNTAGGED, Layout, tags
from tests.chaos.providers import Credentials, providers_at, subscribing
from tests.chaos.watch import badge_in, identity, of_event
from tests.chaos.world import APP, MAKES, PUSH_SERVICES, World, apps_of
from tests.unit.fcm.key_files import account
from worker.core import notification, push_ids
from worker.core.batch import Job, Sending
from worker.providers import kinds
from worker.providers.apns.settings import Key
from worker.providers.web.vapid import new_key_pair

CREDENTIALS = Credentials(Key("TEAM000001", "KEY0000001"), account(), new_key_pair())
PROVIDERS = {one.name: one for one in providers_at(CREDENTIALS, "localhost", {"apns": 1, "fcm": 2, "web": 3}, "")}


@pytest.fixture(scope="module")
def world() -> World:
    return World(Random(1), 0, 100, subscribing(CREDENTIALS.web.public, 1))


def test_people_have_devices_of_every_make_in_their_shares(world: World) -> None:
    found = Counter(one.make for user, one in world.devices.items() if user.startswith("u"))
    assert all(found[make] > 100 * share for make, share in MAKES.items())
    ways = {one.way for one in world.devices.values()}
    assert ways == {"apns", "android", "apple", *(f"web-{service}" for service in PUSH_SERVICES)}


def test_most_devices_of_the_list_are_dead_and_no_others_are(world: World) -> None:
    dead = {kind: len(tokens) for kind, tokens in world.dead.items()}
    assert dead == {"apns": 16, "fcm": 48, "web": 16}
    assert not [user for user, one in world.devices.items() if world.is_dead(one.token) and not user.startswith("l")]


def test_a_message_to_a_way_is_for_all_of_its_devices_but_the_senders(world: World) -> None:
    [said] = world.say_to("web-google")
    assert {world.devices[user].way for user in said.notified} == {"web-google"}
    there = [user for user, one in world.devices.items() if one.way == "web-google" and user.startswith("u")]
    assert len(said.notified) == len(there) - 1


@pytest.mark.parametrize("make", MAKES)
def test_a_notification_of_each_make_is_known_again_with_its_badge(world: World, make: str) -> None:
    device = next(one for one in world.devices.values() if one.make == make)
    provider, event = PROVIDERS[device.registered.provider or ""], world.say("direct").event
    assert isinstance(event, MessageNew)
    token, secret = kinds.registration(device.registered, provider)
    assert token == device.token
    rendered = notification.render(event)
    sending = Sending("1-0", event.id, rendered.prefix.decode(), rendered.suffix.decode(), 2_000_000_000, "collapse-1")
    job = Job(0, 7, "han", token, 0, badge=12, platform=device.registered.platform or "", secret=secret)
    [request] = kinds.kind_of(provider).render(provider, [sending], [job], [job.badge])
    payload = request.payload.decode()
    assert badge_in(payload) == 12
    if make == "apns":
        # Its id is in a header.
        return
    own = push_ids.apns_id(event.id, APP, 7)
    assert identity(token, payload) == (own if make == "android" else of_event(event.id, token))


def test_a_payload_that_nobody_can_read_is_of_no_notification() -> None:
    assert (identity("token", ""), badge_in("")) == ("", None)


@pytest.mark.parametrize("partitions", [1, 4, 16])
def test_each_partition_has_an_app(partitions: int) -> None:
    layout = UNTAGGED if partitions == 1 else Layout(2, tags(partitions))
    apps = apps_of(layout)
    assert [layout.partition_of(app) for app in apps] == list(range(partitions))
    assert APP in apps


def test_a_channel_and_its_members_are_of_one_app() -> None:
    apps = ["a", "b", "c", "d"]
    world = World(Random(1), 50, 100, subscribing(CREDENTIALS.web.public, 1), apps)
    said = [world.say() for _ in range(500)] + world.say_to("web-google") + world.change() + [world.say("blast")]
    assert all(world.app_of(user) == one.channel.app == one.event.app for one in said for user in one.channel.members)
    assert {one.channel.app for one in said} == set(apps)
    ways = Counter((one.way, world.app_of(user)) for user, one in world.devices.items() if user.startswith("u"))
    assert len(ways) == 7 * len(apps)
    assert [one.channel.app for one in world.say_to("apple")] == apps
