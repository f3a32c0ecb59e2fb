"""The demo itself, from the first process to the account. `Demo.run` is the main path."""

import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from config.settings import Settings
from worker.demo.account import TRIED_AGAIN, Account, DeviceState, Found, draw_up
from worker.demo.display import Display
from worker.demo.expectation import EditReading, Reading, SilentReading, read_all, read_edits, read_silent
from worker.demo.figures import Figures, measure
from worker.demo.generator import generate
from worker.demo.history import beginnings, mistakes
from worker.demo.stage import Stage, home, stage
from worker.demo.traffic import Traffic
from worker.demo.watch import EVERY, Watch
from worker.demo.world import DEAF, World
from worker.simulator import Script

#: Seconds of the traffic before the burst, and its share of all messages.
STEADY_SECONDS: Final = 8.0
STEADY_SHARE: Final = 0.2
#: Processes that may die before there is no hope.
_DEATHS: Final = 4
#: Reasons after which a device is retired.
_ENDED: Final = frozenset(("Unregistered", "UNREGISTERED", "NotRegistered"))
#: Seconds that a user stays online.
_ONLINE: Final = 3600


def steady_of(messages: int) -> int:
    """How many of the messages come at a pace."""
    return math.ceil(messages * STEADY_SHARE)


class StalledError(RuntimeError):
    """The system does not come up or does not take what is published."""


@dataclass(frozen=True)
class Wish:
    """What kind of demo. `patience`: seconds without any progress after which the account is drawn up as it stands."""

    users: int = 6000
    channels: int = 320
    messages: int = 4000
    seed: int = 7
    workers: int = 2
    keep: bool = False
    #: By kind: what its simulator does besides.
    scripts: Mapping[str, Script] = field(default_factory=dict)
    patience: float = 45.0


@dataclass(frozen=True)
class Outcome:
    account: Account
    figures: Figures
    seconds: float
    #: Where it all is, where it was kept.
    directory: Path | None
    app: str
    #: What it is -> event id of a message worth asking `carillon why` about.
    examples: dict[str, str]
    world: World

    @property
    def repeated(self) -> int:
        return sum(line.repeated for line in self.world.lines)


class Demo:
    def __init__(self, wish: Wish, display: Display) -> None:
        self._wish, self._display = wish, display
        self._began = time.monotonic()

    def run(self) -> Outcome:
        """Runs the whole demo; raises `StalledError`, or `KeyboardInterrupt` for Ctrl-C."""
        with home(keep=self._wish.keep) as (directory, settings, environ):
            world = self._world(settings)
            readings, edits, silent = read_all(world), read_edits(world), read_silent(world)
            wish = self._wish
            self._display.step(
                f"seed {wish.seed}: {len(world.people):,} users with {len(world.devices):,} devices in"
                f" {len(world.rooms):,} channels, and {len(world.lines):,} messages to be said"
            )
            with stage(
                world,
                settings,
                environ,
                workers=wish.workers,
                seed=wish.seed,
                scripts=wish.scripts,
                keep=wish.keep,
                say=self._display.step,
            ) as running:
                considered = sum(reading.considered for reading in readings) + len(edits)
                found, traffic = self._play(world, _pushes(readings, edits, silent), considered, running)
            account = draw_up(
                world, readings, edits, silent, found, mistakes=len(mistakes(world.app, datetime.now(UTC)))
            )
            steady = frozenset(line.id for line in world.lines[: world.steady])
            later = frozenset(device.token for device in world.devices if device.user in world.active)
            figures = measure(found.requests, traffic.at, steady, later)
            seconds = time.monotonic() - self._began
            kept = directory if wish.keep else None
            return Outcome(account, figures, seconds, kept, world.app, _examples(readings, found), world)

    def _world(self, settings: Settings) -> World:
        wish = self._wish
        return generate(
            wish.seed,
            # In engines that are shared, every demo needs a name of its own.
            app="demo"
            if settings.redis_url is None and settings.postgres_url is None
            else f"demo-{secrets.token_hex(3)}",
            users=wish.users,
            channels=wish.channels,
            messages=wish.messages,
            steady=steady_of(wish.messages),
            now_ms=int(time.time() * 1000),
        )

    def _play(self, world: World, pushes: int, considered: int, running: Stage) -> tuple[Found, Traffic]:
        """`pushes`: how many are to be accepted; `considered`: how many members are to be decided about."""
        traffic = Traffic(world, running.publisher)
        watch = Watch(running.runtime, running.services, running.simulators.controls, world.app, traffic.at)
        display = self._display
        self._publish_beginnings(world, running, watch)
        display.begin(running, messages=len(world.lines), pushes=pushes)

        def look() -> None:
            running.crew.tend()
            if watch.look():
                display.progress(watch, traffic.published)

        display.act("a quiet evening: messages come at a pace")
        traffic.steady(STEADY_SECONDS * min(1.0, world.steady / 300), look)
        traffic.silent()
        display.act("everybody at once: all other messages in one burst")
        traffic.burst(look)
        display.act(
            "all is published; what was refused is sent again after 5 to 20 s, who was present is decided again after 30"
        )
        edited = False
        while not (watch.done and _all_begun(world, considered, watch)) and watch.quiet < self._wish.patience:
            look()
            if not edited and watch.expanded >= len(world.lines):
                traffic.edits()
                edited = True
            time.sleep(EVERY / 5)
        watch.look(now=True)
        display.progress(watch, traffic.published)
        display.end()
        return _found(world, running, watch), traffic

    def _publish_beginnings(self, world: World, running: Stage, watch: Watch) -> None:
        """Channels, members, devices and mutes, and who is online; returns when the system has taken them."""
        now = datetime.now(UTC)
        events = [*beginnings(world, self._wish.seed, now), *mistakes(world.app, now)]
        running.publisher.publish_many(events)
        for user in sorted(world.online):
            at_desktop = user in world.active
            running.publisher.online(world.app, user, _ONLINE, at_desktop, world.viewing.get(user))
        for user, room in sorted(world.readers):
            if user not in world.active:
                running.publisher.mark_read(world.app, user, room, now + timedelta(hours=1))
        self._display.step(
            f"published {len(events):,} events about members, devices, mutes, channels, preferences and quiet hours;"
            f" {len(world.online):,} users are online, {len(world.active):,} of them at a desktop"
        )
        deadline = time.monotonic() + self._wish.patience
        while watch.look() or watch.waiting:
            if time.monotonic() > deadline or running.crew.deaths > _DEATHS:
                raise StalledError(
                    f"the workers do not take what is published. The last words:\n{running.crew.last_words()}"
                )
            running.crew.tend()
            time.sleep(0.05)
        self._display.step("workers and beat are at work, and know who is in which channel")


