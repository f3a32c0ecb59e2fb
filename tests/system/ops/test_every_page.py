"""Every fenced block of README.md and docs/ is run, or a list says who else runs it or why nobody can.

A block is run by its language in a world of its page's own: engines, a worker's intake, an app `chat` whose provider is a
simulator, and an app `demo`. A block without a language is a picture or a command's output, and needs a check of its own.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from types import SimpleNamespace
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped]
import msgspec
import psycopg
import pytest
from click import Context
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from jinja2 import Environment
from rich.console import Console

from benchmarks.devices import APP, plan
from producers import Publisher
from producers import events as ev
from producers.partitions import parsed as parsed_layout
from producers.partitions import tags
from tests.integration.pipeline.harness import Pipeline, message, stamp
from tests.integration.pipeline.keys import new_key
from tests.integration.pipeline.test_device_calls import working
from tests.processes import PATIENCE, ROOT, environ, until
from tests.programs import NODE_PATH, needs, needs_library
from tests.unit.apns.push_certificates import p12, push_certificate
from tests.unit.fcm.key_files import key_file
from worker.cli._commands import load, names
from worker.core.aps_form import APS_FORM
from worker.core.model import ACCEPTED, AppSettings, Provider
from worker.core.notification import render
from worker.core.sample_messages import samples
from worker.core.sealing import LONGEST
from worker.core.template_form import TemplateForm
from worker.core.templates import Template, check
from worker.dashboard.page import Ask, Panel
from worker.dashboard.page import Page as DashboardPage
from worker.demo.account import KINDS, Account, Check, KindAccount
from worker.demo.figures import Figures
from worker.demo.report import show
from worker.demo.show import Outcome
from worker.providers.apns import answers
from worker.providers.apns.certificate import tls_context
from worker.providers.apns.form import FORM
from worker.providers.apns.settings import ApnsSettings
from worker.providers.apns.settings import Key as SigningKey
from worker.providers.fcm.template import FCM_TEMPLATE
from worker.providers.web.render import Document
from worker.providers.web.template import WEB_TEMPLATE
from worker.providers.webhook.answer import read
from worker.providers.webhook.request import Recipient, body, headers
from worker.providers.webhook.settings import WebhookSettings
from worker.sender.route import Access, Endpoint
from worker.simulator import Key, Settings, SimulatorThread, read_script
from worker.simulator.web.subscriptions import Wish, make

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCHEMA = json.loads((ROOT / "docs" / "event.schema.json").read_text())
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
REDIS = "redis://localhost:6379/0"
TOKEN = "0f744707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language or 'no language'})\n{self.text}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in FENCE.finditer(text):
            line = text[: found.start()].count("\n") + 1
            yield Block(str(page.relative_to(ROOT)), line, found[2], found[3])


#: Who else runs a page's blocks of a language, as they stand there.
ELSEWHERE = {
    ("README.md", "sh"): "tests/system/ops/test_first_push_page.py",
    ("README.md", "python"): "tests/system/ops/test_first_push_page.py",
    ("docs/first-push.md", "sh"): "tests/system/ops/test_first_push_page.py",
    ("docs/first-push.md", "js"): "tests/system/ops/test_first_push_page.py",
    ("docs/first-push.md", "php"): "tests/system/ops/test_first_push_page.py",
    ("docs/first-push.md", "go"): "tests/system/ops/test_first_push_page.py",
    ("docs/architecture.md", "text"): "tests/test_floors.py",
    ("docs/backup.md", "sh"): "tests/system/environments/test_backup.py",
    ("docs/contract.md", "python"): "tests/integration/producers/test_schema.py",
    ("docs/moving-in.md", "python"): "tests/integration/cli/test_import.py",
    ("docs/security.md", "acl"): "tests/integration/security/acl.py",
    ("docs/simulator.md", "console"): "tests/integration/simulator/test_documentation.py",
    ("docs/simulator.md", "python"): "tests/integration/simulator/test_documentation.py",
    ("docs/simulator.md", "json"): "tests/integration/simulator/test_documentation.py",
    ("docs/web-push.md", "js"): "tests/unit/web/test_web_doc.py",
    ("docs/web-push.md", "html"): "tests/unit/web/test_web_doc.py",
    ("docs/web-push.md", "css"): "tests/unit/web/test_web_doc.py",
    ("docs/webhooks.md", "python"): "tests/integration/webhook/test_doc.py",
    ("docs/webhooks.md", "js"): "tests/integration/webhook/test_doc.py",
    ("docs/why.md", "console"): "tests/integration/cli/test_why_page.py",
}
#: Why a block, or one line of it, is not run: by the page and how it begins.
NOT_RUN = {
    ("README.md", "chat server ──event──▶ Redis Stream"): "a picture",
    (
        "docs/apns.md",
        "python -m pytest tests/system/foreign_servers",
    ): "takes minutes; the suite runs the same file with fewer",
    (
        "docs/credentials.md",
        "carillon doctor",
    ): "asks workers of a whole system; tests/integration/cli/test_doctor.py has them",
    ("docs/credentials.md", "carillon push apn  "): "asks in a terminal; tests/integration/cli/test_wizard.py answers",
    (
        "docs/errors.md",
        "export SENTRY_DSN=",
    ): "sends to Sentry; tests/integration/security/test_sentry.py has its module",
    (
        "docs/forgetting.md",
        "carillon app delete",
    ): "asks in a terminal; tests/integration/cli/test_forgetting.py says --yes",
    ("docs/fcm.md", "carillon doctor"): "asks Google",
    (
        "docs/kubernetes.md",
        "kubectl create namespace",
    ): "needs a cluster; tests/integration/deployment has the manifests",
    ("docs/scaling.md", "carillon bench "): "measures for a minute; tests/system/test_bench.py runs it for less",
    ("docs/kubernetes.md", "kubectl -n push delete job"): "needs a cluster, and the overlay of an installation",
    (
        "docs/partitions.md",
        "carillon partitions set",
    ): "needs stopped workers; tests/integration/cli/test_partitions.py",
    (
        "docs/partitions.md",
        "carillon partitions spread",
    ): "needs stopped workers; tests/system/pipeline/test_spread_app.py",
    ("docs/engines.md", "user look on >PASSWORD"): "a line for Sentinels; tests/system/environments has them",
    (
        "docs/live-activities.md",
        "carillon broadcast create",
    ): "asks Apple; tests/integration/cli/test_broadcast.py asks the simulator",
    ("docs/fcm.md", "// build.gradle.kts"): "needs Android Studio and a phone",
    ("docs/fcm.md", "// pubspec.yaml"): "needs Flutter and a phone",
    ("docs/first-push.md", "print(deviceToken.map"): "needs Xcode and a phone",
    (
        "docs/outbox.md",
        "CARILLON_OUTBOX_URL=postgresql:",
    ): "runs until it is stopped; tests/system/outbox/test_processes.py has it",
    (
        "docs/preferences.md",
        "$ carillon preferences set",
    ): "of a message that the page does not have; tests/integration/cli/test_people.py has one",
    ("docs/receiving.md", "override fun onMessageReceived"): "needs Android Studio and a phone",
    (
        "docs/tracing.md",
        "pip install",
    ): "installs, and runs until it is stopped; tests/system/pipeline/test_traces.py has it",
}


@dataclass
class World:
    """What a page's blocks find: `cwd` has the files that they name."""

    pipeline: Pipeline
    postgres_url: str
    redis_url: str
    cwd: Path
    env: dict[str, str]

    def shell(self, script: str) -> str:
        """What a script prints that goes well."""
        done = subprocess.run(
            ["sh", "-eu", "-c", script], cwd=self.cwd, env=self.env, capture_output=True, text=True, timeout=PATIENCE, check=False
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def forget(self, app: str) -> None:
        with self.pipeline.pool.connection() as db:
            for table, column in (("devices", "app"), ("providers", "app"), ("apps", "name")):
                db.execute(f"DELETE FROM carillon.{table} WHERE {column} = %s", (app,))

    def local(self, text: str) -> str:
        """The text with this world's addresses and directories."""
        for written, here in (
            (REDIS, self.redis_url),
            ("postgresql://localhost/chat", self.postgres_url),
            ("DATABASE carillon ", f"DATABASE {psycopg.conninfo.conninfo_to_dict(self.postgres_url)['dbname']} "),
            ("/tmp/carillon-demo-…", str(self.cwd)),
            ("https://api.example.com/", "https://127.0.0.1:1/"),
        ):
            text = text.replace(written, here)
        return text


@pytest.fixture
def world(postgres_url: str, redis_url: str, tmp_path: Path) -> Iterator[World]:
    (key := tmp_path / "AuthKey_ABC123DEFG.p8").write_text(new_key())
    (tmp_path / "Push.p12").write_bytes(p12(push_certificate(), BestAvailableEncryption(b"secret")))
    (tmp_path / "password.txt").write_text("secret\n")
    (tmp_path / "team-chat-1f2e3-firebase-adminsdk.json").write_bytes(key_file())
    (programs := tmp_path / "bin").mkdir()
    (programs / "redis-cli").write_text(f'#!/bin/sh\nexec {needs("redis-cli")} -u "{redis_url}" "$@"\n')
    (programs / "redis-cli").chmod(0o755)
    (tmp_path / "node_modules").symlink_to(NODE_PATH)
    pipeline = Pipeline(postgres_url, redis_url)
    with ExitStack() as stack:
        settings = Settings(topics=("io.team.App",), keys=(Key.read(f"ABC123DEFG:DEF123GHIJ:{key}"),))
        configure(pipeline, stack.enter_context(SimulatorThread(settings)), key)
        # A worker that runs before may have the app without its provider for some seconds.
        stack.enter_context(working(pipeline))
        populate(pipeline)
        env = environ(
            redis_url=redis_url, postgres_url=postgres_url, secret_keys=pipeline.secret_key, webhook_allow="127.0.0.0/8"
        )
        here = {
            "PATH": f"{programs}{os.pathsep}{env['PATH']}",
            "CHAT_DATABASE_URL": postgres_url,
            "HOME": str(tmp_path),
        }
        yield World(pipeline, postgres_url, redis_url, tmp_path, env | here)
    pipeline.close()


def configure(pipeline: Pipeline, apple: SimulatorThread, key: Path) -> None:
    pipeline.registry.save_app(AppSettings("chat"))
    credential = SigningKey("DEF123GHIJ", "ABC123DEFG", key.read_text())
    settings = ApnsSettings("io.team.App", credential, "127.0.0.1", apple.port, apple.ca_pem)
    pipeline.registry.save_provider(Provider(0, "chat", "apns", "production", settings))


def populate(pipeline: Pipeline) -> None:
    pipeline.publish(
        ev.DeviceRegistered(
            **stamp() | {"app": "chat"}, user="han", device=ev.Device(token=TOKEN, attributes={"team": "red"})
        ),
        message(id="demo-000042"),
    )
    until("Han has a device", lambda: has_devices(pipeline))


def has_devices(pipeline: Pipeline) -> bool:
    with pipeline.pool.connection() as db:
        return db.execute("SELECT 1 FROM carillon.devices").fetchone() is not None


# one function for each language


def run_shell(block: Block, world: World) -> None:
    """Line by line in one shell. In a console what follows a command is what it prints, but for numbers and ids."""
    for name in re.findall(r"carillon app create (\w+)", block.text):
        world.forget(name)
    prompt = "$ " if block.language == "console" else ""
    script, shown = [], []
    for line in block.text.splitlines():
        if prompt and not line.startswith(prompt):
            shown.append(line)
        elif not is_not_run(block.page, command := line.removeprefix(prompt)):
            script.append(command)
    printed = world.shell(world.local("\n".join(script)))
    if shown:
        assert shape("\n".join(shown)) == shape(printed)


def is_not_run(page: str, text: str) -> bool:
    return any(page == there and text.startswith(start) for there, start in NOT_RUN)


def shape(text: str) -> list[str]:
    """Lines without what is another with each run."""
    return [re.sub(r"\s+", " ", re.sub(r"[0-9a-f]{8,}|\d[\d,.:TZ-]*", "N", line)).strip() for line in text.splitlines()]


def run_python(block: Block, world: World) -> None:
    exec(compile(world.local(block.text), str(block), "exec"), {})


def run_sql(block: Block, world: World) -> None:
    """In a transaction that is rolled back: roles are the whole server's."""
    with psycopg.connect(world.postgres_url) as db:
        for role in ("carillon_migrator", "carillon_worker", "carillon_dashboard", "carillon_relay", "chat"):
            if f"CREATE ROLE {role} " not in block.text:
                db.execute(f"CREATE ROLE {role}")
        db.execute("SET search_path TO public")
        db.execute("CREATE TABLE messages (id text, text text)")
        db.execute(re.sub(r"^(BEGIN|COMMIT);$", "", world.local(block.text), flags=re.MULTILINE))
        written = db.execute("SELECT event FROM carillon.outbox").fetchall()
        db.rollback()
    for (event,) in written:
        jsonschema.validate(json.loads(event), SCHEMA)


def run_json(block: Block, world: World) -> None:
    """An event of the contract, whole or without what all have in common."""
    document = json.loads(block.text)
    document.pop("…", None)
    jsonschema.validate({"v": 1, "id": "evt-1", "app": "demo", "at": "2026-11-21T20:00:00Z"} | document, SCHEMA)


def run_export(block: Block, world: World) -> None:
    """Saved under the name of the page's command, which imports it."""
    (world.cwd / "export.jsonl").write_text(block.text)


def run_js(block: Block, world: World) -> None:
    needs_library("env", f"NODE_PATH={NODE_PATH}", "node", "-e", "require('redis')")
    event = json.loads(ev.encode(message(id="from-node")))
    program = f"const event = {json.dumps(event)};\n{world.local(block.text)}"
    (world.cwd / "example.mjs").write_text(program)
    world.shell(f"NODE_PATH={NODE_PATH} node example.mjs")
    assert world.pipeline.redis.get("carillon:online:demo:han") == b"1"


def run_go(block: Block, world: World) -> None:
    """Parsed: go-redis is not here."""
    needs("gofmt")
    (world.cwd / "example.go").write_text(f"package main\n\nfunc main() {{\n{block.text}}}\n")
    world.shell("gofmt -e example.go")


LANGUAGES: dict[str, Callable[[Block, World], None]] = {
    "sh": run_shell,
    "console": run_shell,
    "python": run_python,
    "sql": run_sql,
    "json": run_json,
    "jsonl": run_export,
    "js": run_js,
    "go": run_go,
}


# one function for each block that is something else


def is_template(block: Block, world: World) -> None:
    """Saved under the names of the page's commands, which come after it."""
    parsed(block, APS_FORM)
    for name in ("chat.json", "order.json", "chat.fr.json"):
        (world.cwd / name).write_text(block.text)


def is_template_of_fcm(block: Block, world: World) -> None:
    parsed(block, FCM_TEMPLATE)


def is_template_of_web(block: Block, world: World) -> None:
    parsed(block, WEB_TEMPLATE)


def parsed(block: Block, form: TemplateForm) -> None:
    check(Template.parse(block.text, form), samples("chat", "regular"))


def is_what_a_browser_gets(block: Block, world: World) -> None:
    event = msgspec.structs.replace(
        message(), channel=ev.Channel(id="general", name="General"),
        sender=ev.Sender(id="leia", name="Leia", image="https://example.org/leia.png"),
    )  # fmt: skip
    made = Document(render(event).payload(), counted=True, tag="t", page="https://chat.example.com/c/{channel}")
    assert keys(json.loads(made.payload(3, LONGEST))) == keys(json.loads(block.text))


def is_registration_of_a_browser(block: Block, world: World) -> None:
    [browser] = make(7, Wish("mozilla"))
    with Publisher(world.redis_url) as publisher:
        exec(block.text, {"json": json, "body": json.dumps(browser), "client": publisher})


def is_said_by_a_publisher(block: Block, world: World) -> None:
    with Publisher(world.redis_url) as publisher:
        exec(block.text, {"publisher": publisher, "message": message()})


def is_said_to_redis(block: Block, world: World) -> None:
    """As a person types it, whose quotes `redis-cli` reads."""
    (world.cwd / "commands").write_text(block.text)
    assert "ERR" not in world.shell("redis-cli < commands")


def is_event_in_redis(block: Block, world: World) -> None:
    jsonschema.validate(json.loads(block.text[block.text.index("{") :]), SCHEMA)


def is_message(block: Block, world: World) -> None:
    """Without what all messages have."""
    jsonschema.validate(json.loads(ev.encode(message())) | json.loads(block.text), SCHEMA)


def is_json(block: Block, world: World) -> None:
    """What arrives on a phone; the tests of each kind have its fields."""
    assert json.loads(block.text)


def is_layout(block: Block, world: World) -> None:
    assert parsed_layout(block.text.encode()).tags == tags(4)


def is_script(block: Block, world: World) -> None:
    assert read_script(block.text).rules


def is_payload(block: Block, world: World) -> None:
    event = message(parent_id="msg-0", data={"any": "thing"}, id="evt-1")
    event = msgspec.structs.replace(
        event, channel=ev.Channel(id="messaging:general", name="General"),
        sender=ev.Sender(id="leia", name="Leia Organa", image="https://example.org/leia.png"),
    )  # fmt: skip
    assert keys(json.loads(render(event).payload(3))) == keys(json.loads(block.text))


def keys(document: Any) -> Any:
    """A document's names, without its values and without what it leaves open."""
    if not isinstance(document, dict):
        return None
    return {name: keys(value) for name, value in document.items() if name != "…"}


def _recipient() -> Recipient:
    return Recipient("0b7a…", "e-1", "text", "message", "han", "+49", 3, b'{"aps": {}, "carillon": {}}', 1)


def is_webhook_s_body(block: Block, world: World) -> None:
    sent = json.loads(body(Provider(0, "chat", "webhook", "production", WebhookSettings()), "b", [_recipient()]))
    shown = json.loads(block.text)
    assert shown.keys() == sent.keys()
    assert shown["recipients"][0].keys() == sent["recipients"][0].keys()
    assert shown["recipients"][0]["payload"].keys() == {"aps", "carillon"}


def is_webhook_s_head(block: Block, world: World) -> None:
    provider = Provider(0, "chat", "webhook", "production", WebhookSettings("", ("new", "old")))
    shown = [line.split(": ")[0] for line in block.text.splitlines()[1:]]
    assert shown == list(headers(provider, "b", b"", 1))


def is_webhook_s_answer(block: Block, world: World) -> None:
    some = [_recipient(), _recipient()._replace(id="77c1…"), _recipient()._replace(id="another", device_id="x")]
    gone, retry, rest = read(200, block.text.encode(), None, some, 0.0)
    assert (gone.status, retry.retry_after, rest) == (410, 30, ACCEPTED)  # type: ignore[union-attr]


def is_account_s_end(block: Block, world: World) -> None:
    kinds = {kind: KindAccount(0, 0, 0, {}, 0, {}, {}, 0, 0, 0, 0, 0) for kind in KINDS}
    even = Account(0, 0, 0, {}, {}, 0, 0, 0, kinds, [Check("x", 1, 1)] * 29)
    traffic: Any = SimpleNamespace(lines=[])
    console = Console(file=io.StringIO(), width=80)
    show(console, Outcome(even, Figures(None, None, None, 0), 1.0, None, "demo", {}, traffic))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert block.text.strip() in "\n".join(line.rstrip() for line in shown.splitlines())


def is_plan(block: Block, world: World) -> None:
    with world.pipeline.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
            " SELECT %s, n::text, 'user-' || n, %s, 0, true FROM generate_series(0, 50000) AS n",
            (APP, world.pipeline.provider.id),
        )
        db.execute("ANALYZE carillon.devices")
    shown = "\n".join(plan(world.pipeline.pool, 50_000))
    for line in block.text.splitlines():
        assert line.strip() in shown


