"""Direct messages at a pace, whatever else the system does, and how long each took.

The loop is open: a slow answer delays no message.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from benchmarks.bulkhead import percentile
from benchmarks.support.stage import APP, Stage
from producers import Publisher

#: Tokens of those who are written to begin with it, and no others.
BEGINNING: Final = "d1"
PEOPLE: Final = 100
#: Messages a second.
RATE: Final = 20.0


def _user(number: int) -> str:
    return f"paced-{number}"


def token(number: int) -> str:
    return BEGINNING + hashlib.sha256(_user(number).encode()).hexdigest()[2:]


def people(place: Stage) -> None:
    """Writes those who are written to into the database."""
    with psycopg.connect(place.urls.postgres) as db, db.cursor() as cursor:
        with cursor.copy("COPY carillon.channels (app, id) FROM STDIN") as rows:
            for number in range(PEOPLE):
                rows.write_row((APP, f"{_user(number)}:dm"))
        with cursor.copy("COPY carillon.members (app, channel, user_id, at, present) FROM STDIN") as rows:
            for number in range(PEOPLE):
                rows.write_row((APP, f"{_user(number)}:dm", _user(number), 1, True))
        with cursor.copy(
            "COPY carillon.devices (app, token, user_id, provider_id, registered_at, active) FROM STDIN"
        ) as rows:
            for number in range(PEOPLE):
                rows.write_row((APP, token(number), _user(number), place.provider.id, 1, True))


class Paced:
    """A thread that publishes a direct message each `1 / RATE` s, from `start` to `stop`."""

    def __init__(self, place: Stage) -> None:
        self._place = place
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        #: By person, when each message was published, in UNIX milliseconds.
        self._published: dict[str, list[float]] = {token(number): [] for number in range(PEOPLE)}
        self._fault: list[BaseException] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends it. Raises what the publisher raised."""
        self._ended.set()
        self._thread.join()
        if self._fault:
            raise self._fault[0]

    def published(self) -> int:
        return sum(map(len, self._published.values()))

    def _publish(self) -> None:
        try:
            with Publisher(self._place.urls.redis) as publisher:
                number, began = 0, time.monotonic()
                while not self._ended.wait(max(0.0, began + number / RATE - time.monotonic())):
                    person = number % PEOPLE
                    self._published[token(person)].append(time.time() * 1000)
                    publisher.publish(_event(number, person))
                    number += 1
        except BaseException as fault:  # noqa: BLE001 - raised again by `stop`
            self._fault.append(fault)

    def arrived(self) -> int:
        return len(self._place.simulator.control.requests(token=BEGINNING))

    def taken(self, phases: Sequence[tuple[str, float, float]]) -> dict[str, dict[str, Any]]:
        """By phase, given with its first and last second of UNIX time: how long the messages took that were published in it.

        A person's notifications arrive in the order of the messages.
        """
        seen = {of: deque(published) for of, published in self._published.items()}
        found: dict[str, list[float]] = {name: [] for name, _, _ in phases}
        for entry in self._place.simulator.control.requests(token=BEGINNING):
            if not seen[entry["token"]]:
                raise RuntimeError("more pushes than messages")
            at = seen[entry["token"]].popleft()
            for name, first, last in phases:
                if first <= at / 1000 < last:
                    found[name].append((entry["at"] - at) / 1000)
        return {name: _figures(seconds) for name, seconds in found.items()}


def _figures(seconds: Sequence[float]) -> dict[str, Any]:
    if not seconds:
        return {"messages": 0}
    return {
        "messages": len(seconds),
        "p50": round(percentile(seconds, 0.5), 4),
        "p99": round(percentile(seconds, 0.99), 4),
        "most": round(max(seconds), 4),
    }


def _event(number: int, person: int) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return {
        "v": 1,
        "type": "message.new",
        "id": f"paced-{number}-{time.monotonic_ns()}",
        "app": APP,
        "at": at,
        "channel": {"id": f"{_user(person)}:dm"},
        "message": {"id": f"m-paced-{number}", "text": "the bells toll at noon"},
        "sender": {"id": "somebody", "name": "Somebody"},
    }
