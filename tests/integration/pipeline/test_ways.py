"""A provider with several origins: what is wrong with one of them holds up no other, and nothing of it is lost or sent twice."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp
from tests.unit.kinds.toy.kind import Item, Toy, ToyClient, ToySettings, decide
from worker.core.model import ACCEPTED, Answer, NoAnswer, Provider, Response
from worker.core.outcome import OpenBreaker, Outcome, Retry, Unregister
from worker.core.way import MOST_ORIGINS, OTHER, way_of
from worker.providers import kinds
from worker.providers.base import Sent
from worker.reports import conditions
from worker.reports.conditions import OVER
from worker.reports.delivery_report import device_line
from worker.reports.looking_up import look_up, write_up
from worker.reports.reading import read
from worker.reports.watch import Watch
from worker.state import keys

SILENT = NoAnswer("unknown", "deadline")
GOOD, BAD = "good.example", "bad.example:8443"


@dataclass(frozen=True, slots=True)
class HostsSettings(ToySettings):
    kind: ClassVar[str] = "hosts"


def decide_by_host(response: Response, **known: Any) -> Outcome:
    """As the toy does, but what it says of the provider is about the host."""
    match response:
        case Answer(status=429):
            return Retry(response.retry_after or 1.0, "status_429", "origin", spends_attempt=False, cooldown=True)
        case Answer(status=402):
            return Retry(response.retry_after or 1.0, "quota", "provider", spends_attempt=False, cooldown=True)
        case Answer(status=401):
            return OpenBreaker("status_401", "origin")
        case Answer(status=404):
            return Unregister("status_404", not_after=known["sent_at"], guarded=True)
        case NoAnswer(sent="unwritable"):
            return Unregister(response.cause, not_after=known["sent_at"])
        case NoAnswer():
            return Retry(1.0, response.cause, "origin", spends_attempt=False)
        case Answer(status=status) if status >= 500:
            return Retry(max(1.0, response.retry_after or 0.0), f"status_{status}", "origin", spends_attempt=False)
    return decide(response, **known)


class Hosts(Toy):
    """A token is `<name>@<host>`."""

    name = HostsSettings.kind
    words = Toy.words._replace(by="its host", origin="push service")
    forms = frozenset(("hosts",))
    decide = staticmethod(decide_by_host)

    def store(self, settings: ToySettings) -> Any:
        return super().store(settings)._replace(form="hosts")

    def load(self, stored: Any) -> ToySettings:
        return HostsSettings(stored.fields["box"], stored.credential.decode())

    def canonical_token(self, token: str) -> str:
        return token

    def origin(self, token: str, platform: str, purpose: str = "alert") -> str:
        return token.partition("@")[2]


def _go_on(host: str) -> None:
    """Nothing happens before a request."""


class HostsClient(ToyClient):
    """Answers by host; without an entry it accepts."""

    def __init__(self) -> None:
        super().__init__()
        self.hosts: dict[str, Response] = {}
        #: Tokens in the order in which they were accepted.
        self.accepted: list[str] = []
        self.tried: list[str] = []
        self.before: Callable[[str], None] = _go_on

    def send(
        self,
        provider: Provider,
        requests: Sequence[Item],
        *,
        now: Callable[[], float],
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        responses: list[Response] = []
        for one in requests:
            host = one.token.partition("@")[2]
            self.before(host)
            self.tried.append(one.token)
            response = self.hosts.get(host, ACCEPTED)
            if response == ACCEPTED:
                self.accepted.append(one.token)
            responses.append(response)
            if seen is not None:
                seen[len(responses) - 1] = response
        return Sent(responses)


class Origins:
    """The pipeline with a provider of this kind alone, and a member `han` with a device at each host."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.client = pipeline, HostsClient()
        pipeline.clients["hosts"] = self.client
        pipeline.registry.remove_provider("demo", "apns")
        settings = HostsSettings("box7", "hunter2")
        pipeline.provider = pipeline.registry.save_provider(Provider(0, "demo", "web", "production", settings))
        self.id = pipeline.provider.id
        self.published = 0
        self.devices("han", GOOD, BAD)

    def devices(self, user: str, *hosts: str) -> None:
        self.pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", user]))
        for host in hosts:
            device = ev.Device(token=f"{user}@{host}")
            self.pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=device))

    def run(self, messages: int = 1) -> None:
        for _ in range(messages):
            self.published += 1
            self.pipeline.publish(message(id=f"e{self.published}"))
            self.pipeline.run()

    def later(self) -> None:
        """Whatever waits for a time goes now, and so do probes."""
        for key in self.pipeline.redis.scan_iter(f"{keys.PREFIX}probe:*"):
            self.pipeline.redis.delete(key)
        self.pipeline.later()
        self.pipeline.deliver()

    def heal(self) -> None:
        """Nothing is wrong any more, and everything that waited goes."""
        self.client.hosts.clear()
        for _ in range(20):
            if self.pipeline.journal.backlog() == (0, 0):
                return
            self.later()

    def to(self, host: str) -> int:
        """How many were accepted there."""
        return sum(one.endswith(f"@{host}") for one in self.client.accepted)

    def found(self) -> list[conditions.Condition]:
        with self.pipeline.pool.connection() as db:
            return conditions.find(read(self.pipeline.keyspace, db, workers=False).snapshot)


