"""Dead letters on the dashboard: why, what they are about, and nothing that a person wrote."""

import json
import re

import pytest

from tests.integration.dashboard.conftest import Site, Visitor
from worker.database.ledger import LARGEST, DeadLetter

TEXT = "a planted text"
TOKEN = "0f74" * 16
DOCUMENT = {
    "v": 1,
    "type": "message.new",
    "id": "e7",
    "app": "chat",
    "channel": {"id": "general", "name": TEXT},
    "message": {"id": "m7", "text": TEXT, "data": {TEXT: TEXT}, "mentioned": ["han"]},
    "sender": {"id": TOKEN, "name": TEXT},
    "device": {"token": TOKEN, "platform": "ios", "subscription": {"endpoint": TEXT, "keys": {"auth": TEXT}}},
    TEXT: [1],
}


@pytest.fixture(scope="module")
def letters(site: Site) -> Site:
    ledger = site.runtime.ledger
    for n in range(60):
        ledger.add_dead_letter(DeadLetter(f"{n}-0", "chat", f"e{n}", "no provider 'apns'", b"{}"))
    ledger.add_dead_letter(DeadLetter("61-0", None, None, "is not JSON", b"\xff not JSON " + TEXT.encode()))
    ledger.add_dead_letter(DeadLetter("62-0", "chat", "e62", "message.text: too long", json.dumps(DOCUMENT).encode()))
    ledger.add_dead_letter(DeadLetter("63-0", "chat", "e63", "too large", b"{" + TEXT.encode(), LARGEST + 1))
    return site


def ids(visitor: Visitor, query: str = "") -> list[int]:
    page = visitor.get(f"/dead-letters{query}")
    assert page.status_code == 200
    return [int(id) for id in re.findall(r">Look at (\d+)<", page.text)]


def test_the_newest_are_listed_by_pages_and_by_filters(letters: Site) -> None:
    viewer = letters.visitor("vera")
    newest = ids(viewer)
    assert len(newest) == 50 and newest == sorted(newest, reverse=True)
    [older] = re.findall(r'href="(/dead-letters\?[^"]+)" rel="next"', viewer.get("/dead-letters").text)
    assert len(ids(viewer, older.removeprefix("/dead-letters"))) == 13
    assert len(ids(viewer, "?app=-")) == 1
    assert len(ids(viewer, "?app=chat&error=too")) == 2
    assert "63 in all" in viewer.get("/dead-letters").text
    assert "2 in all" in viewer.get("/dead-letters?error=too").text
    assert "Remove the filters" in viewer.get("/dead-letters?app=none").text


def test_one_is_shown_without_what_a_person_wrote_and_without_a_token(letters: Site) -> None:
    viewer = letters.visitor("vera")
    large, whole, bytes_ = ids(viewer)[:3]
    page = viewer.get(f"/dead-letters/{whole}").text
    for said in ("general", "m7", "e7", "han", "ios", "(14 characters)", "(64 characters)", "message.text: too long"):
        assert said in page, said
    assert "only its beginning is kept" in viewer.get(f"/dead-letters/{large}").text
    assert "no JSON" in viewer.get(f"/dead-letters/{bytes_}").text
    for id in (large, whole, bytes_):
        assert TOKEN not in viewer.get(f"/dead-letters/{id}").text
        assert f'"{TEXT}"' not in viewer.get(f"/dead-letters/{id}").text


def test_one_that_is_gone_says_what_may_have_become_of_it(letters: Site) -> None:
    answer = letters.visitor("vera").get("/dead-letters/999999999")
    assert answer.status_code == 404 and "There is no dead letter 999999999" in answer.text
