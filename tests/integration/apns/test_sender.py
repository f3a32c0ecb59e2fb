"""One thread a process sends for all: shared connections, changed credentials, forks, and an orderly end."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.integration.apns.h2_server import H2Server, Request, server_context
from tests.unit.apns.push_certificates import p12, push_certificate, topic_list
from worker.core.model import ACCEPTED, Answer, Heading, NoAnswer, Notification, Provider, Response
from worker.providers.apns.certificate import CertificateError, CertificateExpired
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import HOSTS, P12, ApnsSettings, Key, host_for
from worker.sender.route import Endpoint, Route
from worker.sender.stats import SenderStats
from worker.sender.transport import TransportClosed

KEY = Key("TEAMID1234", "KEYID12345", "key")
SETTINGS = ApnsSettings("io.team.App", KEY, "apns.test")
PROVIDER = Provider(1, "demo", "apn", "production", SETTINGS)


def changed(provider: Provider = PROVIDER, **settings: Any) -> Provider:
    """The provider with other settings."""
    return replace(provider, settings=replace(provider.settings, **settings))


def batch(size: int, start: int = 0) -> list[Notification]:
    return [
        Notification(f"{n:064x}", f"6ba7b810-9dad-51d1-80b4-{n:012x}", b"{}", Heading("io.team.App"))
        for n in range(start, start + size)
    ]


class Recorder:
    """A transport that answers each notification with a status made from its token, and notes what it sees."""

    def __init__(self, endpoint: Endpoint, *, answering: threading.Event | None = None) -> None:
        self.endpoint, self.answering = endpoint, answering
        self.threads: set[int] = set()
        self.batches = 0
        self.authorizations: set[str | None] = set()
        self.drained: float | None = None

    async def send(
        self,
        requests: Sequence[Notification],
        *,
        authorization: str | None,
        deadline: float,
        seen: list[Response | None] | None = None,
        following: Mapping[int, int] | None = None,
    ) -> list[Response]:
        self.threads.add(threading.get_ident())
        self.batches += 1
        self.authorizations.add(authorization)
        if self.answering is not None:
            await asyncio.to_thread(self.answering.wait, 10)
        return [Answer(400 + int(each.token, 16) % 100, "R") for each in requests]

    async def close(self, drain: float = 5.0) -> None:
        self.drained = drain


class Factory:
    def __init__(self) -> None:
        self.made: list[Recorder] = []
        self.answering: threading.Event | None = None

    def __call__(self, route: Route) -> Recorder:
        self.made.append(Recorder(route.access().endpoint, answering=self.answering))
        return self.made[-1]


@pytest.fixture
def factory() -> Factory:
    return Factory()


@pytest.fixture
def sender(factory: Factory) -> Iterator[ApnsSender]:
    made = ApnsSender(factory)
    yield made
    made.close(drain=0.1)


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_all_task_threads_share_one_loop_and_one_transport(sender: ApnsSender, factory: Factory) -> None:
    with ThreadPoolExecutor(8) as pool:
        sent = [
            pool.submit(sender.send, PROVIDER, batch(20, start=k), authorization="jwt", deadline=5) for k in range(40)
        ]
    for start, future in enumerate(sent):
        assert future.result() == [Answer(400 + n % 100, "R") for n in range(start, start + 20)]
    (transport,) = factory.made
    assert len(transport.threads) == 1
    assert transport.batches == 40
    assert transport.authorizations == {"jwt"}
    assert threading.get_ident() not in transport.threads
    assert sender.sender.stats()[:4] == (1, 0, 40, 800)


def test_a_process_that_sends_nothing_has_no_thread(sender: ApnsSender) -> None:
    assert sender.sender.stats() == SenderStats(0, 0, 0, 0, 0, 0)
    assert "carillon-sender" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        pytest.param({}, True, id="the same credential and host"),
        pytest.param({"topic": "io.team.Other"}, True, id="another topic of the team"),
        pytest.param({"credential": Key("TEAMID1234", "OTHER12345", "key")}, False, id="another key"),
        pytest.param(
            {"credential": Key("TEAMID1234", "KEYID12345", "other")}, False, id="another key under the same id"
        ),
        pytest.param({"credential": Key("OTHER12345", "KEYID12345", "key")}, False, id="another team"),
        pytest.param({"host": "elsewhere.test"}, False, id="another host"),
        pytest.param({"port": 2197}, False, id="another port"),
        pytest.param({"ca": server_context()[1]}, False, id="another CA"),
    ],
)
def test_providers_share_connections_only_where_apns_lets_them(
    sender: ApnsSender, factory: Factory, change: dict[str, Any], *, shared: bool
) -> None:
    sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)
    sender.send(changed(replace(PROVIDER, id=2), **change), batch(1), authorization="jwt", deadline=5)
    assert len(factory.made) == (1 if shared else 2)
    assert all(transport.drained is None for transport in factory.made)


def test_a_changed_credential_opens_a_new_way_and_drains_the_old(sender: ApnsSender, factory: Factory) -> None:
    sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)
    renewed = changed(credential=replace(KEY, pem="new"))
    sender.send(renewed, batch(1), authorization="jwt", deadline=5)
    until(lambda: factory.made[0].drained is not None)
    sender.send(renewed, batch(1), authorization="jwt", deadline=5)
    assert [transport.batches for transport in factory.made] == [1, 2]
    assert sender.sender.stats().transports == 1


def test_a_way_that_another_provider_still_uses_stays_open(sender: ApnsSender, factory: Factory) -> None:
    other = replace(PROVIDER, id=2)
    for provider in (PROVIDER, other, changed(credential=replace(KEY, pem="new")), other):
        sender.send(provider, batch(1), authorization="jwt", deadline=5)
    assert [(transport.batches, transport.drained) for transport in factory.made] == [(3, None), (1, None)]


@pytest.mark.parametrize(
    ("environment", "host", "expected"),
    [
        ("production", HOSTS["production"], "api.push.apple.com"),
        ("sandbox", HOSTS["production"], "api.sandbox.push.apple.com"),
        ("sandbox", "127.0.0.1", "127.0.0.1"),
        ("production", "gateway.example", "gateway.example"),
    ],
)
def test_a_provider_goes_to_its_environments_host_unless_it_has_its_own(
    environment: str, host: str, expected: str
) -> None:
    assert host_for(changed(replace(PROVIDER, environment=environment), host=host)) == expected  # type: ignore[arg-type]


def test_closing_lets_what_is_in_flight_finish_and_refuses_the_rest(factory: Factory) -> None:
    factory.answering = threading.Event()
    sender = ApnsSender(factory)
    with ThreadPoolExecutor(2) as pool:
        sending = pool.submit(sender.send, PROVIDER, batch(1), authorization="jwt", deadline=5)
        until(lambda: sender.sender.stats().in_flight == 1)
        factory.answering.set()
        assert sending.result() == [Answer(400, "R")]
        sender.close(drain=3.0)
    assert factory.made[0].drained == 3.0
    with pytest.raises(TransportClosed):
        sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)
    assert "carillon-sender" not in {thread.name for thread in threading.enumerate()}


def test_a_caller_that_waits_beyond_the_drain_learns_that_the_outcome_is_unknown(factory: Factory) -> None:
    factory.answering = threading.Event()
    sender = ApnsSender(factory)
    with ThreadPoolExecutor(2) as pool:
        sending = pool.submit(sender.send, PROVIDER, batch(2), authorization="jwt", deadline=50)
        until(lambda: sender.sender.stats().in_flight == 2)
        sender.close(drain=0.0)
        assert sending.result() == [NoAnswer("unknown", "closed")] * 2
        factory.answering.set()


def test_closing_twice_or_unused_is_no_trouble(factory: Factory) -> None:
    sender = ApnsSender(factory)
    sender.close()
    sender.close()


def test_a_certificate_that_cannot_be_used_is_the_callers_to_know(sender: ApnsSender, factory: Factory) -> None:
    with pytest.raises(CertificateError, match="not a push certificate"):
        sender.send(
            changed(credential=P12(p12(push_certificate(marks=(), days=36_500)))),
            batch(1),
            authorization=None,
            deadline=5,
        )
    assert factory.made == []
    assert sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5) == [Answer(400, "R")]


def test_a_topic_that_the_certificate_is_not_for_never_reaches_apns(sender: ApnsSender, factory: Factory) -> None:
    # The test's certificates count from a fixed day; the sender reads the real clock.
    document = p12(push_certificate(topics=topic_list({"io.team.App": "app"}), days=36_500))
    provider = changed(credential=P12(document))
    assert sender.send(provider, batch(1), authorization=None, deadline=5) == [Answer(400, "R")]
    elsewhere = [one._replace(heading=Heading("io.other")) for one in batch(1)]
    with pytest.raises(CertificateError, match=r"not for io\.other"):
        sender.send(changed(provider, topic="io.other"), elsewhere, authorization=None, deadline=5)
    assert [transport.batches for transport in factory.made] == [1]


class Stubborn:
    """A loop thread that hangs, or dies, on its next turn."""

    def __init__(self, sender: ApnsSender) -> None:
        self.loop = sender.sender._start()._loop
        self.released = threading.Event()

    def hang(self) -> None:
        self.loop.call_soon_threadsafe(self.released.wait, 30)

    def die(self) -> None:
        self.loop.call_soon_threadsafe(_exit)


def _exit() -> None:
    raise SystemExit


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.sender.sender.LOOK", 0.02)
    monkeypatch.setattr("worker.sender.sender.BEAT", 0.02)
    monkeypatch.setattr("worker.sender.sender.STUCK", 1.0)


@pytest.mark.usefixtures("impatient")
def test_a_loop_that_is_stuck_is_replaced_and_what_it_had_not_begun_was_not_sent(
    sender: ApnsSender, factory: Factory, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)) == 1
    stuck = Stubborn(sender)
    stuck.hang()
    began = time.monotonic()
    assert sender.send(PROVIDER, batch(2), authorization="jwt", deadline=30) == [NoAnswer("not_sent", "stuck")] * 2
    assert time.monotonic() - began < 20, "long before the deadline"
    assert "event loop of the sender is stuck" in caplog.text
    assert len(sender.send(PROVIDER, batch(2), authorization="jwt", deadline=5)) == 2
    stuck.released.set()
    until(lambda: stuck.loop.is_closed())
    old, new = factory.made
    assert (old.batches, old.drained) == (1, 0.0), (
        "what was given up was not sent after all, and its connections are closed"
    )
    assert (new.batches, new.drained) == (1, None)


@pytest.mark.usefixtures("impatient")
def test_of_a_batch_in_flight_on_a_stuck_loop_the_answers_are_kept_and_the_rest_is_unknown(
    sender: ApnsSender, factory: Factory
) -> None:
    factory.answering = threading.Event()
    seen: list[Response | None] = [None, None]
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(sender.send, PROVIDER, batch(2), authorization="jwt", deadline=30, seen=seen)
        until(lambda: bool(factory.made and factory.made[0].batches))
        seen[1] = ACCEPTED
        stuck = Stubborn(sender)
        stuck.hang()
        assert sent.result(20) == [NoAnswer("unknown", "stuck"), ACCEPTED]
    factory.answering.set()
    stuck.released.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_whose_thread_has_died_is_replaced(sender: ApnsSender, caplog: pytest.LogCaptureFixture) -> None:
    assert len(sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)) == 1
    died = Stubborn(sender)
    died.die()
    until(died.loop.is_closed)
    assert len(sender.send(PROVIDER, batch(2), authorization="jwt", deadline=5)) == 2
    assert "another one is made" in caplog.text


def test_connections_that_nobody_uses_are_closed_and_opened_again_when_needed(factory: Factory) -> None:
    sender = ApnsSender(factory, idle=0.3)
    try:
        sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)
        until(lambda: factory.made[0].drained is not None)
        assert sender.sender.stats().transports == 0
        sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)
        assert len(factory.made) == 2
    finally:
        sender.close(drain=0.1)


def test_connections_in_use_are_not_idle(factory: Factory) -> None:
    factory.answering = threading.Event()
    sender = ApnsSender(factory, idle=0.05)
    try:
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(sender.send, PROVIDER, batch(1), authorization="jwt", deadline=5)
            until(lambda: bool(factory.made and factory.made[0].batches))
            beats = sender.sender._start()._beats
            until(lambda: sender.sender._start()._beats >= beats + 2)
            assert factory.made[0].drained is None
            factory.answering.set()
            assert len(sent.result(10)) == 1
    finally:
        sender.close(drain=0.1)


def test_a_certificate_that_expires_in_use_stops_its_provider_and_is_announced_once_a_day(
    sender: ApnsSender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = push_certificate(days=36_500)
    provider = changed(credential=P12(p12((certificate, key))))
    clock = Clock(certificate.not_valid_after_utc - timedelta(days=31))
    monkeypatch.setattr("worker.providers.apns.sender.datetime", clock)

    def send() -> None:
        sender.send(provider, batch(1), authorization=None, deadline=5)

    send()
    assert "expires soon" not in caplog.text
    for days in (2, 0, 0, 1):
        clock.time += timedelta(days=days)
        send()
    warned: list[Any] = [record for record in caplog.records if "expires soon" in record.message]
    assert [(one.app, one.provider, one.days) for one in warned] == [("demo", "apn", 29), ("demo", "apn", 28)]
    clock.time = certificate.not_valid_after_utc
    with pytest.raises(CertificateExpired, match="expired on") as raised:
        send()
    assert raised.value.reason == "certificate_expired"


class Clock:
    def __init__(self, time: datetime) -> None:
        self.time = time

    def now(self, _zone: object) -> datetime:
        return self.time


FORKING = """
import json, os, sys, threading
sys.path.insert(0, ".")
from tests.integration.apns.test_sender import Factory, PROVIDER, batch
from worker.providers.apns.sender import ApnsSender