@pytest.fixture
def origins(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origins]:
    monkeypatch.setitem(kinds.KINDS, "hosts", Hosts())
    yield Origins(pipeline)
    # The check after the test reads the providers.
    pipeline.registry.remove_provider("demo", "web")


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(SILENT, id="it answers nothing"),
        pytest.param(NoAnswer("not_sent", "connect: refused"), id="it cannot be reached"),
        pytest.param(Answer(429, None, None, 60.0), id="it is over its quota"),
        pytest.param(Answer(401), id="it refuses the key"),
        pytest.param(Answer(503), id="it is down"),
    ],
)
def test_one_bad_origin_holds_up_no_other_and_loses_nothing(origins: Origins, response: Response) -> None:
    origins.client.hosts[BAD] = response
    origins.run(6)
    assert origins.to(GOOD) == 6
    assert origins.to(BAD) == 0
    origins.heal()
    assert Counter(origins.client.accepted) == {f"han@{GOOD}": 6, f"han@{BAD}": 6}
    assert origins.pipeline.journal.backlog() == (0, 0)
    with origins.pipeline.pool.connection() as db:
        assert db.execute("SELECT count(*) FROM carillon.devices WHERE active").fetchall() == [(2,)]


def test_a_hanging_origin_holds_its_share_of_the_threads_only(origins: Origins) -> None:
    held, go = threading.Semaphore(0), threading.Event()

    def before(host: str) -> None:
        if host == BAD:
            held.release()
            assert go.wait(60)

    origins.client.before = before
    pipeline = origins.pipeline
    for n in range(40):
        pipeline.publish(message(id=f"h{n}", channel="general"))
        pipeline.take()
        pipeline.expand()
    threads = [threading.Thread(target=pipeline.delivery.deliver, args=("urgent",)) for _ in range(80)]
    for thread in threads:
        thread.start()
    assert held.acquire(timeout=30)
    deadline = time.monotonic() + 30
    while origins.to(GOOD) < 40 and time.monotonic() < deadline:
        pipeline.delivery.deliver("urgent")
    assert origins.to(GOOD) == 40
    go.set()
    for thread in threads:
        thread.join(30)
    pipeline.deliver()
    assert Counter(origins.client.accepted) == {f"han@{GOOD}": 40, f"han@{BAD}": 40}


def test_a_pause_holds_all_origins_and_a_resume_lets_all_flow(origins: Origins) -> None:
    pipeline = origins.pipeline
    pipeline.breaker.stop(way_of(origins.id, BAD), "status_401", time.time())
    pipeline.breaker.stop(origins.id, "maintenance", time.time(), manual=True)
    origins.run(2)
    origins.later()
    assert origins.client.tried == []
    assert pipeline.breaker.resume(origins.id, by_hand=True)
    pipeline.deliver()
    assert Counter(origins.client.accepted) == {f"han@{GOOD}": 2, f"han@{BAD}": 2}


def test_an_open_breaker_of_the_provider_holds_all_origins_until_one_probe_is_taken(origins: Origins) -> None:
    pipeline = origins.pipeline
    pipeline.breaker.stop(origins.id, "unusable_credential", time.time())
    origins.run(3)
    assert origins.client.tried == []
    origins.heal()
    assert pipeline.breaker.stopped(origins.id) is None
    assert Counter(origins.client.accepted) == {f"han@{GOOD}": 3, f"han@{BAD}": 3}


