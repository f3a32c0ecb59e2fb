"""The audit log: each command that changes something leaves who did what, and none leaves a secret."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from tests.databases import admin
from tests.integration.cli.conftest import TOPIC, Cli, redis_of
from tests.integration.pipeline.harness import Pipeline
from tests.integration.pipeline.keys import new_key
from worker.cli import _events, _own_simulator, first_push
from worker.cli._commands import load, names
from worker.cli._session import session
from worker.cli.migrate import migrate_when_up
from worker.core.model import AppSettings
from worker.database import audit
from worker.database.ledger import DeadLetter, Ledger
from worker.database.migrate import migrate
from worker.database.postgres import open_pool
from worker.process.by_hand import Hand, by_hand
from worker.providers.fcm.service_account import new_key as rsa_key
from worker.reports.acts import By, this_user

#: Every command: the acts that it leaves, or why it leaves none.
READS, RUNS, ELSEWHERE = "changes nothing", "runs a part of the system", "has a system of its own"
COMMANDS: dict[str, str | tuple[str, ...]] = {
    "app create": ("app created",),
    "app delete": ("app deleted",),
    "app list": READS,
    "app set": ("app changed",),
    "app show": READS,
    "audit": READS,
    "backlog": READS,
    "beat": RUNS,
    "bench": ELSEWHERE,
    "broadcast create": ("broadcast channel created",),
    "broadcast delete": ("broadcast channel deleted",),
    "broadcast list": READS,
    "broadcast show": READS,
    "dashboard-user": READS,
    "dead-letters drop": ("dead letters dropped",),
    "dead-letters list": READS,
    "dead-letters retry": ("dead letters retried",),
    "dead-letters show": READS,
    "dashboard": RUNS,
    "demo": ELSEWHERE,
    "devices restore": ("devices restored",),
    "doctor": READS,
    "engines": RUNS,
    "first-push": ("events published",),
    "fleet": ("database taken over",),
    "flower": RUNS,
    "health": READS,
    "import": ("events imported",),
    "incidents": READS,
    "log": READS,
    "member add": ("members added",),
    "member list": READS,
    "member remove": ("members removed",),
    "metrics": RUNS,
    "migrate": ("database migrated",),
    "mute add": ("mutes added",),
    "mute list": READS,
    "mute remove": ("mutes removed",),
    "outbox relay": RUNS,
    "partitions gather": ("partitions changed",),
    "partitions set": ("partitions changed",),
    "partitions spread": ("partitions changed",),
    "partitions status": READS,
    "outbox sql": READS,
    "outbox status": READS,
    "provider list": READS,
    "provider pause": ("provider paused",),
    "provider resume": ("provider resumed",),
    "publish": ("events published",),
    "preferences set": ("preferences set",),
    "preferences show": READS,
    "quiet set": ("quiet time set",),
    "quiet show": READS,
    "push apn": ("app created", "provider stored"),
    "push cancel": ("push cancelled",),
    "push device add": ("device added",),
    "push device delete": ("device deleted",),
    "push device get": READS,
    "push device history": READS,
    "push fcm": ("provider stored",),
    "push list": READS,
    "push remove": ("provider removed",),
    "push scheduled": READS,
    "push send": ("push sent",),
    "push test": ("push tested",),
    "push web": ("provider stored",),
    "push webhook": ("provider stored",),
    "secret-key": READS,
    "secrets rotate": ("secrets rotated",),
    "simulate": RUNS,
    "tail": READS,
    "template list": READS,
    "template preview": READS,
    "template remove": ("template removed",),
    "template set": ("template stored",),
    "template show": READS,
    "up": ("database migrated", "app created", "provider stored"),
    "user forget": ("user forgotten",),
    "user show": READS,
    "version": READS,
    "why": READS,
    "worker": RUNS,
}
WEBHOOK_SECRET = "planted-webhook-secret-of-32-characters"
TOKEN = "0f74" * 16


def every_command() -> Iterator[str]:
    def below(path: str, command: Any) -> Iterator[str]:
        if not hasattr(command, "list_commands"):
            yield path
            return
        context = command.context_class(command)
        for name in command.list_commands(context):
            yield from below(f"{path} {name}", command.get_command(context, name))

    for name in names():
        yield from below(name, load(name))


def acts(cli: Cli) -> list[Any]:
    return list(reversed(cli.json("audit", "--limit", "10000")))


def test_every_command_is_known_to_leave_an_act_or_to_change_nothing():
    assert sorted(every_command()) == sorted(COMMANDS), (
        "what does the new command change? See worker/process/by_hand.py"
    )


@pytest.fixture
def fcm_account(tmp_path: Path) -> Path:
    file = tmp_path / "account.json"
    account = {"type": "service_account", "project_id": "chat", "private_key_id": "k1"}
    file.write_text(
        json.dumps(account | {"private_key": rsa_key(), "client_email": "push@chat.iam.gserviceaccount.com"})
    )
    return file


@dataclass
class Scene:
    """Runs commands, and looks at the acts that they leave."""

    cli: Cli
    done: set[str] = field(default_factory=set)

    def leaves(self, command: str, *arguments: object, code: int = 0) -> dict[str, Any]:
        """The last act of the command, which leaves only its own."""
        before = acts(self.cli)
        ran = self.cli.run(*command.split(), *arguments)
        assert ran.exit_code == code, (command, ran.output)
        new = acts(self.cli)[len(before) :]
        expected = COMMANDS[command]
        assert [one["act"] for one in new] == [expected[-1]], (command, new)
        act: dict[str, Any]
        [act] = new
        assert (act["who"], act["host"]) == this_user() and act["at"].endswith("Z")
        self.done.add(command)
        return act


def test_O7_each_change_leaves_its_act_and_no_secret(
    cli: Cli, pipeline: Pipeline, key_file: Path, fcm_account: Path, tmp_path: Path
) -> None:
    cli.keys.append(pipeline.secret_key)
    scene = Scene(cli)
    for step in (_apps_and_providers, _templates_and_pauses, _people, _pushes, _letters, _system):
        step(scene, tmp_path)
    with session() as runtime:
        first_push._publish(runtime, "first-1", [])
        _own_simulator.prepared(tmp_path).connect(runtime)
    assert [one["act"] for one in acts(cli)][-4:] == ["events published", *["provider stored"] * 3]
    changing = {command for command, left in COMMANDS.items() if isinstance(left, tuple)}
    # Apple has to do what `broadcast` asks for: test_broadcast.py. `partitions` rename all keys: test_partitions.py.
    renaming = {f"partitions {command}" for command in ("gather", "set", "spread")}
    elsewhere = {"first-push", "up", "migrate", "broadcast create", "broadcast delete"} | renaming
    assert changing - scene.done == elsewhere
    everything = json.dumps(acts(cli)) + str(redis_of(cli).lrange("carillon:acts", 0, -1))
    assert "PRIVATE KEY" not in everything and "planted" not in everything and TOKEN not in everything


CHAT: Final = ("--app", "chat")


def _apps_and_providers(scene: Scene, directory: Path) -> None:
    leaves, key_file = scene.leaves, directory / "AuthKey_ABC123DEFG.p8"
    assert leaves("app create", "chat", "--max-age", "60")["detail"] == {"after": {"max_age": 60}}
    assert leaves("app set", "chat", "--no-push", "--max-age", "90")["detail"] == {
        "before": {"push_enabled": True, "max_age": 60},
        "after": {"push_enabled": False, "max_age": 90},
    }
    leaves("app set", "chat", "--push", "--max-age", "3600")
    key = ("push apn", "-a", key_file, "-k", "ABC123DEFG", "-t", "DEF123GHIJ", "--name", "apns", *CHAT)
    # A port that nobody listens on: no push of this test arrives.
    stored = leaves(*key, "-b", TOPIC, "--environment", "production", "--host", "localhost", "--port", 1)
    assert (stored["app"], stored["target"], stored["detail"]["after"]["bundle_id"]) == ("chat", "apns", TOPIC)
    key_file.write_text(new_key())
    assert leaves(*key)["detail"] == {"changed": ["credential"]}
    account = leaves("push fcm", "--service-account", directory / "account.json", "--display", "app", *CHAT)
    assert account["detail"]["after"]["project"] == "chat"
    assert leaves("push web", "--subject", "mailto:a@example.com", *CHAT)["target"] == "web"
    secret = directory / "secret"
    secret.write_text(WEBHOOK_SECRET)
    secret.chmod(0o600)
    hook = leaves("push webhook", "--url", "https://93.184.215.14/planted?key=planted", "--secret-file", secret, *CHAT)
    assert hook["detail"]["after"]["kind"] == "webhook"
    assert leaves("push remove", "webhook", "--yes", *CHAT)["detail"]["before"]["kind"] == "webhook"


def _templates_and_pauses(scene: Scene, directory: Path) -> None:
    leaves, template = scene.leaves, directory / "template.json"
    template.write_text('{"aps": {"alert": {"title": "a planted text"}}}')
    of = ("--provider", "apns", "--kind", "regular", *CHAT)
    assert leaves("template set", template, *of)["detail"]["kind"] == "regular"
    assert leaves("template remove", *of)["target"] == "apns"
    paused = leaves("provider pause", "apns", "--reason", f"token {TOKEN} is wrong", *CHAT)
    assert (paused["target"], paused["note"]) == ("apns", "token [redacted] is wrong")
    assert leaves("provider resume", "apns", *CHAT)["detail"]["reason"] == "token [redacted] is wrong"


def _people(scene: Scene, directory: Path) -> None:
    leaves = scene.leaves
    assert leaves("member add", "general", "han", "leia", *CHAT)["detail"] == {"users": ["han", "leia"]}
    assert leaves("member remove", "general", "leia", *CHAT)["target"] == "general"
    assert leaves("mute add", "han", "greedo", *CHAT)["target"] == "han"
    leaves("mute remove", "han", "greedo", *CHAT)
    assert leaves("preferences set", "han", "--level", "none", *CHAT)["detail"] == {"level": "none"}
    assert leaves("quiet set", "han", "--quiet", "22:00-07:00", "--zone", "Asia/Tokyo", *CHAT)["target"] == "han"
    assert leaves("user forget", "chat", "han")["target"] is None
    added = leaves("push device add", "--user", "han", "--provider", "apns", "--token", TOKEN, *CHAT)
    assert (added["target"], added["detail"]["provider"]) == ("han", "apns")
    lines = directory / "export.jsonl"
    lines.write_text('{"type": "member.added", "channel": {"id": "general"}, "users": ["han"]}\n')
    assert leaves("import", lines, *CHAT)["detail"]["published"] == {"member.added": 1}


def _pushes(scene: Scene, _directory: Path) -> None:
    leaves, cli = scene.leaves, scene.cli
    tested = leaves("push test", "han", "--message", "a planted text", *CHAT, code=1)
    assert (tested["target"], tested["detail"]) == ("han", {"devices": 1, "accepted": 0})
    sent = leaves("push send", "--everyone", "--alert", "a planted text", "--send-at", "+2h", "--id", "p1", *CHAT)
    assert (sent["target"], sent["detail"]["devices"]) == ("p1", 1)
    assert _events.applied(lambda: "p1" in cli.ok("push", "scheduled"), 30)
    assert leaves("push cancel", "p1", *CHAT)["target"] == "p1"
    text = ("--channel", "general", "--sender", "leia", "--text", "a planted text", "--id", "e1")
    assert leaves("publish", *text, *CHAT)["target"] == "e1"
    with psycopg.connect(cli.postgres_url) as db:
        db.execute(
            "UPDATE carillon.devices SET active = false, retired_at = now(), retired_reason = 'Unregistered'"
            " WHERE app = 'chat'"
        )
    assert leaves("devices restore", "--since", "1h", *CHAT)["detail"]["devices"] == 1
    assert leaves("push device delete", "--token", TOKEN, *CHAT)["target"] == "han"


def _letters(scene: Scene, _directory: Path) -> None:
    leaves = scene.leaves
    pool = open_pool(scene.cli.postgres_url, size=1)
    for n in range(4):
        Ledger(pool).add_dead_letter(DeadLetter(f"{n}-0", "chat", f"e{n}", "none", b'{"text": "a planted text"}'))
    pool.close()
    first, second, *_ = sorted(one["id"] for one in rows(scene.cli))
    assert leaves("dead-letters drop", first)["detail"]["letter"] == first
    assert leaves("dead-letters retry", second)["app"] == "chat"
    assert leaves("dead-letters retry", *CHAT, "--limit", "1")["detail"]["letters"] == 1
    assert leaves("dead-letters drop", "--all")["detail"]["letters"] >= 1


def rows(cli: Cli) -> list[Any]:
    return [json.loads(line) for line in cli.ok("dead-letters", "list", "--json", "--app", "chat").splitlines()]


def _system(scene: Scene, _directory: Path) -> None:
    scene.cli.ok("app", "create", "old")
    assert scene.leaves("app delete", "old", "--yes")["detail"] == {"providers": []}
    assert scene.leaves("secrets rotate")["detail"]["credentials"] >= 3
    fleet = scene.leaves("fleet", "--take-over")
    assert fleet["detail"] == {"before": {"fleet": ""}, "after": {"fleet": ""}}


def test_a_migration_is_an_act(cli: Cli, empty_postgres_url: str) -> None:
    assert migrate_when_up(empty_postgres_url, 5)
    assert migrate_when_up(empty_postgres_url, 5) == []
    pool = open_pool(empty_postgres_url, size=1)
    [entry] = audit.newest(pool, audit.Which(), 10)
    pool.close()
    assert entry.act == "database migrated" and "0023_audit" in entry.detail["versions"]


def test_O7_the_act_and_its_change_are_one_transaction(cli: Cli) -> None:
    cli.ok("app", "create", "chat")
    before = len(acts(cli))
    with session() as runtime:
        chat = runtime.registry.apps()["chat"]
        off = replace(chat, push_enabled=False)
        with pytest.raises(ZeroDivisionError), by_hand(runtime) as hand:
            _changes_and_fails(hand, chat, off)
        assert runtime.registry.apps()["chat"].push_enabled
        assert len(acts(cli)) == before
        with by_hand(runtime, By("mira", "10.0.0.1")) as hand:
            hand.change_app(chat, off)
        assert not runtime.registry.apps()["chat"].push_enabled
    [entry] = cli.json("audit", "--who", "mira")
    assert (entry["host"], entry["act"], entry["detail"]["after"]) == (
        "10.0.0.1",
        "app changed",
        {"push_enabled": False},
    )


def _changes_and_fails(hand: Hand, before: AppSettings, after: AppSettings) -> None:
    hand.change_app(before, after)
    raise ZeroDivisionError


def test_the_log_is_filtered_and_paged(cli: Cli) -> None:
    assert "nothing was done" in cli.ok("audit", "--since", "1h")
    for name in ("chat", "other"):
        cli.ok("app", "create", name)
    cli.ok("app", "set", "chat", "--no-push")
    cli.ok("app", "set", "chat", "--max-age", "60")
    every = cli.json("audit")
    assert [one["id"] for one in every] == sorted((one["id"] for one in every), reverse=True)
    assert [one["act"] for one in cli.json("audit", "--app", "other")] == ["app created"]
    assert len(cli.json("audit", "--act", "app")) == 4
    assert len(cli.json("audit", "--act", "app changed")) == 2
    assert cli.json("audit", "--who", "nobody-of-that-name") == []
    first = cli.json("audit", "--limit", "3")
    assert [*first, *cli.json("audit", "--before", first[-1]["id"])] == every
    assert cli.json("audit", "--since", "2999-01-01T00:00Z") == []
    said = cli.ok("audit", "--act", "app changed")
    assert "push_enabled on -> off" in said and "max_age 3600 -> 60" in said
    assert f"{this_user().who}@{this_user().host}" in said


def test_an_app_that_is_gone_is_filtered_for_and_one_that_never_was_is_refused(cli: Cli) -> None:
    cli.ok("app", "create", "gone")
    with psycopg.connect(cli.postgres_url) as db:
        db.execute("DELETE FROM carillon.apps")
    assert [one["act"] for one in cli.json("audit", "--app", "gone")] == ["app created"]
    assert "no app 'never'" in cli.refused("audit", "--app", "never")


def test_O7_only_the_role_that_migrates_changes_the_log(empty_postgres_url: str) -> None:
    """As deploy/roles.sh makes the roles: what it grants to the worker on all tables is not enough."""
    name = psycopg.conninfo.conninfo_to_dict(empty_postgres_url)["dbname"]
    worker = f"audit_worker_{name}"
    admin(empty_postgres_url, f"CREATE ROLE {worker}")
    try:
        with psycopg.connect(empty_postgres_url, autocommit=True) as db:
            db.execute(f"ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {worker}".encode())
            db.execute(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {worker}".encode())
        migrate(empty_postgres_url)
        with psycopg.connect(empty_postgres_url, autocommit=True) as db:
            db.execute(
                "INSERT INTO carillon.audit (who, host, act, at) VALUES ('jo', 'h', 'old', now() - interval '366 days')"
            )
            db.execute(f"SET ROLE {worker}".encode())
            db.execute("INSERT INTO carillon.audit (who, host, act) VALUES ('mira', 'h', 'new')")
            for statement in ("DELETE FROM", "TRUNCATE", "UPDATE"):
                end = " SET who = 'jo'" if statement == "UPDATE" else ""
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only added"):
                    db.execute(f"{statement} carillon.audit{end}".encode())
            assert db.execute("SELECT carillon.forget_acts()").fetchone() == (1,), "what is a year old"
            assert db.execute("SELECT act FROM carillon.audit").fetchall() == [("new",)]
            db.execute("RESET ROLE")
            db.execute(f"DROP OWNED BY {worker}".encode())
    finally:
        admin(empty_postgres_url, f"DROP ROLE IF EXISTS {worker}")


def test_an_act_that_a_script_repeats_pushes_out_no_other(postgres_url: str) -> None:
    pool = open_pool(postgres_url, size=1)
    with pool.connection() as db:
        db.execute("INSERT INTO carillon.audit (who, host, act) VALUES ('mira', 'h', 'provider paused')")
        db.execute(
            "INSERT INTO carillon.audit (who, host, act)"
            " SELECT 'cron', 'h', 'events published' FROM generate_series(1, 11500)"
        )
    assert [audit.forget(pool) for _ in range(3)] == [1000, 500, 0]
    with pool.connection() as db:
        counts = db.execute("SELECT act, count(*) FROM carillon.audit GROUP BY act ORDER BY act").fetchall()
    pool.close()
    assert counts == [("events published", 10_000), ("provider paused", 1)]


def test_the_time_of_an_act_is_that_of_the_database(cli: Cli) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    cli.ok("app", "create", "chat")
    assert began <= datetime.fromisoformat(acts(cli)[-1]["at"]) <= datetime.now(UTC)
