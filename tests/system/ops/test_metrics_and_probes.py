"""The HTTP addresses of real processes, one system for all tests: what probes ask, and what a real Prometheus scrapes."""

import http.client
import json
import re
import secrets
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.databases import Databases
from tests.integration.pipeline.harness import message, stamp, token
from tests.processes import PATIENCE, wait_until
from tests.programs import needs
from tests.system.fleet import Fleet
from tests.valkey import Valkey, free_port
from worker.database import tallies

MONITORING = Path(__file__).parents[3] / "config" / "monitoring"
PANELS = [one for one in json.loads((MONITORING / "grafana.json").read_text())["panels"] if "targets" in one]
#: What a run of a few seconds has no time for.
RARE = {"retry.TooManyRequests": 1, "parked.silent": 1, "limited.app": 1, "dropped.expired": 1}


class Monitored:
    """A worker, beat, Flower and `carillon metrics --serve`, started at once."""

    def __init__(self, fleet: Fleet, valkey: Valkey) -> None:
        self.fleet, self.valkey, self.shared = fleet, valkey, free_port()
        self.worker = fleet.start("worker")
        fleet.start("beat")
        fleet.start("flower", "--port", str(free_port()))
        fleet.start("metrics", "--serve", "--port", str(self.shared))

    def ports(self) -> dict[str, int]:
        """By part, from what each process logged last."""
        found = re.findall(r"part=(\w+) +url=http://127.0.0.1:(\d+)", self.fleet.output())
        return {part: int(port) for part, port in found}

    def of_worker(self, path: str) -> tuple[int, str]:
        return ask(self.ports()["worker"], path)


@pytest.fixture(scope="module")
def monitored(_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    valkey.start()
    settings = {"CARILLON_METRICS_PORT": str(free_port()), "CARILLON_LEASE_SECONDS": "4"}
    with (
        _databases.one() as postgres_url,
        Fleet(postgres_url, valkey.url, tmp_path_factory.mktemp("logs"), **settings) as fleet,
    ):
        made = Monitored(fleet, valkey)
        wait_until(lambda: len(made.ports()) == 3 and ask(made.shared, "/readyz")[0] == 200)
        yield made
    valkey.stop()


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def test_each_part_serves_itself_on_a_port_that_it_keeps(monitored: Monitored) -> None:
    ports = monitored.ports()
    assert len(set(ports.values())) == 3
    for part, port in ports.items():
        wait_until(lambda at=port: ask(at, "/readyz")[0] == 200)  # type: ignore[misc]
        assert ask(port, "/livez")[0] == 200
        assert f'carillon_process_info{{part="{part}"}} 1.0\n' in ask(port, "/metrics")[1]
    wait_until(lambda: "carillon_process_leads 1.0" in monitored.of_worker("/metrics")[1])
    metrics = monitored.of_worker("/metrics")[1]
    for name in ("carillon_task_threads_limit 8.0", "process_resident_memory_bytes ", "carillon_postgres_connections{"):
        assert name in metrics
    assert json.loads(monitored.of_worker("/healthz")[1]).keys() == {"status", "findings"}

    monitored.worker.send_signal(signal.SIGHUP)  # it executes itself anew, under the same pid
    wait_until(lambda: monitored.fleet.output().count("part=worker") == 2)
    assert monitored.ports() == ports
    wait_until(lambda: monitored.of_worker("/readyz") == (200, "redis: ok\npostgres: ok\n"))


@contextmanager
def prometheus(directory: Path, jobs: dict[str, int]) -> Iterator[str]:
    """The address of a Prometheus that scrapes these ports by the name of the job."""
    program, port = needs("prometheus"), free_port()
    scrapes = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{of}"]}]} for job, of in jobs.items()]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(MONITORING / "alerts.yml")],
        "scrape_configs": scrapes,
    }
    file = directory / "prometheus.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    command = [program, f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"]
    with subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: ask(port, "/-/ready")[0] == 200)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def query(url: str, expression: str) -> list[Any]:
    asked = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{url}/api/v1/query?{asked}", timeout=PATIENCE) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
        return found


