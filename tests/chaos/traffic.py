"""Publishes as chat servers do: at a steady rate, each event again and again until somebody has confirmed it.

Some messages go straight to the stream, some through the outbox.
"""

import queue
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, NamedTuple

import psycopg

from producers import Publisher, PublishError
from producers import events as ev
from producers.outbox import INSERT
from tests.chaos.world import PRESENT, Said, World

#: One in so many turns of the steady traffic is somebody who joins a channel and leaves it.
_CHANGES: Final = 12
#: Threads that publish, so that one that waits for an engine holds up few messages.
_PUBLISHERS: Final = 3
_PAUSE: Final = 0.2


class Sent(NamedTuple):
    """A message that was confirmed; `at` is when its publishing began, in UNIX seconds."""

    said: Said
    at: float
    confirmed_at: float
    through_outbox: bool


class _Due(NamedTuple):
    said: Said
    at: float


class Traffic:
    """`rate` is messages a second, `outbox` the share of them that is written to the outbox."""

    def __init__(
        self, world: World, redis_url: str, postgres_url: str, *, rate: float, outbox: float, seed: int
    ) -> None:
        self._world, self._rate, self._outbox = world, rate, outbox
        self._random, self._postgres_url = Random(seed), postgres_url
        self._publisher = Publisher(redis_url, timeout=5)
        self._direct: queue.SimpleQueue[list[_Due]] = queue.SimpleQueue()
        self._rows: queue.SimpleQueue[list[_Due]] = queue.SimpleQueue()
        self._lock, self._stop, self._paused = threading.Lock(), threading.Event(), threading.Event()
        self._due = 0
        self.sent: list[Sent] = []
        #: How often an engine did not confirm in time and the same was published again.
        self.repeated = 0
        self._threads = [
            threading.Thread(target=self._speak, daemon=True),
            threading.Thread(target=self._write, daemon=True),
        ]
        self._threads += [threading.Thread(target=self._publish, daemon=True) for _ in range(_PUBLISHERS)]

    def introduce(self) -> None:
        """Makes the world known, before anything is said."""
        self._publisher.publish_many(self._world.setting_up())
        app_of = self._world.app_of
        for user in self._world.present():
            self._publisher.online(app_of(user), user, PRESENT, active=True)
        ever = datetime.now(UTC) + timedelta(days=1)
        for user, channel in self._world.readers():
            self._publisher.mark_read(app_of(user), user, channel, ever)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def blast(self, said: Sequence[Said]) -> None:
        """These at once, beside what goes on."""
        self._hand_over(self._direct, list(said))

    def fall_silent(self) -> None:
        """Nothing new is said; what is on its way is published."""
        self._paused.set()

    @property
    def unconfirmed(self) -> int:
        with self._lock:
            return self._due - len(self.sent)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        self._publisher.close()

    def _hand_over(self, to: "queue.SimpleQueue[list[_Due]]", said: list[Said]) -> None:
        with self._lock:
            self._due += len(said)
        now = time.time()
        to.put([_Due(one, now) for one in said])

    def _speak(self) -> None:
        next_at = time.monotonic()
        while not self._stop.wait(max(0.0, next_at - time.monotonic())):
            next_at += 1 / self._rate
            if not self._paused.is_set():
                self._say()

    def _say(self) -> None:
        if self._random.random() < 1 / _CHANGES:
            # In one piece and by one thread: their order is what is looked at.
            self._hand_over(self._direct, self._world.change())
            return
        to = self._rows if self._random.random() < self._outbox else self._direct
        said = self._world.say()
        self._hand_over(to, self._world.say_attentively() if said.channel.kind == "attentive" else [said])

    def _publish(self) -> None:
        while not self._stop.is_set():
            try:
                due = self._direct.get(timeout=_PAUSE)
            except queue.Empty:
                continue
            while due and not self._stop.is_set():
                try:
                    self._publisher.publish_many([one.said.event for one in due])
                    self._confirm(due, through_outbox=False)
                    due = []
                except PublishError as fault:
                    known = len(fault.accepted)
                    self._confirm(due[:known], through_outbox=False)
                    due = due[known:]
                    self.repeated += 1
                    self._stop.wait(_PAUSE)

    def _write(self) -> None:
        db: psycopg.Connection | None = None
        while not self._stop.is_set():
            try:
                due = self._rows.get(timeout=_PAUSE)
            except queue.Empty:
                continue
            written = False
            while not written and not self._stop.is_set():
                try:
                    db = db or psycopg.connect(self._postgres_url, autocommit=True, connect_timeout=5)
                    with db.transaction():
                        for one in due:
                            db.execute(INSERT, (ev.encode(one.said.event).decode(),))
                    written = True
                except psycopg.Error:
                    # Whether it was committed nobody knows: the same id again does no harm.
                    if db is not None:
                        db.close()
                    db = None
                    self.repeated += 1
                    self._stop.wait(_PAUSE)
            if written:
                self._confirm(due, through_outbox=True)
        if db is not None:
            db.close()

    def _confirm(self, due: Sequence[_Due], *, through_outbox: bool) -> None:
        now = time.time()
        with self._lock:
            self.sent += (Sent(one.said, one.at, now, through_outbox) for one in due)
