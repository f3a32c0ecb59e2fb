"""An operator's outages on a running system: each is a condition, the right one and no other, wherever one looks.

How long each took to show and to clear is printed: a minute at most on a machine that is not busy. More is waited for.
"""

import contextlib
import html
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg import sql

from producers import events as ev
from tests.integration.pipeline.keys import new_key
from tests.processes import PATIENCE, carillon, free_port, until, wait_until
from tests.system.fleet import TOPIC, Fleet
from tests.unit.apns.push_certificates import p12, push_certificate
from worker.core.model import AppSettings, Provider
from worker.providers.apns.settings import P12, ApnsSettings, Key
from worker.reports import watch
from worker.reports.words import instant
from worker.simulator import Rule, Script, faults
from worker.state.breaker import Breaker
from worker.state.partition import Keyspace, untagged

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_SAME = {"Sec-Fetch-Site": "same-origin"}
#: Name, app and place of a condition.
Found = tuple[str, str | None, str]


def of(name: str, app: str | None = None, place: str = "") -> frozenset[Found]:
    return frozenset({(name, app, place)})


class Gate:
    """A port before another one, which can be shut: then connections are refused, and those that were open end."""

    def __init__(self, to: tuple[str, int]) -> None:
        self.port, self._to = free_port(), to
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self._to)
                self._sockets += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with one, contextlib.suppress(OSError):
        while octets := one.recv(65_536):
            other.sendall(octets)
        other.shutdown(socket.SHUT_WR)