def is_benchmarks(block: Block, world: World) -> None:
    for line in block.text.splitlines():
        found = re.fullmatch(r"(?:python -m (benchmarks\.\w+)|carillon bench)((?: \[?--.*?)?)   .*", line)
        assert found, line
        module, options = found.groups()
        source = (ROOT / f"{(module or 'worker.cli.bench').replace('.', '/')}.py").read_text()
        for option in re.findall(r"--[\w-]+", options):
            assert f'"{option}"' in source, line


def is_folder_of_a_kind(block: Block, world: World) -> None:
    folder = ROOT / "worker" / "providers"
    named = [line.split()[0] for line in block.text.splitlines()]
    assert all((ROOT / name).exists() for name in named[:2])
    assert all((folder / "apns" / name).exists() for name in named[3:])
    assert 'register("worker.providers.apns.kind")' in (folder / "kinds.py").read_text()
    assert 'register("worker.providers.toy.kind")' in block.text


def is_a_route(block: Block, world: World) -> None:
    names: dict[str, Any] = {"Access": Access, "Endpoint": Endpoint, "tls_context": tls_context, "answers": answers}
    exec(block.text, names | {"FORM": FORM, "dataclass": dataclass, "field": field, "__name__": __name__}, names)
    made = names["ToyRoute"]("box.example", "hunter2")
    assert made.access().endpoint.host == "box.example" and "hunter2" not in repr(made)


