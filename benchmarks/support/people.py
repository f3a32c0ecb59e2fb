"""Channels, members and devices written straight into the database, and the chat they have, from a seed."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from benchmarks.support.stage import APP, DEAD, Stage
from worker.simulator import Answer

_WORDS: Final = (
    "the",
    "bells",
    "toll",
    "at",
    "noon",
    "come",
    "and",
    "listen",
    "by",
    "old",
    "tower",
    "bring",
    "friends",
)
#: One device in so many is gone.
DEAD_EVERY: Final = 50


@dataclass(frozen=True)
class Crowd:
    """`channels` of `members` users each; nobody is in two channels, everybody has one device."""

    name: str
    channels: int
    members: int

    def channel(self, number: int) -> str:
        return f"{self.name}:{number}"

    def users(self, channel: int) -> list[str]:
        return [f"{self.name}-{channel}-{n}" for n in range(self.members)]

    def tokens(self) -> Iterator[tuple[str, str]]:
        """Each user's id and device token."""
        for channel in range(self.channels):
            for user in self.users(channel):
                yield user, token(user)


def token(user: str) -> str:
    """64 hex digits, the same in every run; a dead one begins with `DEAD`."""
    digest = hashlib.sha256(user.encode()).hexdigest()
    return DEAD + digest[4:] if int(digest[:8], 16) % DEAD_EVERY == 0 else "a" + digest[1:]


def set_up(stage: Stage, crowd: Crowd) -> None:
    """Writes the crowd into the database and tells the simulator which devices are gone."""
    with psycopg.connect(stage.urls.postgres) as db, db.cursor() as cursor:
        with cursor.copy("COPY carillon.channels (app, id, name) FROM STDIN") as rows:
            for number in range(crowd.channels):
                rows.write_row((APP, crowd.channel(number), None if crowd.members == 2 else f"Channel {number}"))
        with cursor.copy("COPY carillon.members (app, channel, user_id, at, present) FROM STDIN") as rows:
            for number in range(crowd.channels):
                for user in crowd.users(number):
                    rows.write_row((APP, crowd.channel(number), user, 1, True))
        with cursor.copy(
            "COPY carillon.devices (app, token, user_id, provider_id, registered_at, active) FROM STDIN"
        ) as rows:
            for user, of_user in crowd.tokens():
                rows.write_row((APP, of_user, user, stage.provider.id, 1, True))
    stage.sql("VACUUM ANALYZE carillon.members", "VACUUM ANALYZE carillon.devices", "VACUUM ANALYZE carillon.channels")
    gone = [of_user for _, of_user in crowd.tokens() if of_user.startswith(DEAD)]
    stage.simulator.control.set_tokens(dict.fromkeys(gone, Answer("Unregistered")))


def chat(crowd: Crowd, messages: int, *, run: str, seed: int = 1) -> list[dict[str, Any]]:
    """Messages over all channels in turn; the same for every `run`, which only makes their ids new."""
    generator = random.Random(seed)
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    said = []
    for number in range(messages):
        channel = number % crowd.channels
        sender = generator.choice(crowd.users(channel))
        said.append(
            {
                "v": 1,
                "type": "message.new",
                "id": f"{run}-{number}",
                "app": APP,
                "at": at,
                "channel": {"id": crowd.channel(channel)},
                "message": {"id": f"m-{run}-{number}", "text": " ".join(generator.choices(_WORDS, k=12))},
                "sender": {"id": sender, "name": f"Name of {sender}"},
            }
        )
    return said


def expected_pushes(crowd: Crowd, events: Sequence[dict[str, Any]]) -> int:
    """Devices that must accept: everybody in the channel but the sender, the dead left out."""
    alive = {
        crowd.channel(number): {user for user in crowd.users(number) if not token(user).startswith(DEAD)}
        for number in range(crowd.channels)
    }
    return sum(len(alive[event["channel"]["id"]] - {event["sender"]["id"]}) for event in events)
