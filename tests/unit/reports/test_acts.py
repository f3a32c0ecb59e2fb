"""What is recorded of an act: who it was, no secret, and no more than fits."""

import json
import os
import pwd

import pytest

from worker.reports import acts
from worker.reports.acts import By
from worker.reports.letters import without_texts

TOKEN = "0f74" * 16
BY = By("mira", "ops-1")


def test_who_it_was_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch):
    for name in ("LOGNAME", "USER", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert acts.this_user().who == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_without_a_name_and_one_behind_sudo(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUDO_USER", "mira")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert acts.this_user().who == "mira as root"
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert acts.this_user().who == "uid 3999999999", "only root is let in by sudo"


def test_what_looks_like_a_secret_is_cut_out_of_each_text():
    detail = {"users": [TOKEN], "after": {"url": "https://jo:hunter2@example.com/"}, "n": 1, "on": True, "none": None}
    act = acts.made("events published", by=BY, app=TOKEN, target=TOKEN, note=f"see {TOKEN}", detail=detail)
    assert TOKEN not in str(act) and "hunter2" not in str(act)
    assert (act.detail["n"], act.detail["on"], act.detail["none"]) == (1, True, None)
    assert act.note == "see [redacted]"


def test_texts_and_lists_are_cut():
    act = acts.made("members added", by=BY, note="x" * 1_000, detail={"users": [f"u{n}" for n in range(1_000)]})
    assert act.note == "x" * 300 + "…"
    assert (len(act.detail["users"]), act.detail["users"][-1]) == (51, "and 950 more")


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        pytest.param({}, "", id="nothing"),
        pytest.param({"before": {"a": 1}, "after": {"a": 2}}, "a 1 -> 2", id="a change"),
        pytest.param({"after": {"a": None, "b": ["x", "y"]}}, "a none, b x y", id="what is new"),
        pytest.param({"before": {"a": True}}, "a on -> none", id="what is gone"),
        pytest.param({"changed": ["url"], "n": {"x": 1}}, "changed url, n x 1", id="counts"),
    ],
)
def test_the_detail_in_words(detail: dict[str, object], words: str):
    assert acts.in_words(detail) == words


def test_a_document_is_shown_by_what_the_contract_calls_ids_and_codes():
    document = (
        b'{"id": "e1", "users": ["a", 1, {"x": "y"}], "device": {"token": "t", "platform": "ios"}, "odd name": 2.5}'
    )
    assert json.loads(without_texts(document)) == {
        "id": "e1",
        "users": ["a", "(a number)", "(1 values)"],
        "device": {"token": "(1 characters)", "platform": "ios"},
        "(8 characters)": "(a number)",
    }


@pytest.mark.parametrize("document", [b"", b"\xff", b"[" * 100_000], ids=["nothing", "bytes", "a deep list"])
def test_what_is_no_json_is_said(document: bytes):
    assert without_texts(document) == f"(no JSON: {len(document):,} bytes)"