def is_settings_of_the_toy(block: Block, world: World) -> None:
    assert block.text.strip() in (ROOT / "tests" / "unit" / "kinds" / "toy" / "kind.py").read_text()


def is_a_page(block: Block, world: World) -> None:
    names: dict[str, Any] = {"Ask": Ask, "Values": dict, "Page": DashboardPage, "Panel": Panel}
    exec(block.text, names)
    ask = SimpleNamespace(stores=SimpleNamespace(pool=world.pipeline.pool))
    assert [name for name, _ in names["PAGE"].panels[0].show(ask)["apps"]] == ["chat", "demo"]


def is_html(block: Block, world: World) -> None:
    Environment(autoescape=True).parse(block.text)


def is_scrape(block: Block, world: World) -> None:
    shutil.copy(ROOT / "config" / "monitoring" / "alerts.yml", world.cwd)
    (file := world.cwd / "prometheus.yml").write_text(block.text)
    world.shell(f"{needs('promtool')} check config {file}")


def is_files_of_a_fact(block: Block, world: World) -> None:
    named = [line[:31].strip().split(", ") for line in block.text.splitlines()]
    assert all((ROOT / name).exists() for names in named for name in names if "snoozes" not in name)
    toy = (ROOT / "tests" / "integration" / "facts" / "toy.py").read_text()
    assert 'Rule("snoozed", "switched off all pushes for a while", so("snoozed"))' in block.text
    assert 'Rule("snoozed", "switched off all pushes for a while", so("snoozed"))' in toy


