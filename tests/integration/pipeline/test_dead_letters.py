"""Dead letters through the command line: listed, shown, published once more, dropped."""

import os
import subprocess
import sys

from cryptography.fernet import Fernet
from msgspec.structs import replace

from producers import events as ev
from tests.integration.pipeline.harness import message, user_of
from worker.core.model import AppSettings
from worker.database.ledger import LARGEST, DeadLetter


def carillon(postgres_url: str, redis_url: str, *words: str) -> subprocess.CompletedProcess[str]:
    given = {
        "CARILLON_POSTGRES_URL": postgres_url,
        "CARILLON_REDIS_URL": redis_url,
        "CARILLON_SECRET_KEYS": Fernet.generate_key().decode(),
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")}
    command = [sys.executable, "-m", "worker.cli", "dead-letters", *words]
    return subprocess.run(command, env=kept | given, capture_output=True, text=True, timeout=60, check=False)


def test_a_dead_letter_is_delivered_once_its_fault_is_mended(pipeline, postgres_url, redis_url):
    pipeline.member("general", "leia", "han")
    early = replace(message(id="e1"), app="tomorrow", recipients=["han"])
    pipeline.publish(ev.encode(early), b"{")
    pipeline.run()
    assert "tomorrow" in carillon(postgres_url, redis_url, "list").stdout
    pipeline.registry.save_app(AppSettings("tomorrow"))
    ids = {one.letter.event_id: one.id for one in pipeline.ledger.dead_letters()}
    done = carillon(postgres_url, redis_url, "retry", str(ids["e1"]))
    assert done.returncode == 0, done.stderr
    pipeline.run()
    pipeline.account("e1")
    assert pipeline.ledger.of_event("tomorrow", "e1")["page:0"]["skipped"] == {"no_device": ["han"]}
    assert carillon(postgres_url, redis_url, "drop", str(ids[None])).returncode == 0
    assert pipeline.ledger.dead_letters() == []
    assert carillon(postgres_url, redis_url, "drop", str(ids[None])).returncode == 2


def test_a_message_whose_expansion_failed_is_not_refused_as_a_repeat(pipeline, postgres_url, redis_url):
    """It was recorded before it failed: the retry must get past its own id."""
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"))
    pipeline.take()
    [opened] = pipeline.journal.take_messages("urgent", 10)
    pipeline.ledger.add_dead_letter(letter_of(opened))
    pipeline.journal.abandon(opened.entry)
    assert pipeline.run() == []
    [stored] = pipeline.ledger.dead_letters()
    assert carillon(postgres_url, redis_url, "retry", str(stored.id)).returncode == 0
    assert [user_of(n) for n in pipeline.run()] == ["han"]


def letter_of(opened):
    return DeadLetter(opened.entry, "demo", "e1", "expansion failed: TypeError", opened.document)


def test_many_are_published_once_more_or_dropped_at_once(pipeline, postgres_url, redis_url):
    pipeline.member("general", "leia", "han")
    for n in range(3):
        pipeline.ledger.add_dead_letter(
            DeadLetter(f"1-{n}", "demo", f"e{n}", "a fault", ev.encode(message(id=f"e{n}")))
        )
    pipeline.ledger.add_dead_letter(DeadLetter("batch:b", "demo", None, "batch cannot be read", b"?"))
    pipeline.ledger.add_dead_letter(DeadLetter("2-0", "demo", None, "too large", b"x" * (LARGEST + 1)))
    pipeline.ledger.add_dead_letter(DeadLetter("3-0", None, None, "is not JSON", b"{"))

    for words in ([], ["1", "--all"], ["--before", "yesterday"]):
        for command in ("drop", "retry"):
            assert carillon(postgres_url, redis_url, command, *words).returncode == 2
    done = carillon(postgres_url, redis_url, "retry", "--app", "demo", "--limit", "2")
    assert done.stdout == "2 are published once more; 3 are left\n"
    done = carillon(postgres_url, redis_url, "retry", "--app", "demo")
    assert done.stdout == "1 is published once more; 2 are left, 2 of them cannot be published\n"
    assert [user_of(n) for n in pipeline.run()] == ["han"] * 3
    assert "is not JSON" in carillon(postgres_url, redis_url, "list", "--app", "").stdout
    assert carillon(postgres_url, redis_url, "drop", "--all", "--before", "1d").stdout == "0 are dropped\n"
    assert carillon(postgres_url, redis_url, "drop", "--app", "demo").stdout == "2 are dropped\n"
    assert carillon(postgres_url, redis_url, "drop", "--all").stdout == "1 is dropped\n"
