"""What pages say when an engine is away, a panel fails, or too much is asked for."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from config.settings import load
from producers.partitions import LAYOUT_KEY, Layout, encoded, tags
from tests.integration.dashboard.conftest import DOORS, HASH, USERS, Site
from tests.processes import free_port, wait_until
from worker.dashboard.access import Access, Account
from worker.dashboard.app import make_app
from worker.dashboard.page import Ask, Page, Panel, Values
from worker.dashboard.pages import PAGES
from worker.dashboard.stores import Stores
from worker.embedded import Urls


def fails(_: Ask) -> Values:
    raise RuntimeError("a secret of the code")


def sleeps(ask: Ask) -> Values:
    with ask.stores.pool.connection() as db:
        db.execute("SELECT pg_sleep(3600)")
    return {}


Make = Callable[..., Site]


@pytest.fixture
def make(site: Site) -> Any:
    """A dashboard of the same data whose engines may be away."""
    loop, opened = asyncio.Runner(), []

    def made(*away: str, pages: Any = PAGES) -> Site:
        port = free_port()
        urls = Urls(
            f"redis://127.0.0.1:{port}/0" if "Redis" in away else site.stores.urls.redis,
            f"postgresql://nobody@127.0.0.1:{port}/none" if "Postgres" in away else site.stores.urls.postgres,
        )
        stores = Stores(load({"CARILLON_REDIS_URL": urls.redis, "CARILLON_POSTGRES_URL": urls.postgres}), urls)
        opened.append(stores)
        access = Access({name: Account(role, HASH) for name, role in USERS.items()}, b"a key")  # type: ignore[arg-type]
        return Site(make_app(stores, access, DOORS, pages), access, stores, stores, loop)

    yield made
    loop.close()
    for stores in opened:
        stores.close()


def test_O6_without_postgres_a_panel_says_so_and_since_when(make: Make) -> None:
    answer = make("Postgres").visitor("vera").get("/")
    assert answer.status_code == 200
    assert "This cannot be read: Postgres does not answer since " in answer.text


def test_O6_without_redis_a_panel_says_so_and_it_is_a_condition(make: Make) -> None:
    answer = make("Redis").visitor("vera").get("/")
    assert answer.status_code == 200
    assert "<title>(1) " in answer.text
    assert "Redis" in answer.text


def test_without_both_one_page_says_what_it_means(make: Make) -> None:
    answer = make("Redis", "Postgres").visitor("vera").get("/")
    assert answer.status_code == 503
    assert "Neither Postgres nor Redis answers this dashboard" in answer.text
    assert "carillon doctor" in answer.text


def test_a_panel_that_fails_leaves_the_others(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    [apps] = [page for page in PAGES if page.name == "apps"]
    broken = apps._replace(panels=[*apps.panels, Panel("broken", fails)], path="/apps")
    text = (
        make(pages=[page if page is not apps else broken for page in PAGES])
        .visitor("vera")
        .get("/apps?panel=broken")
        .text
    )
    assert "This could not be worked out (id " in text
    assert "a secret" not in text
    id = text.partition("(id ")[2][:4]
    assert any(getattr(record, "fault", None) == id for record in caplog.records)


def test_what_takes_too_long_is_ended(make: Make) -> None:
    [apps] = [page for page in PAGES if page.name == "apps"]
    slow: Page = apps._replace(panels=[*apps.panels, Panel("slow", sleeps)])
    text = (
        make(pages=[page if page is not apps else slow for page in PAGES]).visitor("vera").get("/apps?panel=slow").text
    )
    assert "That is too much to look through" in text


def test_ten_viewers_cost_what_one_does(make: Make) -> None:
    asked = []

    def counted(ask: Ask) -> Values:
        asked.append(ask)
        time.sleep(0.2)
        return {}

    [apps] = [page for page in PAGES if page.name == "apps"]
    page = apps._replace(panels=[Panel("rows", counted)])
    made = make(pages=[one if one is not apps else page for one in PAGES])
    visitor = made.visitor("vera")

    async def all_at_once() -> None:
        await asyncio.gather(*(visitor.client.get("/apps?panel=rows") for _ in range(10)))

    made.loop.run(all_at_once())
    assert len(asked) == 1


def test_an_unknown_page_has_the_frame(site: Site) -> None:
    answer = site.visitor("vera").get("/nothing")
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert site.visitor("vera").get("/apps?" + "x" * 3_000).status_code == 400


def test_it_reads_the_new_partitions_once_they_were_changed(make: Make) -> None:
    one = make()
    assert one.visitor("vera").get("/").status_code == 200
    assert len(one.stores.partitions) == 1
    one.stores.redis.set(LAYOUT_KEY, encoded(Layout(2, tags(4))))
    try:
        wait_until(lambda: one.visitor("vera").get("/").status_code == 200 and len(one.stores.partitions) == 4)
    finally:
        one.stores.redis.delete(LAYOUT_KEY)