class Trial:
    """A system of four apps, each with a provider and a user; and what it says of itself."""

    def __init__(self, fleet: Fleet, gate: Gate, numbers: int, pages: int) -> None:
        self.fleet, self.gate = fleet, gate
        self._numbers = f"http://127.0.0.1:{numbers}"
        self._pages = httpx.Client(base_url=f"http://127.0.0.1:{pages}", timeout=PATIENCE)
        self._ids = iter(range(1_000_000))
        self.took: dict[str, float] = {}
        simulator = fleet.simulator
        self.key = Key("TEAM123456", "KEY1234567", new_key())
        ports = {"refused": gate.port, "silent": simulator.port, "ended": simulator.port, "paused": simulator.port}
        self.settings = {
            app: ApnsSettings(TOPIC, self.key, simulator.host, port, simulator.ca_pem) for app, port in ports.items()
        }
        self.providers = {app: self.store(app, self.settings[app]) for app in ports}
        for app in ports:
            fleet.publisher.publish(
                ev.DeviceRegistered(**self._stamp(app), user="han", device=ev.Device(token=app.encode().hex()))
            )

    def close(self) -> None:
        self._pages.close()

    def store(self, app: str, settings: ApnsSettings) -> Provider:
        self.fleet.registry.save_app(AppSettings(app))
        return self.fleet.registry.save_provider(Provider(0, app, "apns", "production", settings))

    def _stamp(self, app: str) -> dict[str, Any]:
        return {"id": f"e{next(self._ids)}", "app": app, "at": datetime.now(UTC)}

    def publish(self, *apps: str) -> None:
        """A message to the user of each."""
        for app in apps:
            stamp = self._stamp(app)
            self.fleet.publisher.publish(
                ev.MessageNew(
                    **stamp,
                    channel=ev.Channel(id="general"),
                    message=ev.Message(id=f"m-{stamp['id']}", text="hello"),
                    sender=ev.Sender(id="leia"),
                    recipients=["han"],
                )
            )

    def publish_to_everybody(self, app: str) -> None:
        """Work for the bulk lane."""
        self.fleet.publisher.publish(ev.PushSend(**self._stamp(app), where=ev.Where(everyone=True), alert="hello"))

    def open(self) -> frozenset[Found]:
        """What the watch has, but for having looked late itself: a busy machine does that."""
        found = watch.current(Keyspace(self.fleet.redis).fleet).conditions
        return frozenset((one.name, one.app, one.place) for one in found if one.name != "not_watched")

    def shows(
        self,
        what: str,
        expected: frozenset[Found],
        meanwhile: Callable[[], object] = lambda: None,
        *,
        fading: frozenset[Found] = frozenset(),
    ) -> None:
        """Waits until the conditions are these, but for what is about to clear; then everybody is asked, and says the same."""
        began = time.monotonic()
        while (found := self.open()) - fading != expected:
            assert found <= expected | fading, f"{what}: {found - expected - fading} is wrong"
            assert time.monotonic() - began < PATIENCE, f"{what}: {expected - found} does not show"
            for name, *_ in found & expected:
                self.took.setdefault(name, time.monotonic() - began)
            meanwhile()
            time.sleep(0.25)
        for name, *_ in expected:
            self.took.setdefault(name, time.monotonic() - began)
        asked = time.monotonic()
        self.everybody_agrees(what, {name for name, *_ in expected})
        self.took["  everybody was asked"] = self.took.get("  everybody was asked", 0.0) + time.monotonic() - asked

    def clears(self, what: str, fading: frozenset[Found]) -> None:
        began = time.monotonic()
        while self.open() & fading:
            assert self.open() <= fading, f"{what}: {self.open() - fading} is wrong"
            assert time.monotonic() - began < PATIENCE, f"{what}: {self.open() & fading} does not clear"
            time.sleep(0.25)
        self.took[f"{what} cleared"] = time.monotonic() - began

    def sign_in(self) -> None:
        """At the dashboard, with the password that it made."""
        wait_until(lambda: "the dashboard is at" in self.fleet.output())
        [found] = re.finditer(r"user (\w+), password (\S+)", self.fleet.output())
        form = {"name": found[1], "password": found[2], "next": "/"}

        def signed_in() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return self._pages.post("/sign-in", data=form, headers=_SAME).status_code == 303
            return False

        wait_until(signed_in)

    def everybody_agrees(self, what: str, names: set[str]) -> None:
        """`health`, `doctor`, the log, the metrics and the pages have these, with the same time and sentence."""
        environment = self.fleet.environment
        with ThreadPoolExecutor() as pool:
            health = pool.submit(carillon, "health", "--alarms", "--json", "--timeout", "5", env=environment)
            doctor = pool.submit(carillon, "doctor", "--json", "--timeout", "1", env=environment)
            said = {"health": health.result(), "doctor": doctor.result()}
        lists = {who: json.loads(done.stdout) for who, done in said.items()}
        lists["/healthz"] = httpx.get(f"{self._numbers}/healthz", timeout=PATIENCE).json()["findings"]
        kept = {
            (one.name, one.app): one
            for one in watch.current(Keyspace(self.fleet.redis).fleet).conditions
            if one.name in names
        }
        for who, findings in lists.items():
            found = {(one["condition"], one["app"]): one for one in findings if one["condition"] in names}
            assert found.keys() == kept.keys(), f"{what}: {who} says {findings}"
            for key, one in kept.items():
                same = found[key]["text"] == one.text and found[key]["since"][:19] == instant(one.since or 0.0)[:19]
                assert same, f"{what}: {who} says {found[key]}, the watch {one}"
        assert said["doctor"].returncode == 1, f"{what}: the doctor is content"
        numbers, page = (
            httpx.get(f"{self._numbers}/metrics", timeout=PATIENCE).text,
            self._pages.get("/conditions").text,
        )
        log = self.fleet.output()
        for name in names:
            assert re.search(rf'^carillon_condition\{{.*name="{name}"', numbers, re.MULTILINE), (
                f"{what}: no metric of {name}"
            )
            assert re.search(rf"condition begins.*condition={name}\b", log), f"{what}: the log has no {name}"
        for one in kept.values():
            shown = one.what.removeprefix("it ")[1:]
            assert shown in html.unescape(page), f"{what}: the page does not say {shown}"


