"""The HTTP addresses of real processes: their own metrics, and what probes ask."""

import http.client
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import wait_until
from tests.system.fleet import Fleet
from tests.valkey import Valkey, free_port


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()


def ports_of(fleet: Fleet) -> dict[str, int]:
    """By part, from what each process logged last."""
    return {part: int(port) for part, port in re.findall(r"part=(\w+) +url=http://127.0.0.1:(\d+)", fleet.output())}


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


def test_each_part_serves_itself_lives_through_an_outage_and_is_not_ready_in_it(
    postgres_url: str, valkey: Valkey, tmp_path: Path
) -> None:
    with Fleet(postgres_url, valkey.url, tmp_path, CARILLON_METRICS_PORT=str(free_port())) as fleet:
        worker = fleet.start("worker")
        wait_until(lambda: ports_of(fleet))
        fleet.start("beat")
        fleet.start("flower", "--port", str(free_port()))
        wait_until(lambda: len(ports_of(fleet)) == 3)
        ports = ports_of(fleet)
        assert len(set(ports.values())) == 3
        for part, port in ports.items():
            wait_until(lambda at=port: ask(at, "/readyz")[0] == 200)  # type: ignore[misc]
            assert ask(port, "/livez")[0] == 200
            assert f'carillon_process_info{{part="{part}"}} 1.0\n' in ask(port, "/metrics")[1]
        wait_until(lambda: "carillon_process_leads 1.0" in ask(ports["worker"], "/metrics")[1])
        metrics = ask(ports["worker"], "/metrics")[1]
        for name in (
            "carillon_task_threads_limit 8.0",
            "process_resident_memory_bytes ",
            "carillon_postgres_connections{",
        ):
            assert name in metrics
        assert json.loads(ask(ports["worker"], "/healthz")[1]).keys() == {"status", "findings"}

        worker.send_signal(signal.SIGHUP)  # it executes itself anew, under the same pid
        wait_until(lambda: fleet.output().count("part=worker") == 2)
        assert ports_of(fleet) == ports
        wait_until(lambda: ask(ports["worker"], "/readyz") == (200, "redis: ok\npostgres: ok\n"))

        valkey.stop()
        for port in ports.values():
            wait_until(lambda at=port: ask(at, "/readyz")[0] == 503)  # type: ignore[misc]
            assert ask(port, "/livez")[0] == 200
        status, text = ask(ports["worker"], "/healthz")
        found = json.loads(text)
        assert (status, found["status"]) == (503, "critical")
        assert "redis_away" in {one["condition"] for one in found["findings"]}
        assert 'carillon_engine_up{engine="redis"} 0.0' in ask(ports["worker"], "/metrics")[1]