def has_data(url: str, expression: str) -> bool:
    plain = expression.replace("$__rate_interval", "5m").replace("$app", ".*")
    return any(one["value"][1] != "NaN" for one in query(url, plain))


def test_every_panel_of_the_dashboard_for_grafana_has_data_in_a_real_prometheus(
    monitored: Monitored, tmp_path: Path
) -> None:
    fleet = monitored.fleet
    jobs = {"carillon": monitored.shared, "carillon-processes": monitored.ports()["worker"]}
    with prometheus(tmp_path, jobs) as url, fleet.pool.connection() as db:
        fleet.publisher.publish(ev.MemberAdded(**now(), channel=ev.ChannelId(id="general"), users=["leia", "han"]))
        fleet.publisher.publish(ev.DeviceRegistered(**now(), user="han", device=ev.Device(token=token("han"))))
        tallies.add(db, "ledger", {("demo", 0): {"events.taken.message.new": 1}, ("demo", 1): RARE})
        missing = {target["expr"] for panel in PANELS for target in panel["targets"]}

        def all_there() -> bool:
            # A rate needs something to happen between two scrapes.
            fleet.publisher.publish(replace(message(id=secrets.token_hex(4)), at=now()["at"]))
            time.sleep(0.5)
            missing.difference_update([one for one in missing if has_data(url, one)])
            return not missing

        with suppress(AssertionError):
            wait_until(all_there)
        assert missing == set()
        assert query(url, 'up{job="carillon"}')[0]["value"][1] == "1"


def test_a_worker_dies_amid_its_work_and_the_counters_say_what_the_ledger_says(monitored: Monitored) -> None:
    fleet = monitored.fleet
    fleet.publisher.publish(ev.MemberAdded(**now(), channel=ev.ChannelId(id="general"), users=["leia", "han"]))
    fleet.publisher.publish(ev.DeviceRegistered(**now(), user="han", device=ev.Device(token=token("han"))))
    before = len(fleet.simulator.accepted)
    fleet.publisher.publish_many(replace(message(id=f"killed-{n}"), at=now()["at"]) for n in range(2_000))
    wait_until(lambda: len(fleet.simulator.accepted) > before + 50)
    monitored.worker.kill()
    monitored.worker = fleet.start("worker")
    wait_until(lambda: len(fleet.simulator.accepted) >= before + 2_000 and fleet.idle())
    wait_until(lambda: accepted(fleet) >= before + 2_000)
    wait_until(lambda: exported(monitored.shared) == accepted(fleet))


def accepted(fleet: Fleet) -> int:
    """Notifications that were accepted, as the ledger has them."""
    with fleet.pool.connection() as db:
        [(found,)] = db.execute(
            "SELECT coalesce(sum(jsonb_array_length(account -> 'accepted')), 0) FROM carillon.ledger WHERE part LIKE 'batch:%'"
        ).fetchall()
    return int(found)


def exported(port: int) -> int:
    [value] = re.findall(
        r'^carillon_notifications_total{.*outcome="accepted".*} (.*)$', ask(port, "/metrics")[1], re.MULTILINE
    )
    return int(float(value))


def now() -> dict[str, Any]:
    return stamp() | {"at": datetime.now(UTC)}


def test_in_an_outage_each_part_lives_and_is_not_ready(monitored: Monitored) -> None:
    """The last test of the module: it stops Redis."""
    wait_until(lambda: monitored.of_worker("/readyz")[0] == 200)
    monitored.valkey.stop()
    for port in monitored.ports().values():
        wait_until(lambda at=port: ask(at, "/readyz")[0] == 503)  # type: ignore[misc]
        assert ask(port, "/livez")[0] == 200
    status, text = monitored.of_worker("/healthz")
    found = json.loads(text)
    assert (status, found["status"]) == (503, "critical")
    assert "redis_away" in {one["condition"] for one in found["findings"]}
    assert 'carillon_engine_up{engine="redis"} 0.0' in monitored.of_worker("/metrics")[1]
