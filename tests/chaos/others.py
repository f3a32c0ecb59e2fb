"""Other apps of the same system: a noisy one whose messages notify nobody, and some whose hosts never answer.

They are there to be in the way. What they publish counts for nothing but that it must not hold up the app that is judged.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

from producers import BackPressureError, Publisher
from producers import events as ev
from worker.core.model import AppSettings, Provider
from worker.database.registry import Registry
from worker.providers.webhook.settings import WebhookSettings

NOISY: Final = "noisy"
#: Apps whose webhook accepts connections and says nothing.
SILENT: Final = tuple(f"silent-{n}" for n in range(4))
#: Apps whose host does not even answer the first packet of a connection.
BLACK_HOLES: Final = tuple(f"hole-{n}" for n in range(4))
#: Seconds that their messages live, so that a run can end.
MAX_AGE: Final = 20
#: Users with a device in each of them.
USERS: Final = 20
#: Seconds for which a full Redis is waited for.
_PATIENCE: Final = 60
#: Users in one event of an import.
_AT_ONCE: Final = 10_000


class Others:
    """Publishes for the other apps. Any thread may call."""

    def __init__(self, redis_url: str) -> None:
        self._publisher, self._numbers = Publisher(redis_url, timeout=20), count()

    def close(self) -> None:
        self._publisher.close()

    def introduce(self) -> None:
        """One channel, users and devices for each app with a host."""
        for app in (*SILENT, *BLACK_HOLES):
            users = [f"{app}-{n}" for n in range(USERS)]
            self._publisher.publish_many(
                [
                    ev.MemberAdded(**self._stamp(app), channel=ev.ChannelId(id="all"), users=users),
                    *(
                        ev.DeviceRegistered(**self._stamp(app), user=user, device=ev.Device(token=f"{n:064x}"))
                        for n, user in enumerate(users)
                    ),
                ]
            )

    def noise(self, messages: int) -> None:
        """So many messages at once to nobody."""
        for start in range(0, messages, 5_000):
            self._publisher.publish_many(
                [self._message(NOISY, recipients=["nobody"]) for _ in range(min(5_000, messages - start))]
            )

    def import_members(self, members: int) -> None:
        """A channel with so many members."""
        for start in range(0, members, _AT_ONCE):
            users = [f"imported-{n}" for n in range(start, min(members, start + _AT_ONCE))]
            self._publisher.publish(ev.MemberAdded(**self._stamp(NOISY), channel=ev.ChannelId(id="huge"), users=users))

    def attributes(self, registrations: int) -> None:
        """So many registrations with nearly a megabyte of attributes each."""
        wide: dict[str, Any] = {"a": [{}] * 300_000}
        for n in range(registrations):
            device = ev.Device(token=f"{n:064x}", attributes=wide)
            self._publisher.publish(ev.DeviceRegistered(**self._stamp(NOISY), user=f"wide-{n}", device=device))

    def speak(self, apps: Sequence[str], messages: int) -> None:
        """So many messages to everybody of each app, also where another fault has filled Redis meanwhile."""
        left = [self._message(app) for app in apps for _ in range(messages)]
        ends = time.monotonic() + _PATIENCE
        while left:
            try:
                self._publisher.publish_many(left)
            except BackPressureError as fault:
                if time.monotonic() > ends:
                    raise
                left = left[len(fault.accepted) :]
                time.sleep(0.2)
            else:
                return

    def _message(self, app: str, *, recipients: list[str] | None = None) -> ev.MessageNew:
        envelope = self._stamp(app)
        return ev.MessageNew(
            **envelope,
            channel=ev.Channel(id="all"),
            message=ev.Message(id=f"m-{envelope['id']}", text="noise"),
            sender=ev.Sender(id="somebody"),
            recipients=recipients,
        )

    def _stamp(self, app: str) -> dict[str, Any]:
        return {"id": f"o{next(self._numbers)}", "app": app, "at": datetime.now(UTC)}


def set_up(registry: Registry, provider: Provider, silent: int, hole: int) -> None:
    """The apps and their providers. `provider` is one of APNs to copy the credential of; the others are ports."""
    registry.save_app(AppSettings(NOISY, member_cap=None, registration_rate=None))
    registry.save_provider(replace(provider, id=0, app=NOISY))
    for app in SILENT:
        registry.save_app(AppSettings(app, max_age=MAX_AGE))
        url = f"http://127.0.0.1:{silent}/{app}"
        registry.save_provider(Provider(0, app, "hook", "production", WebhookSettings(url, ("s" * 32,))))
    for app in BLACK_HOLES:
        registry.save_app(AppSettings(app, max_age=MAX_AGE))
        there = replace(provider.settings, host="127.0.0.1", port=hole)
        registry.save_provider(replace(provider, id=0, app=app, settings=there))


@contextmanager
def silent_host() -> Iterator[int]:
    """The port of a server that accepts connections, reads, and says nothing."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, name="silent-host", daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    for one in held:
        one.close()


@contextmanager
def black_hole() -> Iterator[int]:
    """A port of which the kernel drops the first packets: the line of those who wait to be accepted is full for good."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port, waiting = server.getsockname()[1], []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        try:
            yield port
        finally:
            for one in waiting:
                one.close()


def junk(octets: int) -> bytes:
    """So many bytes that look like the beginning of an event and are none."""
    head = json.dumps({"v": 1, "type": "message.new", "id": "junk", "app": NOISY}).encode()[:-1]
    return head + b"," + b"x" * (octets - len(head) - 1)
