"""The recording publishers take and refuse what the real ones do, and tell what was published."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest

from producers import BadgeCleared, ChannelRead, EventError, MessageNew, PublishError, SupersededError
from producers.testing import AsyncRecordingPublisher, Recorded, RecordingPublisher
from tests.unit.producers.examples import EVERY_TYPE, MESSAGE, MISSING, changed, numbered

Call = Callable[..., Any]
START = datetime(2026, 11, 28, 14, 0, tzinfo=UTC)


@pytest.fixture(params=["threads", "asyncio"])
def publisher(request: pytest.FixtureRequest) -> tuple[Call, Recorded]:
    """Calls a method by its name; what was recorded."""
    if request.param == "threads":
        made = RecordingPublisher()
        return lambda name, *args, **more: getattr(made, name)(*args, **more), made.recorded
    awaited = AsyncRecordingPublisher("redis://localhost:6379/0", own_stream=True)
    return lambda name, *args, **more: asyncio.run(getattr(awaited, name)(*args, **more)), awaited.recorded


def test_what_was_published_is_recorded_in_its_order(publisher: tuple[Call, Recorded]) -> None:
    call, recorded = publisher
    assert call("publish", MESSAGE) == "1-0"
    assert call("publish_many", EVERY_TYPE[1:]) == [f"{n}-0" for n in range(2, len(EVERY_TYPE) + 1)]
    assert len(recorded.events) == len(recorded.documents) == len(EVERY_TYPE)
    [message] = recorded.of(MessageNew)
    assert (message.id, message.message.mentioned) == ("evt-1", ["han"])
    assert [event.user for event in recorded.of(BadgeCleared)] == ["han"]
    recorded.clear()
    assert not recorded.events and not recorded.documents


def test_what_would_be_refused_is_refused(publisher: tuple[Call, Recorded]) -> None:
    call, recorded = publisher
    with pytest.raises(EventError, match=r"message\.id: required"):
        call("publish", changed(MESSAGE, message__id=MISSING))
    with pytest.raises(EventError, match=r"events\[1\]"):
        call("publish_many", [MESSAGE, {}])
    with pytest.raises(EventError, match="seconds"):
        call("online", "demo", "han", 0)
    assert recorded.events == []


def test_device_calls_and_presence(publisher: tuple[Call, Recorded]) -> None:
    call, recorded = publisher
    call("register_device", app="demo", user="han", token="ab" * 32, wait=5.0)
    call("unregister_device", app="demo", token="ab" * 32)
    call("online", "demo", "han", 60)
    call("online", "demo", "eve", 30)
    call("offline", "demo", "eve")
    assert [type(event).__name__ for event in recorded.events] == ["DeviceRegistered", "DeviceUnregistered"]
    assert recorded.online == {("demo", "han"): 60}


def test_where_users_are_and_what_they_have_read(publisher: tuple[Call, Recorded]) -> None:
    call, recorded = publisher
    call("online", "demo", "han", 60, active=True, viewing="general")
    call("online", "demo", "eve", 60, viewing=("general", "root"))
    for at in (START, START - timedelta(hours=1)):
        call("mark_read", "demo", "han", "general", at)
    assert (recorded.active, recorded.viewing[("demo", "eve")]) == ({("demo", "han")}, ("general", "root"))
    assert recorded.read == {("demo", "general", None): {"han": START}}
    call("read", "demo", "han", "general", START, unread=3)
    assert recorded.of(ChannelRead)[0].unread == 3
    call("offline", "demo", "han")
    assert (recorded.active, list(recorded.viewing)) == (set(), [("demo", "eve")])


def test_a_fault_comes_when_it_is_wanted(publisher: tuple[Call, Recorded]) -> None:
    call, recorded = publisher
    recorded.fail(PublishError("redis is away"), times=2)
    recorded.fail(SupersededError("device: …", None))
    for _ in range(2):
        with pytest.raises(PublishError, match="away"):
            call("publish", MESSAGE)
    with pytest.raises(SupersededError):
        call("unregister_device", app="demo", token="ab" * 32)
    assert recorded.events == []
    call("publish", MESSAGE)
    assert len(recorded.events) == 1


def test_a_closed_one_publishes_nothing_more(publisher: tuple[Call, Recorded]) -> None:
    call, _ = publisher
    call("close")
    with pytest.raises(PublishError, match="closed"):
        call("publish", MESSAGE)


def test_threads_may_share_one() -> None:
    publisher = RecordingPublisher()
    threads = [Thread(target=publisher.publish_many, args=(numbered(50),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(publisher.recorded.events) == len(publisher.recorded.documents) == 200