def is_part_of_the_toy_fact(block: Block, world: World) -> None:
    toy = (ROOT / "tests" / "integration" / "facts" / "toy.py").read_text()
    assert block.text.strip() in toy or indent(block.text.strip(), "    ") in toy


#: By the page and how the block begins.
CHECKS: dict[tuple[str, str], Callable[[Block, World], None]] = {
    ("docs/apns.md", '{"aps": {'): is_payload,
    ("docs/benchmarks.md", "python -m benchmarks.pipeline --json [--quick]"): is_benchmarks,
    ("docs/contributing/add-a-fact.md", "worker/facts/base.py"): is_files_of_a_fact,
    ("docs/contributing/add-a-fact.md", "class Snoozes"): is_part_of_the_toy_fact,
    ("docs/contributing/add-a-fact.md", "def read"): is_part_of_the_toy_fact,
    ("docs/contributing/add-a-page.md", "def rows(ask: Ask)"): is_a_page,
    ("docs/contributing/add-a-page.md", "{% extends"): is_html,
    ("docs/contributing/add-a-page.md", "<a class"): is_html,
    ("docs/contributing/add-a-provider.md", "worker/providers/base.py"): is_folder_of_a_kind,
    ("docs/contributing/add-a-provider.md", "@dataclass(frozen=True, slots=True)\nclass ToyRoute"): is_a_route,
    ("docs/contributing/add-a-provider.md", "@dataclass"): is_settings_of_the_toy,
    ("docs/contract.md", '{"generation"'): is_layout,
    ("docs/demo.md", "lost   "): is_account_s_end,
    ("docs/demo.md", '{"rules": '): is_script,
    ("docs/devices.md", "Nested Loop\n"): is_plan,
    ("docs/first-push.md", "options, err := redis.ParseURL"): run_go,
    ("docs/message-changes.md", "XADD"): is_event_in_redis,
    ("docs/message-changes.md", "ZADD"): is_said_to_redis,
    ("docs/message-changes.md", "publisher."): is_said_by_a_publisher,
    ("docs/metrics.md", "# prometheus.yml"): is_scrape,
    ("docs/preferences.md", '{\n  "channel"'): is_message,
    ("docs/presence.md", "publisher."): is_said_by_a_publisher,
    ("docs/privacy.md", '{"aps"'): is_json,
    ("docs/quiet-hours.md", '{"kind": "digest"'): is_json,
    ("docs/receiving.md", '{"aps"'): is_json,
    ("docs/reminders.md", '{\n  "aps"'): is_json,
    ("docs/templates.md", '{\n  "aps": {'): is_template,
    ("docs/templates.md", '{\n  "data": {'): is_template_of_fcm,
    ("docs/templates.md", '{\n  "web_push": 8030'): is_template_of_web,
    ("docs/templates.md", '{"aps": {"alert": {"loc-key"'): is_template,
    ("docs/web-push.md", "subscription = json.loads"): is_registration_of_a_browser,
    ("docs/web-push.md", '{"app_badge": 3'): is_what_a_browser_gets,
    ("docs/webhooks.md", "POST /push HTTP/1.1\n"): is_webhook_s_head,
    ("docs/webhooks.md", '{\n  "app": "chat"'): is_webhook_s_body,
    ("docs/webhooks.md", '{"results": '): is_webhook_s_answer,
}


