"""A server that does not answer has one partition of four: the others are served meanwhile."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from config.settings import Settings, get_settings
from producers.partitions import LAYOUT_KEY, Layout, encoded, tags
from tests.valkey import Valkey, wait_until
from worker.cli import partitions as cli_partitions
from worker.cli._commands import app as cli
from worker.core.ledger_entry import account
from worker.embedded import Urls
from worker.metrics import health
from worker.metrics.shared import Addresses, Target
from worker.pipeline.expansion.fan_out import Expanded
from worker.process import repartition, tasks
from worker.process.runtime import Runtime
from worker.process.ticker import Ticker
from worker.reports.conditions import find
from worker.reports.invariants import check_invariants
from worker.reports.reading import read
from worker.reports.watch import Watch, known
from worker.state import redis
from worker.state.gate import Gate
from worker.state.journal import Opened, Recorded
from worker.state.keys import FLEET, PREFIX
from worker.state.partition import Keyspace
from worker.state.parts import Parts
from worker.state.redis import Redis, connect

LAYOUT = Layout(2, tags(4, 2))
FROZEN = 1


class TwoServers(Keyspace):
    """One partition is on a server of its own."""

    def __init__(self, first: Redis, second: Redis) -> None:
        super().__init__(first, lambda _: LAYOUT)
        self._second = second
        self.of_second = {LAYOUT.prefix(FROZEN)}

    def client_of(self, key: str) -> Redis:
        return self._second if key in self.of_second else self.redis


@dataclass
class System:
    runtime: Runtime
    valkey: Valkey

    def accounts(self, partition: int) -> int:
        """That wait for the ledger."""
        of = self.runtime.partitions[partition].partition
        return int(of.redis.llen(of.keys.ACCOUNTS()))

    def add_accounts(self, *, frozen: bool = True) -> None:
        for of in self.runtime.partitions:
            if of.index == FROZEN and not frozen:
                continue
            of.partition.redis.rpush(of.partition.keys.ACCOUNTS(), account("demo", f"of {of.index}", "page:0", {}))


@pytest.fixture
def system(redis_url: str, postgres_url: str, valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    # Celery's app reads them once.
    monkeypatch.setenv("CARILLON_REDIS_URL", redis_url)
    monkeypatch.setenv("CARILLON_POSTGRES_URL", postgres_url)
    get_settings.cache_clear()
    runtime = Runtime(Settings(), Urls(redis_url, postgres_url))
    second = connect(valkey.url)
    runtime.redis.set(LAYOUT_KEY, encoded(LAYOUT))
    vars(runtime).update(keyspace=TwoServers(runtime.redis, second), parts=Parts(patience=1.0))
    monkeypatch.setattr(tasks, "get_runtime", lambda: runtime)
    assert "late" not in tasks.tick()
    yield System(runtime, valkey)
    valkey.thaw()
    runtime.close()
    second.close()
    get_settings.cache_clear()


def test_the_tick_serves_the_others_and_says_whose_part_takes_long(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    system.add_accounts()
    system.valkey.freeze()
    done = tasks.tick()
    assert (done["accounts"], done["late"] > 0) == (3, True)
    assert [system.accounts(n) for n in (0, 2, 3)] == [0, 0, 0]
    assert any("carillon-tick-1" in thread.name for thread in threading.enumerate()), "it goes on by itself"
    assert {vars(record).get("partition") for record in caplog.records} == {FROZEN}
    system.add_accounts(frozen=False)
    assert tasks.tick()["accounts"] == 3, "and is not begun again before it has ended"
    system.valkey.thaw()
    wait_until(lambda: system.accounts(FROZEN) == 0, "it did not go on")


def test_whether_anybody_ticks_is_asked_of_those_that_answer(system: System) -> None:
    ticker = Ticker(system.runtime, lambda: None)
    frozen, first = (system.runtime.partitions[n] for n in (FROZEN, 0))
    vars(system.runtime)["partitions"] = [frozen, first]
    first.partition.redis.delete(first.partition.keys.WATCHED())
    system.valkey.freeze()
    assert [ticker._unwatched(), ticker._unwatched()] == [True, False]


def test_what_can_be_read_of_the_others_is_read_and_the_silent_one_is_named(system: System) -> None:
    runtime = system.runtime
    for of in runtime.partitions:
        for _ in range(of.index + 1):
            of.partition.redis.xadd(of.partition.names.inlet, {"event": "{}"})
    system.valkey.freeze()
    with runtime.pool.connection() as db:
        reading = read(runtime.keyspace, db)
        assert check_invariants(runtime.keyspace.answering()[0], db, looks=1) == []
    assert reading.unknown == [("partition 1", "no answer within 1 s")]
    assert reading.snapshot.leaders is not None
    assert reading.snapshot.redis is not None
    assert [of.partition for of in reading.snapshot.leaders] == [0, 2, 3]
    [found] = [one for one in find(reading.snapshot) if one.name == "partition_away"]
    assert "partition 1" in found.what
    assert [reading.tells(name) for name in ("provider_stopped", "no_leader", "beat_away")] == [False, False, True]
    system.valkey.thaw()
    wait_until(lambda: runtime.keyspace.answering()[1] == {}, "it does not answer again")


def test_while_the_fleet_cannot_look_each_worker_looks_alone(system: System, caplog: pytest.LogCaptureFixture) -> None:
    """The server of one partition has the fleet's keys as well."""
    runtime, clock = system.runtime, [time.time()]
    assert isinstance(runtime.keyspace, TwoServers)
    keyspace = TwoServers(runtime.redis, runtime.keyspace._second)
    keyspace.of_second.add(PREFIX + FLEET)
    alone = Watch(keyspace, runtime.pool, now=lambda: clock[0])
    keyspace.fleet.redis.set(keyspace.fleet.keys.BEAT(), 1)
    system.valkey.freeze()
    shown = health.page(lambda: keyspace.fleet, lambda: alone.alone)
    for _ in range(4):
        alone.redis_is_away(redis.Away[0]("timed out"))
        clock[0] += 2.5
    begun = [vars(record)["condition"] for record in caplog.records if record.getMessage() == "condition begins"]
    assert {"redis_away", "partition_away"} <= {*begun}
    assert len(begun) == len({*begun})
    answer = shown()
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    found = {one["condition"]: one["text"] for one in json.loads(answer.body)["findings"]}
    assert "each of them looks for conditions alone (no answer within 1 s)" in found["redis_away"]
    assert "partition 1" in found["partition_away"]
    system.valkey.thaw()
    wait_until(lambda: keyspace.answering()[1] == {}, "it does not answer again")
    alone.redis_is_back()
    assert alone.alone is None
    kept = known(keyspace.fleet).seen
    assert {one.condition.name for one in kept.values() if one.opened} == {*begun}


