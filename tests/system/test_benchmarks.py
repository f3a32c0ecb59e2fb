"""Each benchmark runs at its smallest size and ends with one JSON object. What they measure is not judged here."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.support.against import interval, ratio_of
from tests.processes import PATIENCE, wait_until
from tests.system.benchmark import ROOT, last_line


@pytest.mark.slow
def test_the_bulkhead_benchmark_gives_latencies_before_and_while_others_wait():
    found = last_line("benchmarks.bulkhead", "--providers", "2", "--waiting", "400", "--seconds", "2")
    assert found["calm"]["pushes"] > 0
    assert found["waiting"]["pushes"] > 0
    assert found["notifications"] == 400


@pytest.mark.slow
def test_the_bulkhead_benchmark_has_an_origin_a_project_and_subscriptions_in_trouble():
    found = last_line("benchmarks.bulkhead", "--dead", "origins", "--waiting", "300", "--seconds", "2")
    assert found["waiting"]["pushes"] > 0
    assert set(found["bar"]) == {"p99_within_1_s", "p50_within_a_tenth"}


@pytest.mark.slow
def test_the_pipeline_benchmark_gives_rates_and_ratios_by_workload():
    variants = ("task_per_device", "carillon_null")
    sizes = ("--quick", "--scale", "0.1", "--processes", "1", "--workloads", "channels_of_50")
    found = last_line("benchmarks.pipeline", *sizes, "--variants", *variants)
    assert set(found["rates"]["channels_of_50"]) == set(variants)
    assert set(found["ratios"]["channels_of_50"]) == {"carillon_null"}
    assert {"worker", "postgres", "valkey", "publisher"} <= set(
        found["cpu_us_per_push"]["channels_of_50"]["carillon_null"]
    )
    assert found["machine"]["cores"]


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a checkout is needed")
def test_a_comparison_that_is_stopped_leaves_no_worktree_and_no_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.pipeline", "--against", "HEAD", "--workloads", "channels_of_50"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as child:
        try:
            # The first run has begun, and with it other processes.
            wait_until(lambda: len(psutil.Process(child.pid).children(recursive=True)) > 2)
            started = psutil.Process(child.pid).children(recursive=True)
            assert list(tmp_path.glob("carillon-against-*/tree"))
        finally:
            child.terminate()
    assert child.returncode == 143
    assert str(tmp_path) not in subprocess.check_output(["git", "worktree", "list"], cwd=ROOT, text=True)
    assert psutil.wait_procs(started, timeout=PATIENCE)[1] == []


@pytest.mark.slow
def test_the_pipeline_benchmark_gives_what_a_push_of_each_kind_costs():
    found = last_line("benchmarks.pipeline", "--quick", "--scale", "0.2", "--processes", "1", "--workloads", "mixed")
    assert set(found["mixed"]["cpu_us_per_push"]) == {"apns", "fcm", "web", "mixed"}
    assert set(found["mixed"]["bars"]) == {"fcm", "web", "mixed"}


@pytest.mark.slow
def test_the_sender_benchmark_gives_rates_and_ratios_by_peer():
    found = last_line("benchmarks.sender", "--runs", "1", "--scale", "0.01", "--peers", "aioapns", "httpx")
    assert set(found["rates"]) == {"carillon", "aioapns", "httpx"}
    assert set(found["ratios"]) == {"aioapns", "httpx"}
    assert {"apns", "fcm", "webpush", "encryption"} <= set(found["kinds"]["rates"])
    assert set(found["kinds"]["bars"]) <= set(found["kinds"]["ratios"])
    assert "firebase_admin" in found["kinds"]["absent"]


@pytest.mark.slow
def test_the_sender_benchmark_gives_shares_of_the_bound_where_answers_take_time():
    found = last_line("benchmarks.sender", "--runs", "1", "--scale", "0.05", "--latency", "20")
    assert set(found["share_of_bound"]) == {"one_connection", "threads", "threads_4"}
    assert found["two_processes_times_one"] > 0
    assert found["fcm"]["share_of_bound"] > 0


@pytest.mark.slow
def test_the_sender_benchmark_gives_the_memory_of_what_waits_and_of_what_is_over():
    found = last_line("benchmarks.sender", "--memory", "--scale", "0.02")
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
    found = last_line("benchmarks.pipeline", "--against", "HEAD", *sizes)
    assert found["pairs"] == 1
    assert found["cpu_ratio"]["channels_of_50"]["median"] > 0
    assert "simulator" not in found["cpu_ratio_by_part"]["channels_of_50"]


@pytest.mark.slow
def test_the_stages_benchmark_says_what_each_stage_costs() -> None:
    found = last_line("benchmarks.stages", "--rounds", "1")["workloads"]
    assert set(found) == {"direct_messages", "channels_of_50"}
    for of in found.values():
        assert all(of[stage]["python"] > 0 for stage in ("publish", "intake", "expansion", "delivery", "ledger"))
        assert of["all"]["together"] > of["all"]["python"]


@pytest.mark.slow
def test_the_scrape_benchmark_gives_bytes_and_cpu() -> None:
    found = last_line("benchmarks.scrape", "--apps", "20", "--scrapes", "1")
    assert found["bytes"] > 10_000
    assert found["cpu_seconds"]["median"] > 0
    assert set(found["bar"]) == {"2_MB", "0.2_s_of_cpu"}
