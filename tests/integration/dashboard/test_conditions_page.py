"""The page of conditions: what is open as the watch has it, what ended, and everything that is watched."""

import html
import re
import time
from collections.abc import Callable

import pytest

from tests.integration.dashboard.conftest import Site, Visitor
from worker.core.model import AppSettings, Provider
from worker.database import postgres
from worker.providers.webhook.settings import WebhookSettings
from worker.reports import watch
from worker.reports.conditions import OVER
from worker.state import keys

HOSTILE = '"><svg onload=alert(1)>'


@pytest.fixture(scope="module")
def reader(site: Site) -> Visitor:
    return site.visitor("vera")


@pytest.fixture(scope="module")
def hooks(site: Site) -> Provider:
    site.runtime.registry.create_app(AppSettings("tutor"))
    settings = WebhookSettings("https://hooks.example.org/push", ("whsec_" + "c2VjcmV0" * 4,))
    return site.runtime.registry.save_provider(Provider(0, "tutor", "hooks", "production", settings))


def look(site: Site, *, later: float = 0.0) -> None:
    site.runtime.redis.delete(keys.CONDITIONS_LOOKED())
    watch.Watch(site.runtime.keyspace, site.runtime.pool, now=lambda: time.time() + later).look()


def said(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def test_a_condition_is_a_card_with_what_to_do_until_it_is_a_row_of_what_ended(
    site: Site, reader: Visitor, hooks: Provider
) -> None:
    site.runtime.redis.set(keys.BEAT(), 1)
    site.runtime.partitions[0].breaker.stop(hooks.id, HOSTILE, time.time() - 60, manual=True)
    look(site)
    [one] = watch.current(site.runtime.fleet).conditions
    page = reader.get("/conditions")
    assert page.status_code == 200 and HOSTILE not in page.text
    shown = said(page.text)
    assert "1 condition is open" in shown and "Warning since" in shown
    assert one.do.capitalize() in shown, "the very sentence"
    assert "carillon provider resume hooks --app tutor" in shown
    assert "Everything that is watched" in shown and "1 of 1 is stopped" in shown

    site.runtime.partitions[0].breaker.resume(hooks.id, by_hand=True)
    look(site, later=OVER + 1)
    shown = said(reader.get("/conditions?later=1").text)
    assert "Nothing is wrong" in shown and "Nothing needs somebody" in shown
    assert "Ended in the last 24 hours 1" in shown and "tutor / hooks" in shown


def test_while_postgres_is_away_what_is_open_is_shown_all_the_same(
    site: Site, reader: Visitor, hooks: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.runtime.partitions[0].breaker.stop(hooks.id, "silent", time.time() - 60)
    look(site)

    def away(*_: object, **__: object) -> Callable[[], None]:
        raise postgres.Unavailable("no route to host")

    monkeypatch.setattr(site.stores.pool, "connection", away)
    shown = said(reader.get("/conditions?later=2").text)
    assert "1 condition is open" in shown and "Critical since" in shown
    assert "does not answer (silent)" in shown
    site.runtime.partitions[0].breaker.resume(hooks.id)


def test_a_page_that_nobody_keeps_up_to_date_says_so(site: Site, reader: Visitor) -> None:
    site.runtime.redis.delete(keys.LOOK(), keys.CONDITIONS())
    shown = said(reader.get("/conditions?later=3").text)
    assert "1 condition is open" in shown and "No process looks for conditions" in shown
