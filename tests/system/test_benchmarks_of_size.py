"""Benchmarks of size and time, each at its smallest: see the file beside this one."""

import pytest

from tests.programs import needs
from tests.system.benchmark import last_line


@pytest.mark.slow
def test_the_pipeline_benchmark_has_a_peer_of_node_and_says_what_it_lost():
    needs("node")
    needs("npm")
    sizes = ("--quick", "--scale", "0.2", "--processes", "1", "--workloads", "direct_messages")
    found = last_line("benchmarks.pipeline", *sizes, "--variants", "node_bullmq", "carillon_http2")
    assert found["rates"]["direct_messages"]["node_bullmq"] > 0
    peer = found["node_bullmq"]
    assert set(peer["ratios"]["direct_messages"]) == set(peer["cpu_ratios"]["direct_messages"]) == {"carillon_http2"}
    assert isinstance(peer["bars"]["direct_messages"]["carillon_http2"], bool)
    assert peer["lost"]["direct_messages"][0] >= 0


@pytest.mark.slow
def test_the_memory_benchmark_gives_both_peaks_and_their_difference():
    found = last_line("benchmarks.memory", "--members", "1000", "--repeats", "1", "--variant", "carillon_null")
    assert found["members"] == {"small": 100, "large": 1000}
    assert found["peak_mb"]["small"] > 0
    assert isinstance(found["added_mb"], float)


@pytest.mark.slow
def test_the_scale_benchmark_gives_memory_and_what_direct_messages_took_beside_a_large_channel():
    sizes = ("--members", "2000", "--seconds", "2", "--processes", "1")
    found = last_line("benchmarks.scale", "--parts", "channel", *sizes)["channel"]
    assert found["devices"] == 400
    assert found["direct_messages"]["calm"]["messages"] > 0
    assert found["direct_messages"]["meanwhile"]["messages"] > 0
    assert set(found["bars"]) == {"memory", "direct_messages"}


@pytest.mark.slow
def test_the_scale_benchmark_gives_what_a_push_costs_with_partitions_on_one_server_and_on_a_cluster():
    sizes = ("--partitions", "1", "4", "--repeats", "1", "--rounds", "1", "--scale", "0.05", "--processes", "1")
    waits = ("--rest", "0.2", "--idle", "0.5")
    found = last_line("benchmarks.scale", "--parts", "partitions", *sizes, *waits)["partitions"]
    assert [(one["partitions"], one["servers"]) for one in found["variants"]] == [(1, 1), (4, 1), (1, 3), (4, 3)]
    assert all(one["loads"]["direct_messages"]["all"] > 0 for one in found["variants"])
    assert set(found["variants"][3]["times_one_partition"]) == {"channels_of_50", "direct_messages"}


@pytest.mark.slow
def test_the_capacity_benchmark_simulates_what_it_measures_and_designs_with_partitions():
    found = last_line("benchmarks.capacity", "--seconds", "0.5", "--messages", "500")
    assert {one["point"] for one in found["calibration"]} == {"few", "many", "direct", "apns", "fcm", "web"}
    assert len(found["checks"]) == 5
    assert all(one["measured"] > 0 and one["simulated"] > 0 for one in found["checks"])
    assert {(one["partitions"], one["redis_nodes"]) for one in found["designs"]} >= {(1, 1), (16, 3)}
    assert isinstance(found["bar"]["within_20_percent"], bool)


@pytest.mark.slow
def test_the_latency_benchmark_gives_times_and_round_trips_of_a_direct_message() -> None:
    found = last_line("benchmarks.latency", "--scale", "0.01", "--processes", "1", "--alone", "4")
    assert found["calm"]["p50_ms"] > 0
    assert found["blast"]["notifications"] == 1_000
    assert found["round_trips"]["to_accepted"]["both"] > 1
    assert found["far"]["p50_ms"] > found["far"]["round_trip_ms"]
    assert set(found["bar"]) == {"10_round_trips", "far_p50_within_1.1_s", "blast_p99_within_3_times_calm"}


@pytest.mark.slow
def test_the_benchmark_of_many_apps_gives_what_a_worker_pays_for_them():
    found = last_line("benchmarks.apps", "--quick")
    assert found["process"]["rows_read_after_a_change"] == 3
    assert found["many"]["first_batch_seconds"] > 0
    assert set(found["bar"]) == {"first_batch_within_10_s", "noticed_within_2_s", "looking_below_1_percent"}
