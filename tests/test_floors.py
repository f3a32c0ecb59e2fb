"""The floors of docs/architecture.md: a module imports its own floor and those below, and the edges keep apart."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("producers", "config", "worker")

#: Longest prefix wins. What is not named here belongs to no floor, and the first test says so.
FLOORS = {
    "producers": 0,
    "config": 0,
    "worker": 0,  # its docstring, and that it is ours
    "worker.carillon_command": 0,
    "worker.core": 1,
    "worker.http2": 2,
    "worker.providers": 2,
    "worker.simulator": 2,
    "worker.state": 2,
    "worker.database": 2,
    "worker.reports": 3,
    "worker.pipeline": 3,
    "worker.process": 4,
    "worker.app": 4,
    "worker.demo": 4,
    "worker.embedded": 4,
    "worker.cli": 4,
}
EDGES = ("worker.providers.apns", "worker.providers.webhook")
#: Libraries that only some may import, below the entry.
WIRES = {
    "psycopg": ("worker.database",),
    "psycopg_pool": ("worker.database",),
    "httpcore": ("worker.providers.apns", "worker.providers.webhook"),
    "httpx": ("worker.providers.apns", "worker.providers.webhook"),
    "hpack": ("worker.http2",),
    "ssl": ("worker.providers.apns", "worker.providers.webhook", "worker.simulator"),
    "jwt": ("worker.providers.apns", "worker.simulator"),
}
#: What a decision has no business with.
NOT_IN_CORE = {
    *("asyncio", "logging", "os", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid.uuid4"),
    *("redis", "psycopg", "httpx", "celery", "pydantic", "ssl"),
}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str) -> Iterator[str]:
    """Every module that this one names in an import, also inside functions; names of ours in full."""
    path = MODULES[module]
    for node in ast.walk(ast.parse(path.read_text(), path.name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            source = node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                yield inner if inner in MODULES else source


def home(module: str) -> str:
    """The entry of FLOORS that a module falls under, or nothing."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in FLOORS and (prefix != "worker" or module == "worker"):
            return prefix
    return ""


def floor(module: str) -> int:
    """The module's floor; one that has none yet counts as the entry, and fails its own test."""
    return FLOORS.get(home(module), 4)


def below(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(f"{prefix}.")


def ours(module: str) -> Iterator[str]:
    return (name for name in imports(module) if name.split(".")[0] in PACKAGES)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_floor(module: str) -> None:
    assert home(module), f"put {module} on a floor, here and in docs/architecture.md"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_its_own_floor_and_those_below(module: str) -> None:
    assert not [name for name in ours(module) if floor(name) > floor(module)]


@pytest.mark.parametrize("module", [name for name in MODULES if any(below(name, edge) for edge in EDGES)])
def test_the_edges_never_import_each_other(module: str) -> None:
    others = [edge for edge in EDGES if not below(module, edge)]
    assert not [name for name in ours(module) for edge in others if below(name, edge)]


@pytest.mark.parametrize("module", [name for name in MODULES if below(name, "producers")])
def test_producers_import_nothing_of_ours_but_themselves(module: str) -> None:
    assert not [name for name in ours(module) if not below(name, "producers")]


@pytest.mark.parametrize("module", [name for name in MODULES if below(name, "config")])
def test_config_imports_nothing_of_ours_but_itself_and_what_a_url_may_be(module: str) -> None:
    assert not [name for name in ours(module) if not (below(name, "config") or name.startswith("producers.urls"))]


@pytest.mark.parametrize("module", [name for name in MODULES if below(name, "worker.core")])
def test_the_core_has_no_io_no_clock_no_randomness_and_no_logging(module: str) -> None:
    named = set(imports(module))
    roots = {name.split(".")[0] for name in named}
    assert not (named | roots) & NOT_IN_CORE


@pytest.mark.parametrize("module", [name for name in MODULES if floor(name) < 4])
def test_a_wires_library_stays_at_its_edge(module: str) -> None:
    libraries = {name.split(".")[0] for name in imports(module)} & WIRES.keys()
    assert not [library for library in libraries if not any(below(module, edge) for edge in WIRES[library])]


@pytest.mark.parametrize("module", [name for name in MODULES if floor(name) < 4])
def test_celery_and_typer_live_at_the_entry_only(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & {"celery", "kombu", "flower", "typer"}


def test_nothing_imports_tests_or_benchmarks() -> None:
    assert not [
        (module, name)
        for module in MODULES
        for name in imports(module)
        if name.split(".")[0] in ("tests", "benchmarks")
    ]
