"""The server of a spread app's home is frozen: other apps in its channels' partitions are served, and the app afterwards."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from producers import events as ev
from producers.partitions import Layout, tags
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from tests.integration.pipeline.spread import Spread, used
from tests.processes import PATIENCE, wait_until
from tests.valkey import Valkey
from worker.core.attention import Attention
from worker.core.model import AppSettings, Notification, Provider
from worker.providers.apns.settings import ApnsSettings, Key
from worker.state import redis
from worker.state.gate import Gate
from worker.state.homes import HomeAwayError
from worker.state.partition import Keyspace, Partition
from worker.state.redis import Redis, connect

LAYOUT = Layout(2, tags(2), spread=frozenset({"demo"}))
HOME = LAYOUT.home_of("demo")
OTHER = next(name for name in map("app-{}".format, range(99)) if LAYOUT.home_of(name) != HOME)
USERS = ("han", "chewie", "lando", "wedge", "obi", "rey")


class TwoServers(Keyspace):
    """The home is on a server of its own, whose clients wait for longer than any test."""

    def __init__(self, first: Redis, home: Redis) -> None:
        super().__init__(first, lambda _: LAYOUT)
        self._home = home

    def client_of(self, key: str) -> Redis:
        return self._home if key == LAYOUT.prefix(HOME) else self.redis


@pytest.fixture
def spread(postgres_url: str, redis_url: str, valkey: Valkey) -> Iterator[Spread]:
    with connect(redis_url) as first, connect(valkey.url, timeout=2 * PATIENCE, retries=0) as home:
        # Longer than it is frozen, so that who waits is not too late.
        yield from used(Spread(postgres_url, redis_url, 2, LAYOUT, TwoServers(first, home), lease=2 * PATIENCE))


@contextmanager
def frozen(valkey: Valkey) -> Iterator[None]:
    valkey.freeze()
    try:
        yield
    finally:
        valkey.thaw()


@contextmanager
def working(part: Pipeline, threads: int) -> Iterator[None]:
    """A process that works on the partition: one thread expands, so many deliver, and another makes ready what is due."""
    ends, faults = threading.Event(), list[Exception]()

    def expand() -> None:
        opened = part.journal.take_messages("urgent", 100)
        part.journal.give_back("urgent", part.fan_out.expand(opened).remaining)

    def repeat(work: Callable[[], object]) -> None:
        while not ends.wait(0.01):
            try:
                work()
            except redis.Unavailable:
                pass
            except Exception as fault:  # noqa: BLE001 it is the test's
                faults.append(fault)
                return

    delivers = [partial(part.delivery.deliver, "urgent")] * threads
    works: list[Callable[[], object]] = [expand, part.journal.make_due_ready, *delivers]
    running = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        for thread in running:
            thread.join()
    assert faults == []


def of(app: str, event: ev.AnyEvent) -> bytes:
    return ev.encode(event).replace(b'"app":"demo"', f'"app":"{app}"'.encode())


def add_other(spread: Spread, part: Pipeline) -> None:
    """An app in the channels' partition, whose user luke is a member of `general`."""
    spread.home.registry.save_app(AppSettings(OTHER))
    apns = ApnsSettings("io.carillon.other", Key("T", "K", "pem"))
    spread.home.registry.save_provider(Provider(0, OTHER, "apns", settings=apns, environment="production"))
    part.publish(of(OTHER, ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", "luke"])))
    part.publish(of(OTHER, ev.DeviceRegistered(**stamp(), user="luke", device=ev.Device(token=token("luke")))))


def add_members(spread: Spread, channel: str) -> None:
    spread.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id=channel), users=["leia", *USERS]))
    for user in USERS:
        spread.publish(ev.DeviceRegistered(**stamp(), user=user, device=ev.Device(token=token(user))))
    spread.run()


def waiting_for(partition: Partition) -> int:
    """Threads that wait for its server."""
    assert isinstance(partition.gate, Gate)
    return len(partition.gate._waiting)


