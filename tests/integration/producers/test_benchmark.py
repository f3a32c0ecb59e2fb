"""The benchmark says what it promises to; how fast is for people to read."""

import json
import subprocess
import sys


def test_the_benchmark_prints_rates_and_ratios_as_its_last_line(redis_url: str) -> None:
    command = [sys.executable, "-m", "benchmarks.publish", "--json", "--runs", "1", "--seconds", "0.01"]
    ran = subprocess.run([*command, "--redis-url", redis_url], check=True, capture_output=True, text=True, timeout=60)
    found = json.loads(ran.stdout.splitlines()[-1])
    assert set(found) == {"rates", "ratios"}
    assert {"send_task", "publish", "publish_many"} <= set(found["rates"])
    assert found["ratios"]["publish"] == found["rates"]["publish"] / found["rates"]["send_task"]
