"""Procfile, docker-compose.yml and Dockerfile say what the command line understands, and hold no secret."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.cli._commands import load, names

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = {name for name, service in SERVICES.items() if service["image"] == "carillon"}


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, command in (line.split(":", 1) for line in lines)}


def commands() -> Iterator[Any]:
    for name, line in procfile().items():
        for part in line.split("&&"):
            words = shlex.split(re.sub(r"\$\{\w+:-(\w+)\}", r"\1", part).removeprefix(" exec").removeprefix("exec"))
            yield pytest.param(words, id=f"Procfile: {name}: {' '.join(words)}")
    for name in sorted(OURS):
        yield pytest.param(["carillon", *SERVICES[name]["command"]], id=f"compose: {name}")
        if "healthcheck" in SERVICES[name]:
            yield pytest.param(SERVICES[name]["healthcheck"]["test"][1:], id=f"compose: {name}: health check")
    for word in re.findall(r'^CMD \["(.*)"\]', DOCKERFILE, re.MULTILINE):
        yield pytest.param(["carillon", word], id="Dockerfile: CMD")
    for part in re.findall(r"\b(worker \| .*)$", DOCKERFILE, re.MULTILINE):
        for word in part.split(" | "):
            yield pytest.param(["carillon", word], id=f"Dockerfile: comment: {word}")


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_parses(words: list[str]) -> None:
    program, name, *arguments = words
    assert program == "carillon"
    assert name in names()
    load(name).make_context(name, arguments)


def test_the_procfile_has_every_part() -> None:
    assert set(procfile()) == {"worker", "bulk", "beat", "flower"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_comes_back_and_says_how_it_is(name: str) -> None:
    service = SERVICES[name]
    if name == "migrate":
        assert service["restart"] == "on-failure"
        return
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= check.keys()


@pytest.mark.parametrize("name", sorted(OURS - {"migrate"}))
def test_every_part_waits_for_the_migration_and_the_migration_for_the_engines(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    engines = SERVICES["migrate"]["depends_on"]
    assert engines == {engine: {"condition": "service_healthy"} for engine in ("postgres", "valkey")}


def test_valkey_writes_ahead_and_evicts_nothing() -> None:
    command = SERVICES["valkey"]["command"][-1]
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "--requirepass" not in command


def test_data_outlives_its_container() -> None:
    for engine in ("postgres", "valkey"):
        volume = SERVICES[engine]["volumes"][0].split(":")[0]
        assert volume in COMPOSE["volumes"]


def settings_of_services() -> Iterator[Any]:
    for service, content in SERVICES.items():
        for name, value in content.get("environment", {}).items():
            yield pytest.param(name, value, id=f"{service}: {name}")


@pytest.mark.parametrize(("name", "value"), list(settings_of_services()))
def test_no_secret_is_in_the_file(name: str, value: str) -> None:
    if re.search("PASSWORD|SECRET|AUTH|TOKEN", name):
        assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)
    credentials = re.search(r"://[^:/@]*:(.*)@", value)
    assert credentials is None or re.fullmatch(r"\$\{\w+:\?[^}]+\}", credentials[1])


@pytest.mark.parametrize(("name", "value"), list(settings_of_services()))
def test_every_setting_of_ours_exists(name: str, value: str) -> None:
    from config.settings import Settings, variable

    if name.startswith("CARILLON_"):
        assert name in {variable(field) for field in Settings.model_fields}


def test_nothing_is_published_beyond_this_host() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_runs_as_an_ordinary_user_on_a_supported_python() -> None:
    instructions = re.findall(r"^([A-Z]+) (.+?)(?<!\\)$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    users = [rest for name, rest in instructions if name == "USER"]
    assert users == ["carillon"]
    assert {rest.split(" AS ")[0] for name, rest in instructions if name == "FROM"} == {"python:3.13-slim"}
    assert ("ENTRYPOINT", '["carillon"]') in instructions


def test_the_image_is_built_from_files_that_exist_and_are_sent() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
        for source in sources.split()
    }
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_installs_by_hash_and_fetches_nothing_more() -> None:
    assert "--require-hashes -r requirements-worker.lock" in DOCKERFILE
    assert "--no-deps --no-build-isolation ." in DOCKERFILE
