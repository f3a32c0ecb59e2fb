"""What many apps cost a worker that has nothing to do for most of them: at its start, each second, and after a change.

Every app has two providers and a template for each. The same worker runs with one app and with all of them, one after the other.

    python -m benchmarks.apps --json
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import psutil

from benchmarks.support.figures import emit, say
from benchmarks.support.people import Crowd, chat, expected_pushes, set_up
from benchmarks.support.processes import cpu_seconds, end_on_sigterm
from benchmarks.support.stage import APP, Stage, stage
from benchmarks.support.systems import Layout, running
from worker.core.model import AppSettings
from worker.database.postgres import Pool, open_pool
from worker.database.registry import Registry
from worker.pipeline.apps import Apps
from worker.providers import kinds

#: Seconds until the first batch is accepted, seconds until a change is noticed, and percent of a core for looking.
FIRST, NOTICED, LOOKING = 10.0, 2.0, 1.0
_CHANGES: Final = 5
_TEMPLATE: Final = '{"aps": {"alert": {"title": "{{ sender.name }}", "body": "{{ message.text }}"}}}'
_COPIED: Final = (
    "environment, topic, team_id, key_id, credential, host, port, ca, kind, password, url, signing, settings"
)


def populate(place: Stage, apps: int) -> None:
    """So many apps beside the one that there is. Their providers and templates are copies, each with its own row."""
    place.sql(
        f"INSERT INTO carillon.apps (name) SELECT 'company-' || n FROM generate_series(1, {apps}) n",
        f"INSERT INTO carillon.providers (app, name, {_COPIED}) SELECT a.name, of, {_COPIED.replace(', kind', ', p.kind')}"
        " FROM carillon.apps a, carillon.providers p, unnest(ARRAY['ios', 'voip']) of"
        f" WHERE a.name <> '{APP}' AND p.app = '{APP}'",
        "INSERT INTO carillon.templates (provider_id, kind, locale, document)"
        f" SELECT id, '', '', '{_TEMPLATE}' FROM carillon.providers",
        "ANALYZE carillon.apps, carillon.providers, carillon.templates, carillon.registry_changes",
    )


def of_a_worker(place: Stage, crowd: Crowd, idle: float) -> dict[str, Any]:
    """From the start of its process until the simulator has accepted a message, and what it costs while nothing happens."""
    place.clear()
    began = time.monotonic()
    with running(place, "carillon_http2", Layout(1, 4)) as system:
        events = chat(crowd, 1, run=f"first-{time.monotonic_ns()}")
        wanted = system.accepted() + expected_pushes(crowd, events)
        system.publish(events)
        system.wait(lambda: system.accepted() >= wanted, "the first batch")
        first = time.monotonic() - began
        system.wait(system.idle, "an idle system")
        groups = {name: pids for name, pids in system.groups.items() if name not in ("beat", "simulator")}
        before = {name: cpu_seconds(pids) for name, pids in groups.items()}
        time.sleep(idle)
        used = {name: round((cpu_seconds(pids) - before[name]) / idle * 100, 2) for name, pids in groups.items()}
        megabytes = sum(psutil.Process(pid).memory_info().rss for pid in groups["worker"]) / 1e6
    return {"first_batch_seconds": round(first, 2), "idle_percent_of_a_core": used, "worker_mb": round(megabytes, 1)}


def of_a_process(place: Stage, keys: str) -> dict[str, Any]:
    """What a process that knows the apps pays: the first reading, a look without a change, and a change until it is known."""
    with open_pool(place.urls.postgres, size=2) as pool:
        registry = Registry(pool, keys.split(","), kinds)
        apps = Apps(registry)
        first = _cost(lambda: apps.look(since=time.monotonic()))
        looks = [_cost(lambda: apps.look(since=time.monotonic())) for _ in range(50)]
        noticed, taken_over = zip(*(_change(registry, apps, number) for number in range(_CHANGES)), strict=True)
        names = [name for name in apps.names() if name != APP][:100]
        compiled = _cost(lambda: [apps.templates_of(name) for name in names])
        return {
            "first_reading_ms": first,
            "look_ms_of_cpu": statistics.median(look["cpu_ms"] for look in looks),
            "noticed_seconds": round(max(noticed), 3),
            "change_ms_of_cpu": statistics.median(taken_over),
            "templates_of_an_app_ms": round(compiled["cpu_ms"] / max(1, len(names)), 3),
            "rows_read_after_a_change": _rows(registry, pool),
        }


def _change(registry: Registry, apps: Apps, number: int) -> tuple[float, float]:
    """Seconds until a process that asks ten times a second has seen the change, and the CPU of its look, in ms."""
    wanted = replace(AppSettings(APP), max_age=1_000 + number)
    apps.app(APP)
    registry.save_app(wanted)
    began, most = time.monotonic(), 0.0
    while True:
        cost = _cost(lambda: apps.app(APP))
        most = max(most, cost["cpu_ms"])
        if apps.app(APP) == wanted:
            return time.monotonic() - began, most
        time.sleep(0.1)


def _rows(registry: Registry, pool: Pool) -> int:
    before = registry.snapshot()
    with pool.connection() as db:
        db.execute("UPDATE carillon.apps SET max_age = max_age + 1 WHERE name = %s", (APP,))
    found = registry.snapshot(before.version)
    return len(found.apps) + len(found.providers) + len(found.templates)


def _cost(run: Callable[[], object]) -> dict[str, float]:
    began, used = time.perf_counter(), time.process_time()
    run()
    spent = (time.process_time() - used) * 1_000
    return {"ms": round((time.perf_counter() - began) * 1_000, 2), "cpu_ms": round(spent, 3)}


def main() -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.apps", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument("--apps", type=int, default=10_000, help="with two providers and templates each (%(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="that a worker is idle (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="500 apps, three seconds")
    options = parser.parse_args()
    if options.quick:
        options.apps, options.seconds = 500, 3.0
    end_on_sigterm()
    crowd = Crowd("small", 1, 20)
    with stage(AppSettings(APP, member_cap=None)) as place:
        set_up(place, crowd)
        one = of_a_worker(place, crowd, options.seconds)
        say(f"one app: {one}")
        populate(place, options.apps - 1)
        many = of_a_worker(place, crowd, options.seconds)
        say(f"{options.apps:,} apps: {many}")
        process = of_a_process(place, place.environ["CARILLON_SECRET_KEYS"])
    looking = process["look_ms_of_cpu"] / 10  # one look a second
    emit(
        {
            "apps": options.apps,
            "one": one,
            "many": many,
            "added_mb": round(many["worker_mb"] - one["worker_mb"], 1),
            "process": process,
            "looking_percent_of_a_core": round(looking, 3),
            "bar": {
                "first_batch_within_10_s": many["first_batch_seconds"] <= FIRST,
                "noticed_within_2_s": process["noticed_seconds"] <= NOTICED,
                "looking_below_1_percent": looking < LOOKING,
            },
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
