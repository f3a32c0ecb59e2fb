"""Each benchmark runs at its smallest size and ends with one JSON object. What they measure is not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.support.against import interval, ratio_of
from tests.processes import PATIENCE, wait_until
from tests.programs import needs

_ROOT = Path(__file__).parents[2]


def _last_line(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", *arguments, "--json"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            out, said = child.communicate(timeout=PATIENCE)
        finally:
            child.terminate()  # it stops what it started
    assert child.returncode == 0, said
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@pytest.mark.slow
def test_the_bulkhead_benchmark_gives_latencies_before_and_while_others_wait():
    found = _last_line("benchmarks.bulkhead", "--providers", "2", "--waiting", "400", "--seconds", "2")
    assert found["calm"]["pushes"] > 0
    assert found["waiting"]["pushes"] > 0
    assert found["notifications"] == 400


@pytest.mark.slow
def test_the_bulkhead_benchmark_has_an_origin_a_project_and_subscriptions_in_trouble():
    found = _last_line("benchmarks.bulkhead", "--dead", "origins", "--waiting", "300", "--seconds", "2")
    assert found["waiting"]["pushes"] > 0
    assert set(found["bar"]) == {"p99_within_1_s", "p50_within_a_tenth"}


@pytest.mark.slow
def test_the_pipeline_benchmark_gives_rates_and_ratios_by_workload():
    variants = ("task_per_device", "carillon_null")
    sizes = ("--quick", "--scale", "0.1", "--processes", "1", "--workloads", "channels_of_50")
    found = _last_line("benchmarks.pipeline", *sizes, "--variants", *variants)
    assert set(found["rates"]["channels_of_50"]) == set(variants)
    assert set(found["ratios"]["channels_of_50"]) == {"carillon_null"}
    assert {"worker", "postgres", "valkey", "publisher"} <= set(
        found["cpu_us_per_push"]["channels_of_50"]["carillon_null"]
    )
    assert found["machine"]["cores"]


@pytest.mark.slow
def test_the_pipeline_benchmark_has_a_peer_of_node_and_says_what_it_lost():
    needs("node")
    needs("npm")
    sizes = ("--quick", "--scale", "0.2", "--processes", "1", "--workloads", "direct_messages")
    found = _last_line("benchmarks.pipeline", *sizes, "--variants", "node_bullmq", "carillon_http2")
    assert found["rates"]["direct_messages"]["node_bullmq"] > 0
    peer = found["node_bullmq"]
    assert set(peer["ratios"]["direct_messages"]) == set(peer["cpu_ratios"]["direct_messages"]) == {"carillon_http2"}
    assert isinstance(peer["bars"]["direct_messages"]["carillon_http2"], bool)
    assert peer["lost"]["direct_messages"][0] >= 0


@pytest.mark.slow
@pytest.mark.skipif(not (_ROOT / ".git").exists(), reason="a checkout is needed")
def test_a_comparison_that_is_stopped_leaves_no_worktree_and_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--against", "HEAD", "--workloads", "channels_of_50"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=_ROOT, env=environment, stderr=subprocess.DEVNULL) as child:
        try:
            # The first run has begun, and with it other processes.
            wait_until(lambda: len(psutil.Process(child.pid).children(recursive=True)) > 2)
            started = psutil.Process(child.pid).children(recursive=True)
            assert list(tmp_path.glob("carillon-against-*/tree"))
        finally:
            child.terminate()
    assert child.returncode == 143
    assert str(tmp_path) not in subprocess.check_output(["git", "worktree", "list"], cwd=_ROOT, text=True)
    assert psutil.wait_procs(started, timeout=PATIENCE)[1] == []


@pytest.mark.slow
def test_the_pipeline_benchmark_gives_what_a_push_of_each_kind_costs():
    found = _last_line("benchmarks.pipeline", "--quick", "--scale", "0.2", "--processes", "1", "--workloads", "mixed")
    assert set(found["mixed"]["cpu_us_per_push"]) == {"apns", "fcm", "web", "mixed"}
    assert set(found["mixed"]["bars"]) == {"fcm", "web", "mixed"}


@pytest.mark.slow
def test_the_memory_benchmark_gives_both_peaks_and_their_difference():
    found = _last_line("benchmarks.memory", "--members", "1000", "--repeats", "1", "--variant", "carillon_null")
    assert found["members"] == {"small": 100, "large": 1000}
    assert found["peak_mb"]["small"] > 0
    assert isinstance(found["added_mb"], float)


@pytest.mark.slow
def test_the_scale_benchmark_gives_memory_and_what_direct_messages_took_beside_a_large_channel():
    sizes = ("--members", "2000", "--seconds", "2", "--processes", "1")
    found = _last_line("benchmarks.scale", "--parts", "channel", *sizes)["channel"]
    assert found["devices"] == 400
    assert found["direct_messages"]["calm"]["messages"] > 0
    assert found["direct_messages"]["meanwhile"]["messages"] > 0
    assert set(found["bars"]) == {"memory", "direct_messages"}


@pytest.mark.slow
def test_the_scale_benchmark_gives_what_a_push_costs_with_partitions_on_one_server_and_on_a_cluster():
    sizes = ("--partitions", "1", "4", "--repeats", "1", "--rounds", "1", "--scale", "0.05")
    found = _last_line("benchmarks.scale", "--parts", "partitions", *sizes)["partitions"]
    assert [(one["partitions"], one["servers"]) for one in found["variants"]] == [(1, 1), (4, 1), (1, 3), (4, 3)]
    assert all(one["loads"]["direct_messages"]["all"] > 0 for one in found["variants"])
    assert set(found["variants"][3]["times_one_partition"]) == {"channels_of_50", "direct_messages"}


@pytest.mark.slow
def test_the_capacity_benchmark_simulates_what_it_measures_and_designs_with_partitions():
    found = _last_line("benchmarks.capacity", "--seconds", "0.5")
    assert {one["point"] for one in found["calibration"]} == {"few", "many", "direct", "apns", "fcm", "web"}
    assert len(found["checks"]) == 5
    assert all(one["measured"] > 0 and one["simulated"] > 0 for one in found["checks"])
    assert {(one["partitions"], one["redis_nodes"]) for one in found["designs"]} >= {(1, 1), (16, 3)}
    assert isinstance(found["bar"]["within_20_percent"], bool)


@pytest.mark.slow
def test_the_sender_benchmark_gives_rates_and_ratios_by_peer():
    found = _last_line("benchmarks.sender", "--runs", "1", "--scale", "0.01", "--peers", "aioapns", "httpx")
    assert set(found["rates"]) == {"carillon", "aioapns", "httpx"}
    assert set(found["ratios"]) == {"aioapns", "httpx"}
    assert {"apns", "fcm", "webpush", "encryption"} <= set(found["kinds"]["rates"])
    assert set(found["kinds"]["bars"]) <= set(found["kinds"]["ratios"])
    assert "firebase_admin" in found["kinds"]["absent"]


@pytest.mark.slow
def test_the_sender_benchmark_gives_shares_of_the_bound_where_answers_take_time():
    found = _last_line("benchmarks.sender", "--runs", "1", "--scale", "0.05", "--latency", "20")
    assert set(found["share_of_bound"]) == {"one_connection", "threads", "threads_4"}
    assert found["two_processes_times_one"] > 0
    assert found["fcm"]["share_of_bound"] > 0


@pytest.mark.slow
def test_the_sender_benchmark_gives_the_memory_of_what_waits_and_of_what_is_over():
    found = _last_line("benchmarks.sender", "--memory", "--scale", "0.02")
    assert found["waiting"] == 10_000
    assert {"waiting_mb", "growth_mb"} <= set(found)


def test_the_median_of_paired_ratios_has_an_interval_that_holds_it_with_95_percent():
    # Ranks 3 and 10 of 12, 6 and 15 of 20: the tables of the sign test.
    assert interval(12) == (2, 9)
    assert interval(20) == (5, 14)
    assert interval(3) == (0, 2)
    found = ratio_of([(float(n), 10.0) for n in range(1, 13)])
    assert found["median"] == 0.65
    assert found["interval_95"] == [0.3, 1.0]


@pytest.mark.slow
def test_this_tree_is_compared_with_another_revision_pair_by_pair():
    sizes = ("--pairs", "1", "--scale", "0.05", "--processes", "1", "--workloads", "channels_of_50")
    found = _last_line("benchmarks.pipeline", "--against", "HEAD", *sizes)
    assert found["pairs"] == 1
    assert found["cpu_ratio"]["channels_of_50"]["median"] > 0
    assert "simulator" not in found["cpu_ratio_by_part"]["channels_of_50"]


@pytest.mark.slow
def test_the_scrape_benchmark_gives_bytes_and_cpu() -> None:
    found = _last_line("benchmarks.scrape", "--apps", "20", "--scrapes", "1")
    assert found["bytes"] > 10_000
    assert found["cpu_seconds"]["median"] > 0
    assert set(found["bar"]) == {"2_MB", "0.2_s_of_cpu"}


@pytest.mark.slow
def test_the_latency_benchmark_gives_times_and_round_trips_of_a_direct_message() -> None:
    found = _last_line("benchmarks.latency", "--scale", "0.01", "--processes", "1")
    assert found["calm"]["p50_ms"] > 0
    assert found["blast"]["notifications"] == 1_000
    assert found["round_trips"]["to_accepted"]["both"] > 1
    assert found["far"]["p50_ms"] > found["far"]["round_trip_ms"]
    assert set(found["bar"]) == {"10_round_trips", "far_p50_within_1.1_s", "blast_p99_within_3_times_calm"}


@pytest.mark.slow
def test_the_benchmark_of_many_apps_gives_what_a_worker_pays_for_them():
    found = _last_line("benchmarks.apps", "--quick")
    assert found["process"]["rows_read_after_a_change"] == 3
    assert found["many"]["first_batch_seconds"] > 0
    assert set(found["bar"]) == {"first_batch_within_10_s", "noticed_within_2_s", "looking_below_1_percent"}