@pytest.fixture
def trial(postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[Trial]:
    numbers, pages = free_port(), free_port()
    bounds = {"CARILLON_LEASE_SECONDS": "10", "CARILLON_APNS_TIMEOUT": "3"}
    with Fleet(postgres_url, redis_url, tmp_path, **bounds) as fleet:
        gate = Gate((fleet.simulator.host, fleet.simulator.port))
        gate.open()
        made = Trial(fleet, gate, numbers, pages)
        fleet.start("dashboard", "--port", str(pages), CARILLON_METRICS_PORT=str(numbers))
        fleet.start("worker", "--lane", "urgent")
        fleet.start("beat")
        made.sign_in()
        # Beat may begin so late that it is a condition for a moment.
        wait_until(lambda: watch.known(Keyspace(fleet.redis).fleet).watched and not made.open())
        yield made
        made.close()
        gate.shut()
        sys.stdout.write("".join(f"\n{seconds:5.1f} s  {what}" for what, seconds in made.took.items()))


APPS = ("refused", "silent", "ended", "paused")


def test_O1_every_outage_is_the_right_condition_everywhere_and_clears(trial: Trial, postgres_url: str) -> None:
    over = _providers(trial)
    over |= _engines(trial, postgres_url, over)
    over |= _workers(trial, postgres_url, over)
    assert trial.open() == set()
    # The look that ended a condition writes it down a moment later, or the next look does.
    until("every incident has ended", lambda: all(one["ended"] for one in _incidents(trial)))
    assert {one["name"] for one in _incidents(trial)} >= {name for name, *_ in over}


def _incidents(trial: Trial) -> list[dict[str, Any]]:
    done = carillon("incidents", "--since", "1h", "--json", env=trial.fleet.environment)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def _providers(trial: Trial) -> frozenset[Found]:
    """What keeps a provider from getting its pushes. Returns what is over, and about to clear."""
    fleet = trial.fleet
    stranger = fleet.start("worker", "--lane", "bulk", CARILLON_SECRET_KEYS=Fernet.generate_key().decode())
    trial.publish(*APPS)
    fleet.simulator.wait_accepted(len(APPS), PATIENCE)
    unreadable = of("credential_unreadable", "demo")
    for app in APPS:
        unreadable |= of("credential_unreadable", app)
    trial.shows("a worker with wrong secret keys", unreadable)

    trial.gate.shut()
    fleet.simulator.set_script(Script(rules=(Rule(token=b"silent".hex(), fault=faults.Never()),)))
    ended = P12(p12(push_certificate(uid=TOPIC, days=-1)))
    trial.store("ended", replace(trial.settings["ended"], credential=ended))
    Breaker(untagged(fleet.redis)).stop(trial.providers["paused"].id, "the receiver moves", time.time(), manual=True)
    held = of("provider_unreachable", "refused") | of("provider_silent", "silent")
    held |= of("credential_ended", "ended") | of("provider_paused", "paused")
    what = "APNs refused, APNs silent, certificate ended, provider paused"
    trial.shows(what, held | unreadable, lambda: trial.publish(*APPS))

    trial.gate.open()
    fleet.simulator.set_script(Script())
    trial.store("ended", trial.settings["ended"])
    Breaker(untagged(fleet.redis)).resume(trial.providers["paused"].id, by_hand=True)
    stranger.kill()
    return held | unreadable


def _engines(trial: Trial, postgres_url: str, fading: frozenset[Found]) -> frozenset[Found]:
    full, replica = of("redis_filling"), of("postgres_read_only")
    trial.fleet.redis.config_set("maxmemory", 1)
    try:
        trial.shows("Redis full", full, fading=fading)
    finally:
        trial.fleet.redis.config_set("maxmemory", 0)
    _read_only(postgres_url, "on")
    trial.shows("Postgres read-only", replica, fading=fading | full)
    _read_only(postgres_url, "off")
    return full | replica


def _workers(trial: Trial, postgres_url: str, fading: frozenset[Found]) -> frozenset[Found]:
    both = of("no_workers", place="bulk") | of("intake_not_moving")
    trial.publish_to_everybody("paused")
    wait_until(lambda: trial.fleet.journal.ready("e", "bulk"))
    with psycopg.connect(postgres_url) as db:
        db.execute("LOCK TABLE carillon.cursors IN SHARE MODE")
        trial.publish("paused")
        trial.shows("the bulk worker is gone, an intake that cannot move", both, fading=fading)
    trial.fleet.start("worker", "--lane", "bulk")
    trial.clears("everything", both | fading)
    return both


def _read_only(postgres_url: str, value: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("SET default_transaction_read_only = off")
        name = sql.Identifier(db.info.dbname)
        db.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(name, sql.SQL(value)))
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        db.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}".encode())