factory = Factory()
sender = ApnsSender(factory)
sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)
reader, writer = os.pipe()
child = os.fork()
if not child:
    answers = sender.send(PROVIDER, batch(3), authorization="jwt", deadline=5)
    seen = [len(answers), len(factory.made), sender.sender.stats().batches, threading.active_count()]
    os.write(writer, json.dumps(seen).encode())
    sender.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
sender.send(PROVIDER, batch(1), authorization="jwt", deadline=5)
print(json.dumps([status, json.loads(os.read(reader, 1000)), len(factory.made), sender.sender.stats().batches]))
sender.close()
"""


def test_a_forked_process_has_its_own_thread_and_connections_and_the_parent_keeps_its() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING], capture_output=True, timeout=30, check=True
    )
    assert json.loads(done.stdout) == [0, [3, 2, 1, 2], 1, 2]


@pytest.mark.parametrize("transport", ["http2", "httpx"])
def test_batches_travel_over_tls_from_many_threads(transport: str) -> None:
    async def script(request: Request) -> None:
        number = int(request.token, 16)
        if number % 10 == 3:
            request.answer(410, {"reason": "Unregistered", "timestamp": number})
        else:
            request.answer()

    sender = ApnsSender(transport=transport, connections=2)  # type: ignore[arg-type]
    with H2Server(script) as server, ThreadPoolExecutor(4) as pool:
        there = changed(host=server.endpoint.host, port=server.port, ca=server.ca)
        sent = [
            pool.submit(sender.send, there, batch(50, start=50 * k), authorization="jwt", deadline=20) for k in range(8)
        ]
        for start, future in enumerate(sent):
            numbers = range(50 * start, 50 * start + 50)
            expected = [Answer(410, "Unregistered", n) if n % 10 == 3 else ACCEPTED for n in numbers]
            assert future.result() == expected
        sender.close()
        assert 1 <= len(server.peers) <= 2
        assert {request.headers["authorization"] for request in server.requests} == {"bearer jwt"}
