"""The command line says what to do, and starts quickly and alone."""

import subprocess
import sys
import time
from pathlib import Path

import psycopg

from tests.processes import ROOT, carillon, environ, free_port
from worker.cli._commands import load, names
from worker.database.ledger import DeadLetter, add_dead_letters
from worker.state.breaker import Breaker
from worker.state.partition import untagged
from worker.state.redis import connect


def test_every_command_has_help() -> None:
    assert [name for name in names() if not (load(name).help or load(name).commands)] == []


def test_the_help_lists_every_command() -> None:
    done = carillon("--help", env=environ() | {"COLUMNS": "200"})
    assert done.returncode == 0
    assert [name for name in names() if name not in done.stdout] == []


def test_a_wrong_setting_ends_a_command_with_a_sentence(tmp_path: Path) -> None:
    done = carillon("migrate", env=environ(data_dir=str(tmp_path), redis_ur="x"))
    assert done.returncode == 1
    assert "CARILLON_REDIS_UR: no such setting" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_applies_once_and_then_says_so(empty_postgres_url: str) -> None:
    env = environ(postgres_url=empty_postgres_url, redis_url="redis://127.0.0.1:1")
    first, second = carillon("migrate", env=env), carillon("migrate", env=env)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "applied 0001" in first.stdout
    assert second.stdout == "up to date\n"


def test_health_names_what_is_away_and_what_to_do() -> None:
    done = carillon("health", env=environ(redis_url="redis://127.0.0.1:1", postgres_url="postgresql://127.0.0.1:1/x"))
    assert done.returncode == 1
    for phrase in ("redis", "CARILLON_REDIS_URL", "postgres", "CARILLON_POSTGRES_URL"):
        assert phrase in done.stderr


def test_health_starts_nothing(tmp_path: Path) -> None:
    done = carillon("health", env=environ(data_dir=str(tmp_path / "data")))
    assert done.returncode == 1
    assert "carillon up" in done.stderr
    assert not (tmp_path / "data").exists()


def test_health_without_a_worker_says_which_to_start(postgres_url: str, redis_url: str) -> None:
    env = environ(postgres_url=postgres_url, redis_url=redis_url)
    done = carillon("health", "--timeout", "1", "--engines", "--lane", "bulk", "--beat", env=env)
    assert done.returncode == 1
    assert done.stdout.count("ok ") == 3
    assert "carillon worker --lane bulk" in done.stderr
    assert "carillon beat" in done.stderr


def test_health_of_a_database_without_schema_says_to_migrate(empty_postgres_url: str, redis_url: str) -> None:
    env = environ(postgres_url=empty_postgres_url, redis_url=redis_url)
    done = carillon("health", "--engines", env=env)
    assert done.returncode == 1
    assert "carillon migrate" in done.stderr


def test_health_tells_what_waits_for_a_person(postgres_url: str, redis_url: str) -> None:
    env = environ(postgres_url=postgres_url, redis_url=redis_url)
    calm = carillon("health", "--alarms", env=env)
    assert calm.returncode == 0
    assert calm.stderr.startswith("NOTE beat away: ") and calm.stderr.count("\n") == 1
    assert "dead letters: 0 in all, 0 of them" in calm.stdout
    with psycopg.connect(postgres_url) as db:
        db.execute("INSERT INTO carillon.apps (name) VALUES ('chat')")
        row = db.execute(
            "INSERT INTO carillon.providers (app, name, environment, topic, team_id, key_id, credential, host, port)"
            " VALUES ('chat', 'apns', 'production', 't', 't', 'k', '', 'localhost', 1) RETURNING id"
        ).fetchone()
        assert row is not None
        for hours in (0, 5):
            letter = DeadLetter(f"{hours}-1", "chat", f"e{hours}", "what was wrong", b"{}")
            add_dead_letters(db, [letter])
            db.execute(
                "UPDATE carillon.dead_letters SET at = now() - make_interval(hours => %s) WHERE entry = %s",
                (hours, letter.entry),
            )
    with connect(redis_url) as redis:
        Breaker(untagged(redis)).stop(row[0], "InvalidProviderToken", time.time() - 90)
    done = carillon("health", "--alarms", env=env)
    assert done.returncode == 1
    assert (
        "FAIL provider chat/apns: its answers say that something is wrong with it (InvalidProviderToken)" in done.stderr
    )
    assert "carillon dead-letters list" in done.stderr
    assert "1 in the last hour, most of them of app chat: what was wrong; 2 in all" in done.stderr


def test_flower_beyond_this_machine_needs_a_password(tmp_path: Path) -> None:
    env = environ(redis_url="redis://127.0.0.1:1", postgres_url="postgresql://127.0.0.1:1/x")
    done = carillon("flower", "--address", "0.0.0.0", "--port", str(free_port()), env=env)
    assert done.returncode == 1
    assert "FLOWER_BASIC_AUTH" in done.stderr


def test_the_version_of_a_source_tree_that_is_not_installed() -> None:
    code = (
        "from importlib import metadata\n"
        "def version(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = version\n"
        "from worker.cli.version import version; version()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == f"carillon, from the source tree in {ROOT}, which is not installed\n"


def test_without_the_workers_dependencies_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; from worker.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install ./producers ." in done.stderr


def test_a_command_loads_only_what_it_needs() -> None:
    code = (
        "import sys; from worker.cli import main; sys.argv[1:] = ['version']\ntry: main()\nfinally: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "worker.cli.version" in done.stdout
    assert {"celery", "psycopg", "redis", "httpx", "worker.cli.up"} & set(done.stdout.split()) == set()


def test_a_start_is_not_held_up_by_garbage_collection() -> None:
    code = (
        "import gc, sys; sys.argv[1:] = ['version']; from worker.cli import main\n"
        "try: main()\nfinally:\n    before = gc.get_stats()[1]['collections']\n"
        "    import worker.process.tasks\n    print(gc.get_stats()[1]['collections'] - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert int(done.stdout.split()[-1]) <= 3, "with Python's thresholds there are twenty"
