"""Procfile, docker-compose.yml and Dockerfile say what the command line understands, and hold no secret."""

import copy
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import psutil
import psycopg
import pytest
import redis
import yaml
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.settings import Settings
from tests.processes import free_port, until
from worker.cli._commands import load, names
from worker.database.migrate import migrate
from worker.embedded.valkey import binary
from worker.metrics.families import FAMILIES as METRICS
from worker.metrics.http import Answer, Server

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DEPLOY = ROOT / "deploy"
SECURITY = (ROOT / "docs" / "security.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
UNIT = (DEPLOY / "systemd" / "carillon@.service").read_text()
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = [KUBERNETES / "base", *sorted((KUBERNETES / "overlays").iterdir())]


def resources(folder: Path) -> Iterator[dict[str, Any]]:
    """What a kustomization names, from the bases on; ours add and change nothing."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert kustomization.keys() <= {"apiVersion", "kind", "resources", "images"}
    for name in kustomization["resources"]:
        path = folder / name
        yield from resources(path) if path.is_dir() else yaml.safe_load_all(path.read_text())


BASE = list(resources(KUBERNETES / "base"))
PODS = [each["spec"]["template"]["spec"] for each in BASE if each["kind"] in ("Deployment", "Job")]
#: Those that run as long as the fleet does.
LASTING = [each["spec"]["template"]["spec"] for each in BASE if each["kind"] == "Deployment"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "carillon"}


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, command in (line.split(":", 1) for line in lines)}


def commands() -> Iterator[list[str]]:
    for line in procfile().values():
        for part in line.split("&&"):
            words = shlex.split(re.sub(r"\$\{\w+:-(\w+)\}", r"\1", part))
            words = words[words.index("carillon") :]
            yield words
    for name in sorted(OURS):
        yield ["carillon", *SERVICES[name]["command"]]
    for line in re.findall(r'CARILLON_COMMAND="(.*)"', UNIT):
        yield ["carillon", *line.split()]
    for pod in PODS:
        [container] = pod["containers"]
        yield ["carillon", *container["args"]]
    for word in re.findall(r'^CMD \["(.*)"\]', DOCKERFILE, re.MULTILINE):
        yield ["carillon", word]
    for part in re.findall(r"\b(worker \| .*)$", DOCKERFILE, re.MULTILINE):
        for word in part.split(" | "):
            yield ["carillon", word]


def test_every_command_parses() -> None:
    for program, name, *arguments in commands():
        assert program == "carillon"
        assert name in names()
        load(name).make_context(name, arguments)


def test_nothing_that_is_deployed_is_killed_before_it_has_finished_or_runs_as_root() -> None:
    patience = Settings().shutdown_timeout
    for pod in PODS:
        [container] = pod["containers"]
        assert pod.get("terminationGracePeriodSeconds", 30) > patience
        assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    unit = dict(line.split("=", 1) for line in UNIT.splitlines() if "=" in line and not line.startswith("#"))
    assert float(unit["TimeoutStopSec"]) > patience and unit["KillSignal"] == "SIGTERM"
    assert (unit["Type"], unit["DynamicUser"], unit["ProtectSystem"]) == ("exec", "yes", "strict")
    assert (unit["WatchdogSec"], unit["NotifyAccess"]) == ("90", "main")
    assert "STOPSIGNAL SIGTERM" in DOCKERFILE and "USER 10001" in DOCKERFILE


def test_the_procfile_has_every_part() -> None:
    assert set(procfile()) == {"engines", "worker", "bulk", "beat", "flower", "dashboard"}


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
def test_a_probe_starts_no_python_and_asks_whether_the_part_works(name: str) -> None:
    port, path = {"flower": ("5555", "/healthcheck"), "dashboard": ("8800", "/livez")}.get(name, ("9470", "/livez"))
    assert SERVICES[name]["healthcheck"]["test"] == ["CMD", "carillon-probe", port, path]
    assert SERVICES[name]["environment"]["CARILLON_METRICS_PORT"] == "9470"
    assert "COPY deploy/probe.sh /usr/local/bin/carillon-probe" in DOCKERFILE


def test_kubernetes_ends_only_a_process_that_does_not_work() -> None:
    [settings] = [each["data"] for each in BASE if each["kind"] == "ConfigMap"]
    assert settings["CARILLON_METRICS_ADDRESS"] == "0.0.0.0"
    for pod in LASTING:
        [container] = pod["containers"]
        assert {"configMapRef": {"name": "carillon"}} in container["envFrom"]
        port = container["ports"][0]
        assert settings["CARILLON_METRICS_PORT"] == str(port["containerPort"])
        for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
def test_kubernetes_takes_every_manifest(folder: Path) -> None:
    """By the schemas of the oldest and of the newest release that is maintained. KEDA's kinds have a schema of their own."""
    made = list(resources(folder))
    names = [(each["kind"], each["metadata"]["name"]) for each in made]
    assert len(set(names)) == len(names)
    for each in made:
        if not each["apiVersion"].startswith("keda.sh/"):
            for version in ("1.34", "1.37"):
                kubernetes_validate.validate(each, version, strict=True)


def test_keda_takes_what_scales() -> None:
    """By the schema of its own kind, which refuses what it does not know."""
    schema = json.loads((Path(__file__).parent / "keda-scaledobject.json").read_text())
    made = [each for each in resources(KUBERNETES / "overlays" / "keda") if each["apiVersion"].startswith("keda.sh/")]
    assert [each["kind"] for each in made] == ["ScaledObject", "ScaledObject"]
    for each in made:
        jsonschema.validate(each, schema)
    wrong = copy.deepcopy(made[0])
    wrong["spec"]["pollinginterval"] = wrong["spec"].pop("pollingInterval")
    with pytest.raises(jsonschema.ValidationError, match="pollinginterval"):
        jsonschema.validate(wrong, schema)


def test_what_scales_or_is_kept_up_is_there() -> None:
    deployments = {each["metadata"]["name"]: each for each in BASE if each["kind"] == "Deployment"}
    for folder in OVERLAYS:
        for each in resources(folder):
            if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
                assert each["spec"]["scaleTargetRef"]["name"] in deployments
            if each["kind"] == "PodDisruptionBudget":
                wanted = each["spec"]["selector"]["matchLabels"]
                assert wanted == deployments[each["metadata"]["name"]]["spec"]["selector"]["matchLabels"]
                assert each["spec"]["minAvailable"] < deployments[each["metadata"]["name"]]["spec"]["replicas"]


def test_workers_are_added_by_a_metric_that_is_exported() -> None:
    queries = [
        trigger["metadata"]["query"]
        for each in resources(KUBERNETES / "overlays" / "keda")
        if each["kind"] == "ScaledObject"
        for trigger in each["spec"]["triggers"]
    ]
    assert len(queries) == 2
    for query in queries:
        [(name, labels)] = re.findall(r"(carillon_\w+)\{(.*)\}", query)
        [family] = [one for one in METRICS.values() if one.name == name]
        assert set(re.findall(r"(\w+)=", labels)) <= set(family.labels)


def test_the_probe_tells_200_from_everything_else() -> None:
    pages = {"/livez": lambda: Answer(b"ok\n"), "/readyz": lambda: Answer(b"redis: away\n", 503)}
    server = Server(pages, address="127.0.0.1", port=0).start()
    probe = str(DEPLOY / "probe.sh")
    try:
        codes = [subprocess.run([probe, str(server.port), path], check=False).returncode for path in (*pages, "/none")]
    finally:
        server.close()
    assert codes == [0, 1, 1]
    quiet = subprocess.run([probe, str(server.port), "/livez"], stderr=subprocess.DEVNULL, check=False)
    assert quiet.returncode == 1, "nobody listens"


@pytest.mark.parametrize("name", sorted(OURS - {"migrate"}))
def test_every_part_waits_for_the_migration_and_the_migration_for_the_engines(name: str) -> None:
    assert SERVICES[name]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    engines = SERVICES["migrate"]["depends_on"]
    assert engines == {engine: {"condition": "service_healthy"} for engine in ("postgres", "valkey")}


def test_valkey_writes_ahead_evicts_nothing_and_is_bounded() -> None:
    script = (DEPLOY / "valkey.sh").read_text()
    assert "--appendonly yes" in script
    assert "--maxmemory-policy noeviction" in script
    assert "--proto-max-bulk-len 32mb" in script
    assert '--maxmemory "${MAXMEMORY:-1gb}"' in script
    assert "requirepass" not in script


def test_the_file_of_users_is_the_page_s() -> None:
    lines = dict(re.findall(r"^user (\S+) (.*)$", (DEPLOY / "users.acl").read_text(), re.MULTILINE))
    assert lines.pop("default") == "off"
    assert lines.pop("carillon-admin") == "on >ADMIN_PASSWORD ~* &* +@all"
    page = dict(re.findall(r"^user (\S+) (.*)$", SECURITY, re.MULTILINE))
    page.pop("carillon-producer-APP")
    assert lines.keys() == page.keys()
    for name, rules in lines.items():
        role = name.removeprefix("carillon-").upper()
        assert rules == page[name].replace(">PASSWORD", f">{role}_PASSWORD")


def test_the_roles_are_the_page_s() -> None:
    script = (DEPLOY / "roles.sh").read_text().split("<<'SQL'\n")[1].removesuffix("SQL\n")
    for role in ("migrator", "worker", "dashboard"):
        script = script.replace(f":'{role}'", "'...'")
    [page, *_] = re.findall(r"```sql\n(.*?)```", SECURITY, re.DOTALL)
    assert script == page
    environment = SERVICES["postgres"]["environment"]
    assert {"MIGRATOR_PASSWORD", "WORKER_PASSWORD", "DASHBOARD_PASSWORD"} <= environment.keys()
    assert "./deploy/roles.sh:/docker-entrypoint-initdb.d/roles.sh:ro" in SERVICES["postgres"]["volumes"]


def test_valkey_starts_with_these_users_and_no_password_is_in_its_command_line(tmp_path: Path) -> None:
    port = free_port()
    entry = tmp_path / "docker-entrypoint.sh"
    entry.write_text(f'#!/bin/sh\nshift\nexec {binary()} --port {port} --bind 127.0.0.1 --dir {tmp_path} "$@"\n')
    entry.chmod(0o755)
    roles = [name for name in SERVICES["valkey"]["environment"] if name.endswith("_PASSWORD")]
    passwords = {role: f"password{number}of{role}".replace("_", "") for number, role in enumerate(roles)}
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path), "USERS": str(DEPLOY / "users.acl")}
    with subprocess.Popen(["sh", str(DEPLOY / "valkey.sh")], env=env | passwords, stdout=subprocess.DEVNULL) as process:
        try:
            for role, password in passwords.items():
                user = f"carillon-{role.removesuffix('_PASSWORD').lower()}"
                until(f"{user} may come in", lambda u=user, p=password: pings(port, u, p))  # type: ignore[misc]
            assert not pings(port, "default", "")
            assert not [word for word in psutil.Process(process.pid).cmdline() if "password" in word]
        finally:
            process.terminate()
    assert {path.stat().st_mode & 0o077 for path in tmp_path.glob("tmp.*")} == {0}


