"""Overview, providers and apps: what they show of a system that pushes, of one with a fault, and of an empty one."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from tests.integration.dashboard.conftest import Site, Visitor
from worker.core.history import Sample
from worker.core.model import AppSettings, Provider
from worker.core.tally import bucket_name
from worker.dashboard import app
from worker.database import history
from worker.database.registry import StoredTemplate
from worker.providers.webhook.settings import WebhookSettings
from worker.state import keys

#: Half a sample after the last one's end, all the time.
NOW = int(time.time()) // 30 * 30 + 15
PAGES = ["/", "/providers", "/apps", "/apps/chat", "/apps/chat/providers/hooks"]
ANSWERED = {bucket_name("answer_seconds", "urgent", 8): 90.0, bucket_name("accept_seconds", "urgent", 6): 90.0}


@pytest.fixture(scope="module", autouse=True)
def _clock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "time", SimpleNamespace(time=lambda: NOW, strftime=time.strftime, gmtime=time.gmtime))
        yield


@pytest.fixture(scope="module")
def reader(site: Site) -> Visitor:
    return site.visitor("vera")


@pytest.fixture(scope="module")
def hooks(site: Site) -> Provider:
    """App chat with a webhook, and 20 minutes of history."""
    registry = site.runtime.registry
    registry.create_app(AppSettings("chat", max_age=600))
    settings = WebhookSettings("https://hooks.example.org/push", ("whsec_" + "c2VjcmV0" * 4,))
    made = registry.save_provider(Provider(0, "chat", "hooks", "production", settings))
    registry.save_template(StoredTemplate(made.id, "reply", "fr", '{"aps": {"alert": "{{ sender.name }} a répondu"}}'))
    site.runtime.redis.xadd(keys.EVENTS(), {"e": "{}"})
    now = NOW - 15
    with site.runtime.pool.connection() as db:
        for n in range(40, 0, -1):
            at = now - 30 * n
            counts = {"accepted": 90.0, "dropped.expired": 3.0, **ANSWERED}
            app = {"considered": 200.0, "skipped.online": 110.0}
            peaks = {
                "waiting.held": 40.0 - n,
                "answer.p50": 0.02,
                "answer.p95": 0.1,
                "answer.p99": 0.3,
                "release.1.0": 1.0,
            }
            rows = [
                Sample(30, at, "", 0, 30, {**counts, **app}, peaks),
                Sample(30, at, "chat", 0, 30, app, {}),
                Sample(30, at, "chat", made.id, 30, counts, peaks),
            ]
            history._write(db, rows)
    return made


def look(site: Site) -> None:
    """As a tick does."""
    site.runtime.redis.delete(keys.CONDITIONS_LOOKED())
    site.runtime.watch.look()


def text(html: str) -> str:
    """What a page says, without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@contextmanager