def _all_begun(world: World, considered: int, watch: Watch) -> bool:
    every_line = watch.expanded >= len(world.lines) and watch.counts.get("considered", 0) >= considered
    return every_line and watch.targeted >= len(world.syncs)


def _pushes(readings: list[Reading], edits: list[EditReading], silent: list[SilentReading]) -> int:
    """Pushes accepted in the end: all but those to devices that are gone, and the one refusal of each returned."""
    devices = [device for reading in readings for some in reading.notified.values() for device in some]
    devices += [device for reading in edits for device in reading.devices]
    devices += [device for reading in silent for device in reading.devices]
    returned = {device.token for device in devices if device.nature == "returned"}
    return sum(device.nature not in DEAF for device in devices) - len(returned)


def _found(world: World, running: Stage, watch: Watch) -> Found:
    runtime = running.runtime
    with runtime.pool.connection() as db:
        rows = db.execute(
            "SELECT token, active, retired_reason FROM carillon.devices WHERE app = %s", (world.app,)
        ).fetchall()
    while runtime.ledger.flush(runtime.of_app(world.app).journal):
        pass
    letters = runtime.ledger.dead_letters(1000, world.app)
    devices = {token: DeviceState(active, reason) for token, active, reason in rows}
    return Found(watch.requests, watch.counts, devices, len(letters))


def _examples(readings: list[Reading], found: Found) -> dict[str, str]:
    events = {reading.line.id: reading.line.event for reading in readings}
    some = {
        "a device was retired": next((events.get(r.message) for r in found.requests if r.reason in _ENDED), None),
        "one was tried again": next((events.get(r.message) for r in found.requests if r.reason in TRIED_AGAIN), None),
        "a reply in a thread": next((r.line.event for r in readings if r.line.parent and len(r.notified) > 1), None),
        "more members than the cap": next((r.line.event for r in readings if r.skipped["over_member_cap"]), None),
    }
    return {what: event for what, event in some.items() if event}


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome as one JSON object."""
    world = outcome.world
    return {
        **outcome.account.as_json(),
        **outcome.figures.as_json(),
        "users": len(world.people),
        "channels": len(world.rooms),
        "devices": len(world.devices),
        "seconds": round(outcome.seconds, 1),
        "data_dir": None if outcome.directory is None else str(outcome.directory),
    }