def test_a_database_from_before_the_roles_is_given_to_them(postgres_url: str) -> None:
    """Under other names of roles, which the tests' server has for all."""
    script = (
        (DEPLOY / "adopt.sql").read_text().replace("carillon_migrator", "adopter").replace("carillon_worker", "hand")
    )
    url = postgres_url.replace("carillon@", "{}@")
    with psycopg.connect(postgres_url, autocommit=True) as db:
        for role in ("adopter", "hand"):
            db.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            db.execute(script.encode())
            with psycopg.connect(url.format("hand")) as worker:
                assert worker.execute("SELECT count(*) FROM carillon.devices").fetchone() == (0,)
                worker.execute("INSERT INTO carillon.apps (name) VALUES ('a')")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    worker.execute("ALTER TABLE carillon.apps ADD COLUMN x int")
            with psycopg.connect(url.format("adopter")) as migrator:
                migrator.execute("ALTER TABLE carillon.apps ADD COLUMN x int")
                migrator.execute("ALTER TABLE carillon.ledger ADD COLUMN x int")
                assert migrate(url.format("adopter")) == []
                migrator.rollback()
        finally:
            db.execute("DROP SCHEMA carillon CASCADE")
            db.execute("DROP OWNED BY adopter, hand")
            db.execute("DROP ROLE adopter, hand")


