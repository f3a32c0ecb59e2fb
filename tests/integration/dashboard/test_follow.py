"""The followed push log: rows as events, for a bounded number of tabs, rows and time."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tests.integration.dashboard.conftest import DOORS, Site, Visitor
from tests.integration.pipeline.harness import Pipeline
from worker.core.ledger_entry import account
from worker.dashboard import follow
from worker.dashboard.app import make_app
from worker.database.push_log import Place
from worker.reports import push_log
from worker.reports.push_log import Filter, Following

HOSTILE = '"><svg onload=alert(1)>'


@pytest.fixture(scope="module")
def pipeline(site: Site) -> Iterator[Pipeline]:
    made = Pipeline(site.runtime.urls.postgres, site.runtime.urls.redis)
    yield made
    made.close()


@pytest.fixture
def reader(site: Site, monkeypatch: pytest.MonkeyPatch) -> Visitor:
    """Who follows for a moment: the stream ends after its first second."""
    monkeypatch.setattr(follow, "LASTS", 0.01)
    return site.visitor("vera")


def now(site: Site) -> str:
    return push_log.text_of(Following(site.stores.pool, Filter(0.0)).now())


def write(pipeline: Pipeline, event: str, *users: str, app: str = "demo") -> None:
    content = {"accepted": [[user, n] for n, user in enumerate(users, 1)]}
    moment = int(time.time() * 1_000)
    pipeline.redis.rpush("carillon:accounts", account(app, event, "batch:1", content, moment, pipeline.provider.id, 7))
    while pipeline.ledger.flush(pipeline.journal):
        pass


def events(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """The id and the data of each."""
    assert answer.status_code == 200, answer.text
    fields = [dict(line.split(": ", 1) for line in part.splitlines()) for part in answer.text.strip().split("\n\n")]
    return [(of["id"], json.loads(of["data"])) for of in fields if "data" in of]


def test_rows_come_with_the_place_from_which_to_go_on(site: Site, pipeline: Pipeline, reader: Visitor) -> None:
    begin = now(site)
    write(pipeline, "f1", "han", HOSTILE)
    [(place, data)] = events(reader.get("/log/follow", params={"after": begin}))
    assert data["rows"].count("<tr>") == 2 and "event=f1" in data["rows"] and "7 ms" in data["rows"]
    assert "<svg onload" not in data["rows"] and data["more"] == ""
    write(pipeline, "f2", "luke")
    [(_, data)] = events(reader.get("/log/follow", params={"after": begin}, headers={"Last-Event-ID": place}))
    assert data["rows"].count("<tr>") == 1 and "event=f2" in data["rows"]
    assert events(reader.get("/log/follow")) == [], "without a place it begins now"


def test_only_what_is_chosen_comes(site: Site, pipeline: Pipeline, reader: Visitor) -> None:
    begin = now(site)
    write(pipeline, "f3", "han", "luke")
    [(_, data)] = events(reader.get("/log/follow", params={"after": begin, "user": "luke", "app": "demo"}))
    assert data["rows"].count("<tr>") == 1 and ">luke<" in data["rows"]
    assert events(reader.get("/log/follow", params={"after": begin, "user": "leia"})) == []


def test_of_many_rows_the_newest_are_shown_and_the_others_counted(
    site: Site, pipeline: Pipeline, reader: Visitor
) -> None:
    begin = now(site)
    write(pipeline, "many", *(f"u{n}" for n in range(1_224)))
    [(_, data)] = events(reader.get("/log/follow", params={"after": begin}))
    assert data["rows"].count("<tr>") == 20
    assert data["rows"].index(">u1223<") < data["rows"].index(">u1204<")
    assert data["more"] == "+ 1,204 more a second"


def test_who_is_too_far_behind_goes_on_from_now(
    site: Site, pipeline: Pipeline, reader: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = now(site)
    write(pipeline, "behind", "han")
    monkeypatch.setattr(follow, "_READS", 1)
    [(place, data)] = events(reader.get("/log/follow", params={"after": begin}))
    assert data["more"] == "Some are left out"
    assert push_log.place_of(place).event == ""
    assert events(reader.get("/log/follow", params={"after": place})) == []


def test_there_are_so_many_streams_and_no_more(site: Site, reader: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert follow.MOST == 20
    monkeypatch.setattr(follow, "MOST", 2)

    refused_one = threading.Event()

    def second(_: Following, place: Place | None) -> follow._Second:
        assert refused_one.wait(60)
        return follow._Second([], 0, False, place or push_log.place_of(begin))

    async def ask() -> httpx.Response:
        answer = await reader.client.get("/log/follow")
        refused_one.set()
        return answer

    async def three() -> list[httpx.Response]:
        return list(await asyncio.gather(ask(), ask(), ask()))

    begin = now(site)
    monkeypatch.setattr(follow, "_second", second)
    answers = site.loop.run(three())
    assert sorted(one.status_code for one in answers) == [200, 200, 503]
    [refused] = [one for one in answers if one.status_code == 503]
    assert refused.headers["Retry-After"] == "60"
    assert reader.get("/log/follow").status_code == 200, "those that ended have left"


def test_one_thread_reads_for_all(site: Site, reader: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, most = 0, 0

    def second(_: Following, place: Place | None) -> follow._Second:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        time.sleep(0.05)
        reading -= 1
        return follow._Second([], 0, False, place or push_log.place_of(begin))

    begin = now(site)
    monkeypatch.setattr(follow, "_second", second)

    async def four() -> list[httpx.Response]:
        return await asyncio.gather(*(reader.client.get("/log/follow") for _ in range(4)))

    assert [one.status_code for one in site.loop.run(four())] == [200] * 4
    assert most == 1


def test_a_quiet_stream_says_something(reader: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert follow.QUIET == 15
    monkeypatch.setattr(follow, "QUIET", 0.0)
    assert ":\n\n" in reader.get("/log/follow").text


def test_streams_end_with_the_process(site: Site) -> None:
    assert follow.LASTS == 600
    leaving = replace(site, app=make_app(site.stores, site.access, DOORS, leaving=lambda: True))
    assert events(leaving.visitor("vera").get("/log/follow")) == []


def test_a_stream_passes_proxies_as_it_comes_and_is_behind_the_gate(site: Site, reader: Visitor) -> None:
    headers = reader.get("/log/follow", headers={"Accept-Encoding": "gzip"}).headers
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["x-accel-buffering"], headers["cache-control"]) == ("no", "no-store")
    assert "content-encoding" not in headers
    assert "connect-src 'self'" in headers["content-security-policy"]
    assert site.visitor().get("/log/follow").status_code == 302
    for wrong in ({"after": "nonsense"}, {"from": "yesterday"}):
        assert reader.get("/log/follow", params=wrong).status_code == 400


def test_the_list_offers_to_follow_from_its_newest_row(site: Site, pipeline: Pipeline, reader: Visitor) -> None:
    listed = reader.get("/log", params={"app": "demo"}).text
    assert 'href="/log?app=demo&amp;follow=1"' in listed and "data-follow" not in listed
    assert 'data-follow="/log/follow?app=demo&amp;follow=1&amp;after=' in reader.get("/log?app=demo&follow=1").text
    # What has ended cannot be followed.
    ended = reader.get("/log", params={"app": "demo", "follow": "1", "to": "2026-01-02T00:00"}).text
    assert "data-follow" not in ended and ">Follow<" not in ended