def of_user(sent: Sequence[Notification], user: str) -> list[Notification]:
    return [one for one in list(sent) if one.token == token(user)]


def test_others_are_served_meanwhile_and_the_app_once_it_answers(spread: Spread, valkey: Valkey) -> None:
    [part] = spread.others
    channel, sent = spread.channel(part), spread.apns.sent
    add_other(spread, part)
    add_members(spread, channel)
    # Batches that wait for none of the others, and messages that have to be expanded, for which home is asked as well.
    for user in USERS:
        spread.publish(message(channel, id=f"for-{user}", text="batch", recipients=[user]))
        spread.take()
        spread.expand()
    spread.home.save_app(attention=Attention(sound_every_user=60, daily_cap=50))
    spread.publish(*(message(channel, id=f"message-{n}", text=f"message {n}") for n in range(3)))
    spread.take()
    with working(part, threads=4):
        with frozen(valkey):
            wait_until(lambda: waiting_for(spread.home.partition) == 2 and part.homes.waiting())
            part.publish(of(OTHER, message("general", id="other")))
            part.take()
            wait_until(lambda: of_user(sent, "luke"))
            assert len(sent) == 1
        wait_until(lambda: len(sent) >= 1 + 4 * len(USERS))
    for user in USERS:
        shown = [json.loads(one.payload)["aps"] for one in of_user(sent, user)]
        assert [one["alert"]["body"] for one in shown] == ["batch", *(f"message {n}" for n in range(3))]
        assert shown[-1]["badge"] == 4


def test_nobody_waits_for_a_home_that_does_not_answer(spread: Spread, valkey: Valkey) -> None:
    """The thread that expands, and the one that keeps leases."""
    [part] = spread.others
    note = f"1 {HOME} [[],[],[]]"
    part.partition.redis.rpush(part.partition.keys.HOMEWARD(), note)
    home = part.homes.of("demo")
    assert home is not None
    with frozen(valkey):
        part.homes.carry_soon()
        with pytest.raises(HomeAwayError):
            home.renew([("b1", [7])], 60)
        assert waiting_for(home.partition) == 2
        with pytest.raises(HomeAwayError):
            home.release("b1")
        with pytest.raises(HomeAwayError):
            home.limiter.moved("push_rate:demo")
    wait_until(lambda: not part.partition.redis.exists(part.partition.keys.HOMEWARD()))


def test_what_is_read_is_expanded_once_the_home_answers(spread: Spread, valkey: Valkey) -> None:
    [part] = spread.others
    channel = spread.channel(part)
    add_members(spread, channel)
    spread.publish(ev.ChannelRead(**stamp(), user="han", channel=ev.ChannelId(id=channel), unread=3))
    spread.take()
    with frozen(valkey):
        opened = part.journal.take_messages("urgent", 100)
        expanded = part.fan_out.expand(opened)
        assert (expanded.held, expanded.remaining) == (True, opened)
        part.journal.give_back("urgent", expanded.remaining)
    [sent] = spread.run()
    assert json.loads(sent.payload)["aps"]["badge"] == 3


def test_a_large_channel_s_next_page_waits_for_a_moment(small_pages: Pipeline) -> None:
    small_pages.member("general", *(f"user-{n}" for n in range(12)))
    small_pages.publish(message())
    small_pages.take()
    journal = small_pages.journal
    small_pages.fan_out.expand(journal.take_messages("urgent", 1))
    [opened] = journal.take_messages("bulk", 1)
    journal.put_off([opened], 60)
    assert journal.take_messages("bulk", 1) == []
    small_pages.later(61)
    assert journal.take_messages("bulk", 1) == [opened]


def test_who_waits_is_refused_only_where_nobody_is_answered() -> None:
    gate, inside = Gate(patience=PATIENCE), threading.Barrier(3)

    def pass_through() -> None:
        with gate:
            inside.wait()
        for _ in range(50):
            with gate:
                pass

    threads = [threading.Thread(target=pass_through) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()
    for _ in range(50):
        with gate:
            pass
    for thread in threads:
        thread.join()
