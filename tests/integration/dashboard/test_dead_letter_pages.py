"""Dead letters on the dashboard: why, what they are about, and nothing that a person wrote."""

import html
import itertools
import json
import re
from typing import Any

import pytest

from producers.events import FIELD, STREAM
from tests.integration.dashboard.conftest import HERE, Site, Visitor
from worker.database import audit
from worker.database.ledger import LARGEST, DeadLetter
from worker.state import redis

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


_fresh = itertools.count()


def now(path: str) -> str:
    """The address of a page that nobody looked at within the last two seconds."""
    return f"{path}{'&' if '?' in path else '?'}fresh={next(_fresh)}"


def ids(visitor: Visitor, query: str = "") -> list[int]:
    page = visitor.get(now(f"/dead-letters{query}"))
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


def acts(site: Site) -> list[tuple[Any, ...]]:
    return [
        (one.act, one.who, one.app, one.detail, one.note) for one in audit.newest(site.runtime.pool, audit.Which(), 50)
    ]


def buttons(site: Site, who: str, path: str) -> dict[str, str]:
    """Words and addresses of the acts of a page."""
    found = re.findall(
        r'<a class="btn" href="([^"]+)">((?:Retry|Drop)[^<]*)…</a>', site.visitor(who).get(now(path)).text
    )
    return {words: html.unescape(address) for address, words in found}


def done(site: Site, who: str, address: str, typed: str = "") -> Any:
    """What comes of the form that the confirming page has."""
    visitor = site.visitor(who)
    page = visitor.get(address).text
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
    return visitor.post(address, data=hidden | {"note": "looked at it", "typed": typed}, headers=HERE)


def entries(site: Site) -> list[bytes]:
    found: Any = site.stores.redis.xrange(STREAM)
    return [fields[FIELD.encode()] for _, fields in found]


def test_who_may_not_act_sees_no_buttons(letters: Site) -> None:
    assert buttons(letters, "vera", "/dead-letters") == {}
    assert list(buttons(letters, "otto", "/dead-letters")) == ["Retry 63"]
    assert list(buttons(letters, "ada", "/dead-letters")) == ["Retry 63", "Drop 63"]
    [newest, *_] = ids(letters.visitor("ada"))
    assert list(buttons(letters, "otto", f"/dead-letters/{newest}")) == ["Retry"]


def test_one_is_published_once_more(letters: Site) -> None:
    [_, whole, *_] = ids(letters.visitor("otto"))
    answer = done(letters, "otto", buttons(letters, "otto", f"/dead-letters/{whole}")["Retry"])
    assert (answer.status_code, 'href="/dead-letters"' in answer.text) == (200, True)
    assert entries(letters)[-1] == json.dumps(DOCUMENT).encode()
    assert acts(letters)[0] == (
        "dead letters retried",
        "otto",
        "chat",
        {"letter": whole, "event": "e62"},
        "looked at it",
    )
    assert letters.visitor("otto").get(f"/dead-letters/{whole}").status_code == 404


def test_one_that_redis_does_not_take_stays_and_is_not_in_the_log(
    letters: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    [newest] = letters.runtime.ledger.dead_letters(1, "")
    before = acts(letters)

    def away(*_: object, **__: object) -> None:
        raise redis.Unavailable[0]

    with monkeypatch.context() as patch:
        patch.setattr(letters.runtime.redis, "xadd", away)
        assert done(letters, "otto", f"/dead-letters/{newest.id}/retry").status_code == 503
    assert letters.runtime.ledger.dead_letter(newest.id) is not None
    assert acts(letters) == before


def test_one_of_which_only_the_beginning_is_kept_is_not_published(letters: Site) -> None:
    [large, *_] = ids(letters.visitor("otto"), "?error=too+large")
    answer = letters.visitor("otto").get(f"/dead-letters/{large}/retry")
    assert answer.status_code == 400 and "Only the beginning" in answer.text


def test_one_is_dropped_by_an_admin_who_types_its_number(letters: Site) -> None:
    [large, *_] = ids(letters.visitor("ada"), "?error=too+large")
    address = buttons(letters, "ada", f"/dead-letters/{large}")["Drop"]
    assert done(letters, "ada", address, "1").status_code == 400
    assert done(letters, "ada", address, str(large)).status_code == 200
    assert acts(letters)[0][:2] == ("dead letters dropped", "ada")
    assert ids(letters.visitor("ada"), "?error=too+large") == []


def test_all_of_a_filter_are_meant_and_no_later_ones(letters: Site) -> None:
    addresses = buttons(letters, "ada", "/dead-letters?app=chat&error=no+provider")
    letters.runtime.ledger.add_dead_letter(DeadLetter("99-0", "chat", "e99", "no provider 'apns'", b"{}"))
    before = len(entries(letters))
    answer = done(letters, "ada", addresses["Retry 60"])
    assert "60 documents are published once more; 0 left" in answer.text
    assert 'href="/dead-letters?app=chat&amp;error=no+provider"' in answer.text
    assert len(entries(letters)) == before + 60
    act, who, app, detail, _ = acts(letters)[0]
    assert (act, who, app, detail["letters"], detail["error"]) == (
        "dead letters retried",
        "ada",
        "chat",
        60,
        "no provider",
    )
    assert letters.visitor("ada").get(addresses["Drop 60"]).status_code == 404, "none of them is there any more"
    assert len(ids(letters.visitor("ada"), "?app=chat")) == 1


def test_all_are_dropped_by_who_types_the_count(letters: Site) -> None:
    address = buttons(letters, "ada", "/dead-letters")["Drop 2"]
    assert done(letters, "ada", address, "3").status_code == 400
    assert "2 dead letters are dropped" in done(letters, "ada", address, "2").text
    assert "There are no dead letters" in letters.visitor("vera").get(now("/dead-letters")).text
    assert acts(letters)[0][3]["letters"] == 2


@pytest.mark.parametrize("upto", ["", "x", "-1", "9" * 30])
def test_a_selection_without_an_end_is_refused(letters: Site, upto: str) -> None:
    assert letters.visitor("ada").get(f"/dead-letters/drop?upto={upto}").status_code == 400
