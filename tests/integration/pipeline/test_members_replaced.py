"""`members.replaced`: a channel's whole list, paged, in the order of the stream."""

from datetime import timedelta
from typing import Any

import pytest

from producers import decode, encode, members_replaced
from producers import events as ev
from tests.integration.pipeline.harness import START, message, stamp, user_of


def replaced(*users: str, at: float = 0.0, **page: Any) -> ev.MembersReplaced:
    return ev.MembersReplaced(**stamp(at), channel=ev.ChannelId(id="general"), users=list(users), **page)


def added(*users: str, at: float = 0.0) -> ev.MemberAdded:
    return ev.MemberAdded(**stamp(at), channel=ev.ChannelId(id="general"), users=list(users))


@pytest.fixture
def present(pipeline):
    """Who is a member when everything was taken."""

    def read() -> list[str]:
        pipeline.take()
        with pipeline.pool.connection() as db:
            rows = db.execute("SELECT user_id FROM carillon.members WHERE channel = 'general' AND present ORDER BY 1")
            return [user for (user,) in rows]

    return read


def test_the_list_is_the_whole_truth(pipeline, present):
    pipeline.publish(added("ann", "bob", "cem"), replaced("bob", "dan", at=1))
    assert present() == ["bob", "dan"]
    pipeline.publish(replaced(at=2))
    assert present() == []
    pipeline.publish(message())
    assert pipeline.run() == []
    assert pipeline.account("e1")["page:0"]["considered"] == 0, "the channel is known, and empty"


def test_a_page_says_nothing_of_others(pipeline, present):
    pipeline.publish(added("ann", "bob", "cem", "dan", "eve"), replaced("bill", at=1, after="ann", through="cem"))
    assert present() == ["ann", "bill", "dan", "eve"]


def test_in_one_stretch_the_order_of_the_stream_counts(pipeline, present):
    pipeline.publish(replaced("ann"), added("bob", at=1), replaced("cem", at=2), added("dan", at=3))
    assert present() == ["cem", "dan"]


def test_a_newer_write_wins_over_the_list(pipeline, present):
    pipeline.publish(added("ann", at=5), replaced("bob", at=1))
    assert present() == ["ann", "bob"]


def test_a_message_sees_the_list_at_its_place(pipeline):
    pipeline.member("general", "leia", "han", "eve")
    pipeline.publish(message(id="e1"), replaced("leia", "eve", at=1), message(id="e2"))
    assert sorted(user_of(n) for n in pipeline.run()) == ["eve", "eve", "han"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_pages_of_a_list_are_the_list_in_any_order_and_repeated(pipeline, present, size):
    users = ["ann", "bob", "cem", "dan", "é", "中", "👩", "\uffee"]
    pipeline.publish(added("aaa", "bzz", "zzz", "ü", "\U0010ffff"))
    pages = [*members_replaced("demo", "general", users, id="sync", at=START + timedelta(seconds=1), page=size)]
    assert len({page.id for page in pages}) == len(pages)
    pipeline.publish(*(decode(encode(page)) for page in (*reversed(pages), *pages)))
    assert sorted(present()) == sorted(users)


def test_an_empty_list_is_one_page():
    [page] = members_replaced("demo", "general", [], id="sync", at=START)
    assert (page.users, page.after, page.through) == ([], None, None)


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ({"users": ["b"], "after": "b"}, r"users\[0\]: not between"),
        ({"users": ["b", "d"], "through": "c"}, r"users\[1\]: not between"),
        ({"users": [], "after": "b", "through": "b"}, "through: has to stand behind after"),
    ],
)
def test_a_page_that_contradicts_itself_is_refused(page, error):
    with pytest.raises(ValueError, match=error):
        encode(ev.MembersReplaced(**stamp(), channel=ev.ChannelId(id="c"), **page))


def test_a_page_that_covers_too_many_is_dead_lettered_with_what_to_do(pipeline, present, monkeypatch):
    monkeypatch.setattr("worker.facts.members._COVERED", 2)
    pipeline.publish(added("ann", "bob", "cem"))
    assert present() == ["ann", "bob", "cem"]
    pipeline.publish(replaced("dan", at=1), added("eve", at=2))
    assert present() == ["ann", "bob", "cem", "eve"]
    [letter] = pipeline.ledger.dead_letters(limit=10)
    assert "send smaller pages" in letter.letter.error