def pings(port: int, user: str, password: str) -> bool:
    try:
        with redis.Redis(port=port, username=user, password=password, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except redis.exceptions.RedisError:
        return False


SECRETS = {
    "postgres": {"POSTGRES_PASSWORD", "MIGRATOR_PASSWORD", "WORKER_PASSWORD", "DASHBOARD_PASSWORD"},
    "migrate": {"CARILLON_REDIS_URL", "CARILLON_POSTGRES_URL"},
    "worker": {"CARILLON_REDIS_URL", "CARILLON_POSTGRES_URL", "CARILLON_SECRET_KEYS"},
    "bulk": {"CARILLON_REDIS_URL", "CARILLON_POSTGRES_URL", "CARILLON_SECRET_KEYS"},
    "beat": {"CARILLON_REDIS_URL"},
    "relay": {"CARILLON_REDIS_URL", "CARILLON_OUTBOX_URL"},
    "flower": {"CARILLON_REDIS_URL", "FLOWER_BASIC_AUTH"},
    "dashboard": {
        "CARILLON_REDIS_URL",
        "CARILLON_POSTGRES_URL",
        "CARILLON_DASHBOARD_ACTS_URL",
        "CARILLON_DASHBOARD_USERS",
    },
}
USERS = {
    "migrate": "beat",
    "worker": "worker",
    "bulk": "worker",
    "beat": "beat",
    "relay": "relay",
    "flower": "flower",
    "dashboard": "dashboard",
}


@pytest.mark.parametrize("name", SECRETS)
def test_a_service_has_the_secrets_that_it_needs_and_no_other(name: str) -> None:
    environment = SERVICES[name]["environment"]
    plain = {"CARILLON_FLEET", "CARILLON_LOG_FORMAT", "CARILLON_LOG_LEVEL", "POSTGRES_USER", "POSTGRES_DB"}
    plain |= {"CARILLON_METRICS_PORT", "CARILLON_METRICS_ADDRESS"}
    assert environment.keys() - plain == SECRETS[name]
    if name in USERS:
        assert environment["CARILLON_FLEET"].startswith("${CARILLON_FLEET:?"), "a copy must push to nobody"
        user = USERS[name]
        assert environment["CARILLON_REDIS_URL"].startswith(
            f"redis://carillon-{user}:${{VALKEY_{user.upper()}_PASSWORD:?"
        )


def test_nothing_works_as_the_database_s_superuser() -> None:
    urls = {name: SERVICES[name]["environment"].get("CARILLON_POSTGRES_URL", "") for name in OURS}
    roles = {name: url.split("://")[1].split(":")[0] for name, url in urls.items() if url}
    workers = dict.fromkeys(("worker", "bulk"), "carillon_worker")
    assert roles == {"migrate": "carillon_migrator", "dashboard": "carillon_dashboard"} | workers


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_bounded_in_memory_and_log(name: str) -> None:
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])
    assert SERVICES[name]["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", ["beat", "flower"])
