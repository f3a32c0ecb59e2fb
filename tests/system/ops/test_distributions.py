"""Both distributions, built and installed in environments that have nothing else, and what hides their packages."""

import shutil
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.system.ops.environments import PROJECTS, ROOT, Environment, closure, pip, runtime

VERSION = tomllib.loads(PROJECTS[0].read_text())["project"]["version"]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each distribution's wheel by its import name, built from a copy of the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("producers", "config", "worker"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", "wheels", "./producers", ".", cwd=copy)
    built = {path.name.partition("-")[0]: path for path in (copy / "wheels").iterdir()}
    assert set(built) == {"carillon_push", "carillon_push_worker"}
    return built


@pytest.fixture(scope="module")
def whole(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Both, as `pip install ./producers .` installs them."""
    environment = Environment(tmp_path_factory.mktemp("whole"), runtime())
    environment.install(wheels["carillon_push"], wheels["carillon_push_worker"])
    return environment


def test_a_wheel_has_its_packages_data_and_nothing_more(wheels: dict[str, Path]) -> None:
    light, heavy = (set(zipfile.ZipFile(wheels[name]).namelist()) for name in ("carillon_push", "carillon_push_worker"))
    packages = {file.split("/")[0] for file in light if ".dist-info" not in file}
    assert packages == {"producers"}
    assert {"producers/py.typed", "producers/outbox.sql"} <= light
    assert not [file for file in light if file.endswith((".toml", ".md"))]
    packages = {file.split("/")[0] for file in heavy if ".dist-info" not in file}
    assert packages == {"worker", "config", "carillon_command.py"}
    for folder in ("worker", "config"):
        sources = {
            str(path.relative_to(ROOT))
            for path in (ROOT / folder).rglob("*.*")
            if path.suffix in (".py", ".lua", ".sql")
        }
        assert sources <= heavy


def test_the_producers_alone_publish(wheels: dict[str, Path], tmp_path: Path, redis_url: str) -> None:
    environment = Environment(tmp_path / "light", closure({"hiredis", "msgspec", "redis"}))
    environment.install(wheels["carillon_push"])
    code = (
        "import sys, producers; from producers import Publisher\n"
        "Publisher(sys.argv[1]).publish({'v': 1, 'type': 'member.added', 'id': 'e1', 'app': 'chat', 'channel': {'id': 'c'},\n"
        "  'users': ['han'], 'at': '2026-11-21T20:00:00Z'})\n"
        "print(producers.__file__, *{name.split('.')[0] for name in sys.modules} & {'worker', 'config', 'celery', 'psycopg'})"
    )
    done = environment.run("python", "-c", code, redis_url, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.strip().endswith("site-packages/producers/__init__.py")
    assert str(environment.bin.parent) in done.stdout
    assert environment.run("python", "-m", "producers", "schema", cwd=tmp_path).returncode == 0


def test_the_worker_runs_and_says_its_version(whole: Environment, tmp_path: Path) -> None:
    assert whole.run("carillon", "version", cwd=tmp_path).stdout == f"carillon {VERSION}\n"
    helped = whole.run("carillon", "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    pip("--python", str(whole.bin / "python"), "check", cwd=tmp_path)


def test_without_the_engines_wheels_it_says_how_to_get_them(whole: Environment, tmp_path: Path) -> None:
    done = whole.run("carillon", "migrate", cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "CARILLON_POSTGRES_URL, or run pip install ./producers '.[embedded]' in Carillon's source tree" in done.stderr
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["worker", "config", "producers"])
@pytest.mark.parametrize("form", ["package", "namespace", "module"])
def test_a_foreign_package_that_hides_ours_is_named_with_ours(
    whole: Environment, tmp_path: Path, name: str, form: str
) -> None:
    foreign = tmp_path / (f"{name}.py" if form == "module" else name)
    if form == "module":
        foreign.touch()
    else:
        foreign.mkdir()
    if form == "package":
        (foreign / "__init__.py").touch()
    done = whole.run("carillon", "version", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    if form == "namespace":  # a folder without __init__.py hides nothing
        assert done.returncode == 0
        return
    ours = next(whole.bin.parent.glob("lib/python*/site-packages")) / name
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{foreign} hides Carillon's own {ours}: take {tmp_path} out of PYTHONPATH" in done.stderr


def test_celery_says_it_too(whole: Environment, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "__init__.py").touch()
    done = whole.run("python", "-m", "celery", "-A", "worker.app", "status", cwd=tmp_path)
    assert done.returncode != 0
    assert f"{tmp_path}/config hides Carillon's own" in done.stderr.strip().splitlines()[-1]


def test_what_carillon_starts_is_its_own_whatever_the_working_directory_has(whole: Environment, tmp_path: Path) -> None:
    """The supervisor of the engines, the parts of `up` and the simulator run with `-P`."""
    for name in ("worker", "config", "producers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a stranger')")
    done = whole.run("carillon", "migrate", cwd=tmp_path)
    assert "no embedded PostgreSQL" in done.stderr
    sources = [path.read_text() for path in (ROOT / "worker").rglob("*.py")]
    started = [line for text in sources for line in text.splitlines() if "sys.executable" in line and '"-m"' in line]
    assert started
    assert [line for line in started if '"-P", "-m"' not in line] == []