def test_an_unusable_credential_stops_the_provider_and_what_one_origin_says_only_that(
    origins: Origins, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    origins.client.hosts[BAD] = Answer(401)
    origins.run()
    breaker = origins.pipeline.breaker
    assert breaker.stopped(origins.id) is None
    assert breaker.stopped(way_of(origins.id, BAD)) is not None
    [line] = [r for r in caplog.records if r.getMessage().startswith(f"provider stopped for push service {BAD}: ")]
    fields = vars(line)
    assert (fields["app"], fields["provider"], fields["origin"]) == ("demo", "web", BAD)
    origins.client.hosts[GOOD] = Answer(403)
    origins.run()
    assert breaker.stopped(origins.id) is not None


def test_over_its_quota_an_origin_gets_nothing_until_then_and_begins_slowly(origins: Origins) -> None:
    pipeline, way = origins.pipeline, way_of(origins.id, BAD)
    origins.client.hosts[BAD] = Answer(429, None, None, 300.0)
    origins.run(12)
    assert origins.client.tried.count(f"han@{BAD}") == 1, "what waits, waits in the store"
    quota = pipeline.limiter.quotas([way])[way]
    assert quota.until - quota.since == pytest.approx(300, abs=0.01)
    assert pipeline.breaker.stopped(way) is None
    origins.client.hosts.clear()
    pipeline.later(1000.0)
    over = time.time()
    pipeline.redis.hset(keys.QUOTA(way), "until", over)
    pipeline.deliver()
    began = origins.to(BAD)
    assert 2 <= began <= 2 ** (1 + int(time.time() - over))
    over = time.time()
    pipeline.redis.hset(keys.QUOTA(way), "until", over)
    pipeline.later(1.0)
    pipeline.deliver()
    assert 4 <= origins.to(BAD) <= max(began, 2 ** (2 + int(time.time() - over)))
    origins.heal()
    assert origins.to(BAD) == 12


def test_a_project_over_its_quota_holds_all_origins(origins: Origins) -> None:
    origins.client.hosts[BAD] = Answer(402, None, None, 60.0)
    origins.run()
    before = len(origins.client.tried)
    origins.run(3)
    assert len(origins.client.tried) == before
    origins.heal()
    assert Counter(origins.client.accepted) == {f"han@{GOOD}": 4, f"han@{BAD}": 4}


def test_people_read_which_origin_waits_and_until_when(origins: Origins, caplog: pytest.LogCaptureFixture) -> None:
    origins.client.hosts[BAD] = Answer(429, None, None, 300.0)
    origins.run(2)
    [one] = origins.found()
    assert (one.name, one.severity, one.provider, one.origin) == (
        *("provider_over_quota", "warning"),
        *("web", f"push service {BAD}"),
    )
    assert one.since is not None and one.until is not None
    assert one.until - one.since == pytest.approx(300, abs=1)
    pipeline = origins.pipeline
    write_up(pipeline.journal, pipeline.ledger)
    facts, made = look_up(pipeline.keyspace, pipeline.pool, "demo", "e1")
    lines = [device_line(of, facts.ways.get(id), facts.following.get(id)) for id, of in made.pushed["han"].items()]
    assert sorted(line.partition(" until")[0].partition(",")[0] for line in lines) == [
        "accepted by its host",
        "waits for the push service's quota",
    ]
    watch = Watch(pipeline.keyspace, pipeline.pool)
    watch.look()
    origins.heal()
    pipeline.redis.delete(keys.QUOTA(way_of(origins.id, BAD)), keys.CONDITIONS_LOOKED())
    Watch(pipeline.keyspace, pipeline.pool, now=lambda: time.time() + OVER + 1).look()
    said = [(r.getMessage(), r.levelname, vars(r)["origin"]) for r in caplog.records if hasattr(r, "condition")]
    words = f"push service {BAD}"
    assert said == [("condition begins", "WARNING", words), ("condition is over", "WARNING", words)]


def test_what_expires_while_its_origin_is_over_a_quota_is_dropped_meanwhile(origins: Origins) -> None:
    pipeline = origins.pipeline
    origins.client.hosts[BAD] = Answer(429, None, None, 5000.0)
    origins.run(3)
    counts = pipeline.journal.counts("demo")
    assert counts["dropped.expired"] == 1, "it would be tried after its life"
    pipeline.now += 4000.0
    for _ in range(3):
        pipeline.redis.delete(keys.LOOKED(way_of(origins.id, BAD)))
        pipeline.later(61.0)
        pipeline.deliver()
    assert pipeline.journal.counts("demo")["dropped.expired"] == 3
    assert origins.client.tried.count(f"han@{BAD}") == 1
    assert pipeline.journal.backlog() == (0, 0)


def test_an_origin_that_refuses_all_tokens_stops_alone_and_retires_nobody(origins: Origins) -> None:
    for n in range(15):
        origins.devices(f"u{n}", GOOD, BAD)
    origins.client.hosts[BAD] = Answer(404)
    origins.run(2)
    breaker = origins.pipeline.breaker
    stopped = breaker.stopped(way_of(origins.id, BAD))
    assert stopped is not None and stopped.reason == "mass_refusal"
    assert breaker.stopped(origins.id) is None
    assert origins.to(GOOD) == 32
    with origins.pipeline.pool.connection() as db:
        assert db.execute("SELECT count(*) FROM carillon.devices WHERE active").fetchall() == [(32,)]
    origins.heal()
    assert origins.to(BAD) == 32


def test_the_time_of_a_quota_grows_with_refusals_in_a_row(origins: Origins) -> None:
    limiter, redis = origins.pipeline.limiter, origins.pipeline.redis
    found = []
    for _ in range(16):
        found.append(limiter.over_quota("1@a", 10.0, "status_429", jitter=1.0 - 1e-9))
        assert limiter.over_quota("1@a", 10.0, "status_429", jitter=0.0) <= found[-1] + 0.01, "it is over it by then"
        redis.hset(keys.QUOTA("1@a"), "until", time.time() - 1)
    assert found[:3] == pytest.approx([10.0, 14.0, 19.6], abs=0.01)
    assert found[-1] == pytest.approx(900.0, abs=0.01)
    assert limiter.over_quota("1@a", 5000.0, "status_429", jitter=0.0) == pytest.approx(5000.0, abs=0.01)


def test_a_worker_that_dies_amid_an_origin_sends_nothing_twice_that_was_recorded(origins: Origins) -> None:
    class Died(BaseException):
        pass

    def die(host: str) -> None:
        if host == BAD:
            raise Died

    origins.client.before = die
    origins.pipeline.publish(message(id="e1"))
    origins.pipeline.take()
    origins.pipeline.expand()
    for _ in range(2):
        try:
            origins.pipeline.deliver()
        except Died:
            origins.client.before = _go_on
    origins.heal()
    assert Counter(origins.client.accepted) == {f"han@{GOOD}": 1, f"han@{BAD}": 1}


def test_batches_without_an_origin_of_a_release_before_are_delivered(
    origins: Origins, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(Hosts, "origin", Toy.origin)
        origins.pipeline.publish(message(id="before"))
        origins.pipeline.take()
        origins.pipeline.expand()
    assert origins.pipeline.redis.exists(keys.LINE("urgent", origins.id))
    origins.run()
    assert Counter(origins.client.accepted) == {f"han@{GOOD}": 2, f"han@{BAD}": 2}


def test_origins_beyond_the_bound_share_one_way(origins: Origins) -> None:
    pipeline = origins.pipeline
    now = time.time()
    pipeline.redis.zadd(keys.ORIGINS(origins.id), {f"h{n}.example": now for n in range(MOST_ORIGINS)})
    origins.client.hosts[BAD] = Answer(429, None, None, 60.0)
    origins.run()
    assert pipeline.limiter.quotas([way_of(origins.id, OTHER)])
    origins.heal()
    assert Counter(origins.client.accepted) == {f"han@{GOOD}": 1, f"han@{BAD}": 1}


def test_a_device_that_the_client_refuses_is_retired_and_says_nothing_of_its_origin(origins: Origins) -> None:
    origins.client.hosts[BAD] = NoAnswer("unwritable", "origin_not_allowed")
    origins.run()
    assert origins.pipeline.journal.counts("demo")["retired.origin_not_allowed"] == 1
    assert not origins.pipeline.redis.exists(keys.ANSWERS(way_of(origins.id, BAD)))
    with origins.pipeline.pool.connection() as db:
        assert db.execute("SELECT token FROM carillon.devices WHERE active").fetchall() == [(f"han@{GOOD}",)]


def test_a_device_gets_no_more_in_a_time_than_its_service_takes_and_each_waits_once(
    origins: Origins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hosts, "device_rates", ((22, 60), (2000, 3600)))
    pipeline = origins.pipeline
    for n in range(18):
        pipeline.publish(message(id=f"e{n}"))
    pipeline.run()
    assert origins.to(GOOD) == origins.to(BAD) == 11, "the first eight are free"
    assert pipeline.journal.counts("demo")["limited.service_rate"] == 14
    waiting: Any = pipeline.redis.zrange(keys.DUE(), 0, -1, withscores=True)
    due = sorted({at for _, at in waiting})
    times = [at for last, at in pairwise([0.0, *due]) if at - last > 2]
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([20] * 6, abs=2)
    for _ in range(20):
        pipeline.later(20.0)
        pipeline.deliver()
    assert origins.to(GOOD) == origins.to(BAD) == 18
    assert pipeline.journal.counts("demo")["limited.service_rate"] == 14, "each waited once"