def test_metrics_have_the_others_and_say_which_is_missing(system: System) -> None:
    urls = system.runtime.urls
    target = Target(Addresses(urls.redis, urls.postgres, urls.postgres), apps=10)
    vars(target)["_known"] = system.runtime.keyspace
    system.valkey.freeze()
    text = target.pages()["/metrics"]().body.decode()
    assert 'carillon_scrape_part_up{part="partition 1"} 0.0' in text
    assert 'carillon_scrape_part_up{part="backlog"} 1.0' in text
    assert 'carillon_scrape_part_up{part="redis"} 1.0' in text
    target.close()


def test_few_threads_wait_for_a_server_that_does_not_answer() -> None:
    gate, released = Gate(patience=0.01), threading.Event()

    def wait() -> None:
        with gate:
            released.wait()

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()

    def refused() -> bool:
        try:
            with gate:
                return False
        except redis.Unavailable:
            return True

    wait_until(refused, "a third one waited")
    released.set()
    for thread in threads:
        thread.join()
    assert not refused()


def test_a_task_is_put_off_while_enough_wait_for_its_partition(system: System) -> None:
    journal = system.runtime.partitions[FROZEN].journal
    gate = journal._gate
    with gate, gate:
        assert tasks.fan_out("urgent", partition=FROZEN) == {"put_off": 1}
        assert tasks.deliver("urgent", partition=FROZEN) == {"put_off": 1}
        assert tasks.fan_out("urgent", partition=0) == {}
    assert tasks.fan_out("urgent", partition=FROZEN) == {}


def test_what_waits_for_its_home_is_not_expanded_again_and_again(system: System) -> None:
    of, tries = system.runtime.partitions[0], list[int]()
    of.journal.open([Recorded("1-1", "demo", 1)], token=0)

    def expand(opened: Sequence[Opened], **_: object) -> Expanded:
        tries.append(len(opened))
        return Expanded(Counter(), 0, {}, opened, held=True)

    vars(of)["fan_out"] = SimpleNamespace(expand=expand)
    assert tasks.fan_out("urgent") == {}
    assert tries == [1]
    assert [one.entry for one in of.journal.take_messages("urgent", 1)] == ["1-1"]


def test_what_a_part_ends_with_is_the_tick_s(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tasks, "_prune", fail)
    system.add_accounts()
    with pytest.raises(ZeroDivisionError):
        tasks.tick()
    assert [system.accounts(n) for n in range(4)] == [0, 0, 0, 0]


def test_notes_for_a_home_that_is_silent_are_a_part_of_the_tick_by_themselves(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = system.runtime.partitions[0]

    def away() -> int:
        raise redis.Away[0]

    monkeypatch.setattr(of.homes, "carry", away)
    system.add_accounts()
    assert tasks.tick() == {"put_off": 1}
    assert [system.accounts(n) for n in range(4)] == [0, 0, 0, 0]


def test_the_partitions_that_answer_are_shown_and_the_silent_one_is_named(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    for of in system.runtime.partitions:
        of.partition.redis.xadd(of.partition.names.inlet, {"event": "{}"})
    system.valkey.freeze()
    monkeypatch.setattr(cli_partitions, "session", lambda: nullcontext(system.runtime))
    monkeypatch.setattr(repartition, "of_any_number", lambda runtime: runtime)
    shown = CliRunner().invoke(cli, ["partitions", "status", "--json"])
    rows = {row["partition"]: (row["messages"], row["batches"]) for row in json.loads(shown.stdout)}
    assert rows == {0: (1, 0), 1: (None, None), 2: (1, 0), 3: (1, 0)}
    assert "partition 1 does not answer" in shown.stderr
