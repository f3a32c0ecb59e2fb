"""A real Prometheus scrapes a real system: every panel of the dashboard for Grafana has data there."""

import json
import re
import secrets
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from producers import events as ev
from tests.integration.pipeline.harness import message, stamp, token
from tests.processes import wait_until
from tests.programs import needs
from tests.system.fleet import Fleet
from tests.system.ops.test_probes import ask, ports_of
from tests.valkey import free_port
from worker.database import tallies

MONITORING = Path(__file__).parents[3] / "config" / "monitoring"
PANELS = [one for one in json.loads((MONITORING / "grafana.json").read_text())["panels"] if "targets" in one]
#: What a run of a few seconds has no time for.
RARE = {"retry.TooManyRequests": 1, "parked.silent": 1, "limited.app": 1, "dropped.expired": 1}


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
    with urllib.request.urlopen(f"{url}/api/v1/query?{asked}", timeout=10) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
        return found


def has_data(url: str, expression: str) -> bool:
    plain = expression.replace("$__rate_interval", "20s").replace("$app", ".*")
    return any(one["value"][1] != "NaN" for one in query(url, plain))


def test_every_panel_has_data_of_a_real_run(postgres_url: str, redis_url: str, tmp_path: Path) -> None:
    needs("prometheus")
    logs, port = tmp_path / "logs", free_port()
    logs.mkdir()
    with Fleet(
        postgres_url, redis_url, logs, CARILLON_METRICS_PORT=str(free_port()), CARILLON_LEASE_SECONDS="4"
    ) as fleet:
        worker = fleet.start("worker")
        fleet.start("metrics", "--serve", "--port", str(port))
        wait_until(lambda: ask(port, "/readyz")[0] == 200 and ports_of(fleet))
        jobs = {"carillon": port, "carillon-processes": ports_of(fleet)["worker"]}
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

        # A worker dies in the middle of its work: the counters say what the ledger says.
        before = len(fleet.simulator.accepted)
        fleet.publisher.publish_many(replace(message(id=f"killed-{n}"), at=now()["at"]) for n in range(2_000))
        wait_until(lambda: len(fleet.simulator.accepted) > before + 50)
        worker.kill()
        fleet.start("worker")
        wait_until(lambda: len(fleet.simulator.accepted) >= before + 2_000 and fleet.idle())
        wait_until(lambda: accepted(fleet) >= before + 2_000)
        wait_until(lambda: exported(port) == accepted(fleet))


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