def test_the_procfile_keeps_secrets_from_those_who_need_none(name: str) -> None:
    words = shlex.split(procfile()[name])
    taken = {words[at + 1] for at, word in enumerate(words) if word == "-u"}
    kept_back = ("CARILLON_SECRET_KEYS", "CARILLON_POSTGRES_URL", "CARILLON_OUTBOX_URL")
    assert taken == {f"{variable}{suffix}" for variable in kept_back for suffix in ("", "_FILE")}
    assert (
        "FLOWER_UNAUTHENTICATED_API" not in (ROOT / "Procfile").read_text() + (ROOT / "docker-compose.yml").read_text()
    )


def test_data_outlives_its_container() -> None:
    for engine in ("postgres", "valkey"):
        volume = SERVICES[engine]["volumes"][0].split(":")[0]
        assert volume in COMPOSE["volumes"]


#: (service, name of the variable, value).
SETTINGS = [
    (service, name, value)
    for service, content in SERVICES.items()
    for name, value in content.get("environment", {}).items()
]


def shows_a_secret(name: str, value: str) -> bool:
    if re.search("PASSWORD|SECRET|AUTH|TOKEN|OUTBOX_URL", name) and not re.fullmatch(r"\$\{\w+:(\?[^}]+|-)\}", value):
        return True
    credentials = re.search(r"://[^:/@]*:(.*)@", value)
    return credentials is not None and not re.fullmatch(r"\$\{\w+:\?[^}]+\}", credentials[1])


def test_no_secret_is_in_the_file() -> None:
    assert [(service, name) for service, name, value in SETTINGS if shows_a_secret(name, value)] == []


def test_every_setting_of_ours_exists() -> None:
    from config.settings import Settings, variable

    known = {variable(field) for field in Settings.model_fields}
    assert {name for _, name, _ in SETTINGS if name.startswith("CARILLON_")} <= known


def test_nothing_is_published_beyond_this_host() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_runs_as_an_ordinary_user_on_a_supported_python() -> None:
    instructions = re.findall(r"^([A-Z]+) (.+?)(?<!\\)$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    users = [rest for name, rest in instructions if name == "USER"]
    assert users == ["10001"]
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
    assert "--no-deps --no-build-isolation ./producers ." in DOCKERFILE
