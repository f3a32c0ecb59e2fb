"""`carillon log` and `carillon tail`: lines for people, and for programs."""

import json
import re
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from tests.integration.cli.conftest import Cli
from tests.integration.pipeline.harness import Pipeline, message

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, cli: Cli) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    made.member("general", "leia", "han")
    made.take()
    yield made
    made.close()


def pushed(pipeline: Pipeline, id: str = "e1") -> None:
    pipeline.publish(message(id=id))
    pipeline.run()
    pipeline.account(id)


def test_log_lists_notifications_and_with_decisions_also_who_got_none(pipeline: Pipeline, cli: Cli) -> None:
    pushed(pipeline)
    assert re.fullmatch(rf"{TIME}  demo  e1  han device \d+  accepted  apns\n", cli.ok("log"))
    found = [json.loads(line) for line in cli.ok("log", "--decisions", "--json").splitlines()]
    assert {(line["user"], line["outcome"], line["reason"]) for line in found} == {
        ("leia", "skipped", "sender"),
        ("han", "pushed", None),
        ("han", "accepted", None),
    }
    assert cli.ok("log", "--outcome", "skipped").count("\n") == 1
    assert cli.ok("log", "--limit", "1", "--decisions").count("\n") == 1
    assert "no notification matches" in cli.ok("log", "--user", "luke")


def test_what_cannot_be_looked_for_is_refused(pipeline: Pipeline, cli: Cli) -> None:
    assert "no app 'other'" in cli.refused("log", "--app", "other")
    assert "there is no provider 'fcm'" in cli.refused("tail", "--provider", "fcm")
    assert "--outcome: one of accepted" in cli.refused("log", "--outcome", "lost")
    assert "--since" in cli.refused("log", "--since", "yesterday")


def test_tail_shows_what_comes_counts_what_is_too_much_and_ends_by_ctrl_c(
    pipeline: Pipeline, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(pipeline)
    looks = iter((lambda: pushed(pipeline, "e2"), lambda: None))

    def sleep(_seconds: float) -> None:
        if (look := next(looks, None)) is None:
            raise KeyboardInterrupt
        look()

    now = iter(range(1000))
    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: float(next(now)), time=time.time)
    monkeypatch.setattr("worker.cli.tail.time", clock)
    done = cli.run("tail", "--rate", "2", "--json")
    assert done.exit_code == 130 and "Traceback" not in done.output
    *shown, more = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in shown] == ["e2", "e2"]
    assert more == {"more": 1}
