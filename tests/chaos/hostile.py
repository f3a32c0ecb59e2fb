"""An app whose browsers subscribed with endpoints that lead into this machine: by a name, by an address, and by a redirect.

Nothing of it may get there. What it publishes counts for nothing else.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Final

from producers import Publisher
from producers import events as ev
from tests.chaos.names.sitecustomize import ADDRESSES
from tests.chaos.world import Subscribe
from worker.core.model import AppSettings, Provider
from worker.database.registry import Registry
from worker.simulator import Answer

APP: Final = "hostile"
#: What an operator has to allow before such a name is registered at all, and the directory that makes names lie.
ALLOWED: Final = "*.push.example.org"
NAMES: Final = Path(__file__).parent / "names"
#: Endpoints that are refused when they come, and so are dead letters.
REFUSED: Final = (
    "https://127.0.0.1/p/1",
    "https://169.254.169.254/p/1",
    "https://push.example.com/p/1",
    "http://web.push.apple.com/1",
)
#: Seconds that its messages live, so that a run can end.
MAX_AGE: Final = 20
#: Browsers at each place.
EACH: Final = 15
#: Of the browsers whose service redirects: beyond those of the world.
_FIRST: Final = 10_000_000


class Hostile:
    """Publishes for that app, and counts who comes to where it leads. Any thread may call."""

    def __init__(self, redis_url: str, subscribe: Subscribe, port: int) -> None:
        """`port` of this machine is where redirects lead."""
        self._publisher, self._numbers = Publisher(redis_url, timeout=20), count()
        self._redirected = [subscribe("mozilla", _FIRST + n) for n in range(EACH)]
        self._keys = self._redirected[0].keys
        #: What the simulator answers to the redirected.
        self.answers = {
            one.endpoint: Answer(status=302, headers={"location": f"https://127.0.0.1:{port}/"})
            for one in self._redirected
        }

    def close(self) -> None:
        self._publisher.close()

    def introduce(self) -> None:
        """A channel, and browsers whose names lead into this machine by now."""
        named = [self._at(f"https://{name}/p/{n}") for name in ADDRESSES for n in range(EACH)]
        devices = [ev.Device(provider="public", subscription=one) for one in named]
        devices += [ev.Device(provider="web", subscription=one) for one in self._redirected]
        users = [f"h{n}" for n in range(len(devices))]
        self._publisher.publish(ev.MemberAdded(**self._stamp(), channel=ev.ChannelId(id="all"), users=users))
        for user, device in zip(users, devices, strict=True):
            self._publisher.publish(ev.DeviceRegistered(**self._stamp(), user=user, device=device))

    def speak(self) -> int:
        """Registers again, with endpoints that nobody may have too, and writes to all; how many documents are refused."""
        self.introduce()
        for endpoint in REFUSED:
            device = ev.Device(provider="public", subscription=self._at(endpoint))
            self._publisher.publish(ev.DeviceRegistered(**self._stamp(), user="h0", device=device))
        envelope = self._stamp()
        message, sender = ev.Message(id=f"m-{envelope['id']}", text="inside"), ev.Sender(id="somebody")
        self._publisher.publish(ev.MessageNew(**envelope, channel=ev.Channel(id="all"), message=message, sender=sender))
        return len(REFUSED)

    def _at(self, endpoint: str) -> ev.Subscription:
        return ev.Subscription(endpoint=endpoint, keys=self._keys)

    def _stamp(self) -> dict[str, Any]:
        return {"id": f"h{next(self._numbers)}", "app": APP, "at": datetime.now(UTC)}


def set_up(registry: Registry, web: Provider) -> None:
    """The app, with a provider as `web` and one that sends to the hosts of the endpoints themselves."""
    registry.save_app(AppSettings(APP, max_age=MAX_AGE, member_cap=None, registration_rate=None))
    registry.save_provider(replace(web, app=APP))
    registry.save_provider(replace(web, app=APP, name="public", settings=replace(web.settings, host="", ca=None)))


class Trap:
    """Ports of this machine, and how often somebody came."""

    def __init__(self) -> None:
        self.came = 0
        #: One that is free.
        self.port = 0


@contextmanager
def trap() -> Iterator[Trap]:
    """Listens where the endpoints lead: port 443, where this user may, and a free one."""
    found, listening = Trap(), [socket.create_server(("127.0.0.1", 0))]
    found.port = listening[0].getsockname()[1]
    with suppress(OSError):
        listening.append(socket.create_server(("127.0.0.1", 443)))

    def accept(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                server.accept()[0].close()
                found.came += 1

    threads = [threading.Thread(target=accept, args=(server,), name="trap", daemon=True) for server in listening]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        for server, thread in zip(listening, threads, strict=True):
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            server.close()
