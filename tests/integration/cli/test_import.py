"""`carillon import`: a running product's devices, members and mutes, with an account, and on from where it was stopped."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from producers import MemberAdded, MembersReplaced, PublishError, decode
from producers.testing import RecordingPublisher
from tests.integration.cli.conftest import Cli, apn, redis_of, rows
from worker.cli._importing import Files, Importer, Pace, State, fingerprint, read_state, write_state
from worker.core.model import AppSettings

TOKEN = "ab" * 32
AT = datetime(2026, 1, 1, tzinfo=UTC)
LINES: list[Any] = [
    {"type": "device.registered", "user": "han", "device": {"token": TOKEN}, "at": "2026-01-01T00:00:00Z"},
    {"type": "member.added", "channel": {"id": "general"}, "users": ["han", "leia"]},
    {"type": "members.replaced", "channel": {"id": "crew"}, "users": ["han"]},
    {"type": "channel.updated", "channel": {"id": "general", "name": "General"}},
    {"type": "user.muted", "user": "han", "target": "leia"},
    {"type": "preferences.updated", "user": "han", "level": "mentions"},
    {"type": "quiet.updated", "user": "han"},
]


def written(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def published(cli: Cli) -> list[Any]:
    return [decode(fields[b"event"]) for _, fields in redis_of(cli).xrange("carillon:events")]


def account(cli: Cli, *arguments: object) -> tuple[int, Any]:
    done = cli.run("import", *arguments, "--wait", "0", "--json")
    return done.exit_code, json.loads(done.stdout)


def test_every_kind_of_line_is_published_as_of_the_export(with_key: Cli, tmp_path: Path):
    file = written(tmp_path / "export.jsonl", *LINES)
    code, outcome = account(with_key, file, "--at", "2026-01-02T00:00:00Z")
    assert code == 1, "nobody has applied it"
    assert outcome["published"] == {line["type"]: 1 for line in LINES}
    assert (outcome["refused"], outcome["dead_letters"], outcome["applied"], outcome["at"]) == (
        0,
        0,
        False,
        "2026-01-02T00:00:00Z",
    )
    events = published(with_key)
    assert [event.app for event in events] == ["chat"] * 7
    assert len({event.id for event in events}) == 7
    assert [event.at.day for event in events] == [1, 2, 2, 2, 2, 2, 2], "a line's own time counts"
    assert not Path(f"{file}.refused").exists()


def test_a_list_that_is_too_long_for_one_event_is_published_in_pages(with_key: Cli, tmp_path: Path):
    users = [f"user-{n:06}-{'x' * 50}" for n in range(24_000)]
    long = [f"{n:05}{'ü' * 200}" for n in range(5_000)]
    file = written(
        tmp_path / "export.jsonl",
        {"type": "members.replaced", "channel": {"id": "crew"}, "users": [*reversed(users), users[7]]},
        {"type": "member.added", "channel": {"id": "crew"}, "users": users},
        {"type": "members.replaced", "channel": {"id": "long"}, "users": long, "through": "1"},
        {"type": "members.replaced", "channel": {"id": "crew"}, "users": ["han", 7]},
    )
    outcome = account(with_key, file)[1]
    assert outcome["published"] == {"members.replaced": 2, "member.added": 1}
    assert [reason.partition(":")[0] for reason in outcome["reasons"]] == ["users[1]"]
    events = published(with_key)
    assert len({event.id for event in events}) == len(events)
    for kind, channel, whole, through in (
        (MembersReplaced, "crew", users, None),
        (MemberAdded, "crew", users, None),
        (MembersReplaced, "long", long, "1"),
    ):
        pages = [event for event in events if isinstance(event, kind) and event.channel.id == channel]
        assert len(pages) > 1
        assert [user for page in pages for user in page.users] == whole
        ends = [page.users[-1] for page in pages[:-1]]
        parts = [(page.after, page.through) for page in pages if isinstance(page, MembersReplaced)]
        assert parts in ([], [*zip([None, *ends], [*ends, through], strict=True)])


def test_what_cannot_be_taken_is_listed_with_its_reason(with_key: Cli, tmp_path: Path):
    file = written(
        tmp_path / "export.jsonl",
        "\ufeff" + json.dumps(LINES[0]),
        "",
        "{",
        {"type": "message.new"},
        {"type": "user.muted", "user": "han"},
        {**LINES[0], "device": {"token": "xyz"}},
        {**LINES[0], "device": {"token": TOKEN, "provider": "fcm"}},
        {**LINES[4], "app": "other"},
        [1],
    )
    code, outcome = account(with_key, file)
    assert (code, outcome["refused"], outcome["published"]) == (2, 7, {"device.registered": 1})
    refused = [json.loads(line) for line in Path(outcome["refused_file"]).read_text().splitlines()]
    assert {one["line"]: one["error"].partition(":")[0] for one in refused} == {
        3: "document",
        4: "type",
        5: "target",
        6: "device.token",
        7: "device.provider",
        8: "app",
        9: "document",
    }


def test_the_account_counts_reasons_and_a_provider_may_be_given_for_all(with_key: Cli, tmp_path: Path, key_file: Path):
    with_key.ok(*apn(key_file), "--app", "chat", "--name", "second")
    devices = [{**LINES[0], "device": {"token": f"{n:064x}"}} for n in range(3)]
    file = written(tmp_path / "export.jsonl", *devices)
    outcome = with_key.run("import", file, "--wait", "0")
    assert outcome.exit_code == 2
    assert "3 refused: device.provider: app 'chat' has 2 providers, name one" in outcome.stdout
    assert account(with_key, file, "--again", "--provider", "second")[1]["published"] == {"device.registered": 3}
    assert {event.device.provider for event in published(with_key)} == {"second"}
    assert "no provider 'third'" in with_key.refused("import", file, "--again", "--provider", "third")


def test_the_page_about_it_is_true(with_key: Cli, tmp_path: Path):
    page = (Path(__file__).parents[3] / "docs" / "moving-in.md").read_text()
    [lines] = re.findall(r"^```jsonl\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (file := tmp_path / "export.jsonl").write_text(lines)
    outcome = account(with_key, file)[1]
    assert outcome["refused"] == 0 and sum(outcome["published"].values()) == len(lines.splitlines()) == 6
    for example in re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        exec(example, {})


def test_a_file_is_imported_once_unless_it_is_asked_for(with_key: Cli, tmp_path: Path):
    file = written(tmp_path / "export.jsonl", *LINES)
    account(with_key, file)
    assert "was imported already" in with_key.refused("import", file)
    assert account(with_key, file, "--again")[1]["published"]["user.muted"] == 1
    with file.open("a") as more:
        more.write(json.dumps(LINES[4]) + "\n")
    assert "has changed since its import began" in with_key.refused("import", file)


def test_once_workers_have_taken_it_that_is_said(with_key: Cli, tmp_path: Path):
    code, outcome = account(with_key, written(tmp_path / "empty.jsonl"))
    assert (code, outcome["applied"], outcome["published"]) == (0, True, {})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nowhere/export.jsonl"], "/nowhere/export.jsonl: No such file"),
        (["--at", "2999-01-01T00:00Z", __file__], "--at: is in the future"),
        (["--app", "chta", __file__], "known: chat"),
    ],
)
def test_what_cannot_begin_says_why(with_key: Cli, arguments: list[str], said: str):
    assert said in with_key.refused("import", *arguments)
    assert rows(with_key, "devices") == []


def files(tmp_path: Path, lines: int) -> tuple[Files, State]:
    file = written(tmp_path / "export.jsonl", *({**LINES[4], "target": f"u{n}"} for n in range(lines)), "{")
    found = Files.beside(file)
    return found, State("chat", *fingerprint(file), AT)


def importer(of: Files, state: State, publisher: RecordingPublisher, **more: Any) -> Importer:
    return Importer(of, state, publisher, Pace(AppSettings("chat")), check=lambda *_: None, **more)


def test_it_goes_on_where_it_was_stopped(tmp_path: Path):
    of, state = files(tmp_path, 1_800)
    first = RecordingPublisher()

    def stop(now: State) -> None:
        if now.line == 1_000:
            first.recorded.fail(PublishError("redis is away"))

    with pytest.raises(PublishError):
        importer(of, state, first, progress=stop).run()
    remembered = read_state(of)
    assert remembered is not None
    assert (remembered.line, remembered.published, remembered.done) == (1_000, {"user.muted": 1_000}, False)
    second = RecordingPublisher()
    importer(of, remembered, second).run()
    targets = [event.target for event in (*first.recorded.events, *second.recorded.events)]  # type: ignore[union-attr]
    assert targets == [f"u{n}" for n in range(1_800)]
    assert (remembered.refused, remembered.done) == (1, True)
    assert len(of.refused.read_text().splitlines()) == 1


def test_what_was_noted_behind_the_remembered_place_is_noted_once(tmp_path: Path):
    of, state = files(tmp_path, 3)
    of.refused.write_text('{"line":4,"error":"half written')
    write_state(of, state)
    importer(of, state, RecordingPublisher()).run()
    assert [json.loads(line)["line"] for line in of.refused.read_text().splitlines()] == [4]


def test_a_line_without_end_fills_no_memory(tmp_path: Path):
    file = tmp_path / "export.jsonl"
    file.write_bytes(b"x" * (3 * 1024 * 1024) + b"\n" + json.dumps(LINES[4]).encode())
    publisher = RecordingPublisher()
    state = State("chat", *fingerprint(file), AT)
    importer(Files.beside(file), state, publisher).run()
    assert (state.refused, len(publisher.recorded.events), state.line) == (1, 1, 2)


def test_devices_leave_room_for_people_who_log_in():
    now = [0.0]
    pace = Pace(AppSettings("chat", registration_rate=100, registration_burst=1_000), clock=lambda: now[0])
    assert pace.wait_for(500) == 0.0
    assert pace.wait_for(80) == pytest.approx(1.0)
    now[0] = 1.0
    assert pace.wait_for(80) == pytest.approx(1.0)
    assert Pace(AppSettings("chat", registration_rate=None)).wait_for(10**6) == 0.0