def runner(block: Block) -> Callable[[Block, World], None] | None:
    checks = [check for (page, start), check in CHECKS.items() if page == block.page and block.text.startswith(start)]
    return checks[0] if checks else LANGUAGES.get(block.language)


def runs_here(block: Block) -> bool:
    return (block.page, block.language) not in ELSEWHERE and not is_not_run(block.page, block.text)


HERE: dict[str, list[Block]] = defaultdict(list)
for _block in filter(runs_here, blocks()):
    HERE[_block.page].append(_block)


@pytest.mark.parametrize("page", HERE)
def test_the_examples_of_the_page(page: str, world: World) -> None:
    for block in HERE[page]:
        run = runner(block)
        assert run is not None, f"{block}\nGive it a language that is run, a check, or a reason in NOT_RUN"
        run(block, world)


def test_the_lists_name_what_is_there() -> None:
    found = list(blocks())
    assert ELSEWHERE.keys() - {(block.page, block.language) for block in found} == set()
    for page, start in (*NOT_RUN, *CHECKS):
        begins = f"```\\w*\n(?:.*\n)*?(?:\\$ )?{re.escape(start)}"
        assert re.search(begins, (ROOT / page).read_text()), f"{page}: nothing begins with {start}"
    for (page, _), file in ELSEWHERE.items():
        assert Path(page).name in (ROOT / file).read_text(), f"{file} says nothing of {page}"


# what stands in the lines


def spans() -> Iterator[str]:
    """The commands in the prose of all pages; `a|b` are several."""
    for page in PAGES:
        for span in re.findall(r"`(carillon [a-z][^`]*)`", FENCE.sub("", page.read_text())):
            line = span.replace("\\|", "|")
            for choice in re.findall(r"[\w-]+(?:\|[\w-]+)+", line.split("--", maxsplit=1)[0]) or [""]:
                for word in choice.split("|"):
                    yield line.replace(choice, word) if choice else line


def test_a_command_in_the_text_is_one() -> None:
    assert [line for line in dict.fromkeys(spans()) if not is_one(line)] == []


def is_one(line: str) -> bool:
    """Whether its words are commands and its options theirs; capitals stand for something."""
    _, name, *rest = shlex.split(line)
    if name not in names():
        return False
    command: Any = load(name)
    while rest and hasattr(command, "list_commands"):
        if (below := command.get_command(Context(command), rest[0])) is None:
            break
        command, rest = below, rest[1:]
    known = {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)} | {"--help", "-h"}
    if not known.issuperset(re.findall(r"--[a-z][\w-]*", " ".join(rest))):
        return False
    return not hasattr(command, "list_commands") or not rest or rest[0].startswith("-")