def counted() -> Iterator[list[tuple[bytes, Any]]]:
    """The statements that are run meanwhile, with what they are given."""
    seen: list[tuple[bytes, Any]] = []
    execute = psycopg.Connection.execute

    def counting(self: Any, query: Any, params: Any = None, **options: Any) -> Any:
        seen.append((query if isinstance(query, bytes) else str(query).encode(), params))
        return execute(self, query, params, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", counting)
        yield seen


def test_an_empty_system_says_how_to_begin(site: Site, reader: Visitor) -> None:
    look(site)
    page = reader.get("/")
    assert page.status_code == 200
    assert "carillon app create chat" in page.text
    assert "There is no app yet" in reader.get("/apps").text
    assert "carillon push apn" in reader.get("/providers").text


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("wanted", ["1h", "7d"])
def test_pages_show_what_was_pushed(reader: Visitor, hooks: Provider, path: str, wanted: str) -> None:
    page = reader.get(f"{path}?range={wanted}")
    assert page.status_code == 200
    assert "could not be worked out" not in page.text
    assert len(page.content) < 60_000
    assert not re.search(r"<[^>]* (style|on\w+)=", page.text)


def test_the_overview_has_charts_providers_and_reasons(reader: Visitor, hooks: Provider) -> None:
    page = reader.get("/?range=1h")
    said = text(page.text)
    assert page.text.count('role="img"') >= 4
    assert "3.0 accepted a second" in said
    assert "hooks Webhook chat" in said
    assert "Accepted accepted 3,600" in said
    assert "Given up: too old by then dropped.expired 120" in said
    assert "Online at that moment online 4,400" in said
    assert "8,000 candidates" in said


def test_a_provider_has_its_answers_settings_and_devices(reader: Visitor, hooks: Provider) -> None:
    said = text(reader.get("/apps/chat/providers/hooks").text)
    assert "20 ms median 300 ms p99" in said
    assert "hooks.example.org" in said
    assert "Breaker closed" in said
    assert "Nothing was wrong with it in 30 days" in said
    assert reader.get("/apps/chat/providers/none").status_code == 404


def test_an_app_has_its_settings_with_defaults_and_its_templates_as_text(reader: Visitor, hooks: Provider) -> None:
    said = text(reader.get("/apps/chat").text)
    assert "Max age 600 seconds 3,600 seconds" in said
    assert "Remind triggers direct, mention, reply direct, mention, reply" in said
    assert "Leia Organa a répondu" in said
    assert reader.get("/apps/none").status_code == 404


def test_a_paused_provider_is_named_everywhere(site: Site, reader: Visitor, hooks: Provider) -> None:
    site.runtime.partitions[0].breaker.stop(hooks.id, "receiver moves", time.time(), manual=True)
    look(site)
    try:
        for path in PAGES:
            assert "paused" in reader.get(f"{path}?again=1").text, path
    finally:
        site.runtime.partitions[0].breaker.resume(hooks.id, by_hand=True)
        look(site)


#: Tables with a row for each of something that there are many of.
LARGE = ("history", "devices", "ledger", "messages", "incidents", "dead_letters", "members")
#: What each page asks of Postgres, however many apps there are.
STATEMENTS = {"/": 10, "/providers": 3, "/apps": 4, "/apps/app-7": 12, "/apps/app-7/providers/hooks": 11}


@pytest.fixture(scope="module")
def thousand(site: Site, hooks: Provider) -> None:
    """1,000 apps with a provider each, and samples of the 200 busiest for half an hour."""
    now = NOW - 15
    with site.runtime.pool.connection() as db:
        db.execute("INSERT INTO carillon.apps (name) SELECT 'app-' || n FROM generate_series(1, 1000) AS n")
        db.execute(
            "INSERT INTO carillon.providers"
            " (app, name, environment, kind, topic, team_id, key_id, host, port, settings, credential)"
            " SELECT 'app-' || n, 'hooks', 'production', 'webhook', '', '', '', '', 0, '{}', ''"
            " FROM generate_series(1, 1000) AS n"
        )
        db.execute(
            "INSERT INTO carillon.history SELECT 30, at, p.app, k.provider, 30, '{\"accepted\": 30}', '{}'"
            " FROM generate_series(%s::bigint, %s::bigint, 30) AS at,"
            " (SELECT app, id FROM carillon.providers WHERE app LIKE 'app-%%' ORDER BY id LIMIT 200) AS p,"
            " LATERAL (VALUES (0), (p.id)) AS k (provider)",
            (now - 1_800, now - 30),
        )
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
            " SELECT 'app-' || n % 1000, md5(n::text), 'user-' || n, n, 0, true FROM generate_series(1, 5000) AS n"
        )
        db.execute(
            "INSERT INTO carillon.incidents (name, severity, what, began, ended)"
            " SELECT 'backlog_old', 'warning', '', now() - interval '9 days', now() - interval '9 days' + n * interval '1 s'"
            " FROM generate_series(1, 5000) AS n"
        )
        db.execute("ANALYZE")


@pytest.mark.parametrize("path", STATEMENTS)
def test_a_page_asks_for_little_and_by_an_index_however_many_apps_there_are(
    site: Site, reader: Visitor, thousand: None, path: str
) -> None:
    with counted() as seen:
        page = reader.get(f"{path}?range=6h&counted=1")
    assert "could not be worked out" not in page.text
    asked = [(query, params) for query, params in seen if b"carillon." in query]
    assert len(asked) <= STATEMENTS[path], [query[:120] for query, _ in asked]
    with site.runtime.pool.connection() as db:
        for query, params in asked:
            plan = "\n".join(row for (row,) in db.execute(b"EXPLAIN " + query, params).fetchall())
            scanned = re.findall(r"Seq Scan on (\w+)", plan)
            assert not [table for table in scanned if table.startswith(LARGE)], plan
