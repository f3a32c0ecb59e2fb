"""Dead letters through the command line: listed, shown, published once more, dropped."""

from collections.abc import Callable, Iterator

import pytest
from cryptography.fernet import Fernet
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from config.settings import get_settings
from producers import events as ev
from tests.integration.pipeline.harness import message, user_of
from worker.cli._commands import app
from worker.core.model import AppSettings
from worker.database.ledger import LARGEST, DeadLetter


@pytest.fixture
def carillon(postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Runs a command of `dead-letters` in this process."""
    monkeypatch.setenv("CARILLON_POSTGRES_URL", postgres_url)
    monkeypatch.setenv("CARILLON_REDIS_URL", redis_url)
    monkeypatch.setenv("CARILLON_SECRET_KEYS", Fernet.generate_key().decode())
    get_settings.cache_clear()
    yield lambda *words: CliRunner().invoke(app, ["dead-letters", *words])
    get_settings.cache_clear()


def test_a_dead_letter_is_delivered_once_its_fault_is_mended(pipeline, carillon):
    pipeline.member("general", "leia", "han")
    early = replace(message(id="e1"), app="tomorrow", recipients=["han"])
    pipeline.publish(ev.encode(early), b"{")
    pipeline.run()
    assert "tomorrow" in carillon("list").stdout
    pipeline.registry.save_app(AppSettings("tomorrow"))
    ids = {one.letter.event_id: one.id for one in pipeline.ledger.dead_letters()}
    done = carillon("retry", str(ids["e1"]))
    assert done.exit_code == 0, done.output
    pipeline.run()
    pipeline.account("e1")
    assert pipeline.ledger.of_event("tomorrow", "e1")["page:0"]["skipped"] == {"no_device": ["han"]}
    assert carillon("drop", str(ids[None])).exit_code == 0
    assert pipeline.ledger.dead_letters() == []
    assert carillon("drop", str(ids[None])).exit_code == 2


def test_a_message_whose_expansion_failed_is_not_refused_as_a_repeat(pipeline, carillon):
    """It was recorded before it failed: the retry must get past its own id."""
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"))
    pipeline.take()
    [opened] = pipeline.journal.take_messages("urgent", 10)
    pipeline.ledger.add_dead_letter(letter_of(opened))
    pipeline.journal.abandon(opened.entry)
    assert pipeline.run() == []
    [stored] = pipeline.ledger.dead_letters()
    assert carillon("retry", str(stored.id)).exit_code == 0
    assert [user_of(n) for n in pipeline.run()] == ["han"]


def letter_of(opened):
    return DeadLetter(opened.entry, "demo", "e1", "expansion failed: TypeError", opened.document)


def test_many_are_published_once_more_or_dropped_at_once(pipeline, carillon):
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
            assert carillon(command, *words).exit_code == 2
    done = carillon("retry", "--app", "demo", "--limit", "2")
    assert done.stdout == "2 are published once more; 3 are left\n"
    done = carillon("retry", "--app", "demo")
    assert done.stdout == "1 is published once more; 2 are left, 2 of them cannot be published\n"
    assert [user_of(n) for n in pipeline.run()] == ["han"] * 3
    assert "is not JSON" in carillon("list", "--app", "").stdout
    assert carillon("drop", "--all", "--before", "1d").stdout == "0 are dropped\n"
    assert carillon("drop", "--app", "demo").stdout == "2 are dropped\n"
    assert carillon("drop", "--all").stdout == "1 is dropped\n"
