"""The dashboard as its own role of Postgres and its own user of Valkey: every page comes, every act works, no secret is read."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest
import redis
from starlette.routing import compile_path

from config.settings import load
from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, encoded, tags
from tests.databases import create, drop, named
from tests.integration.dashboard.conftest import DOORS, HASH, USERS, Site, done
from tests.integration.pipeline.harness import START, Pipeline, message
from tests.integration.security.acl import denied, make, may, url_of
from tests.processes import PATIENCE
from tests.system.dashboard.world import TEXT, crawl, happen
from tests.valkey import Valkey
from worker.dashboard import app as dashboard
from worker.dashboard.access import Access, Account
from worker.dashboard.acts import ACTS
from worker.dashboard.app import make_app
from worker.dashboard.pages import PAGES
from worker.dashboard.stores import Stores
from worker.database.dashboard_role import ROLE
from worker.database.ledger import DeadLetter, add_dead_letters
from worker.database.migrate import migrate
from worker.embedded import Urls
from worker.metrics.shared import Target, addresses
from worker.reports import watch
from worker.state.repartition import streams_of

ROLES = Path(__file__).parents[3] / "deploy" / "roles.sh"
WORKER = "carillon_worker"


def as_role(url: str, role: str) -> str:
    return url.replace("carillon@", f"{role}@")


@pytest.fixture(scope="module", params=[1, 4], ids=lambda n: f"{n} partitions")
def layout(request: pytest.FixtureRequest) -> Layout:
    return UNTAGGED if request.param == 1 else Layout(2, tags(request.param))


@pytest.fixture(scope="module")
def postgres(engine_urls: Urls, layout: Layout) -> Iterator[str]:
    """A database with the roles of deploy/roles.sh, migrated by the role that is for it."""
    url = create(engine_urls.postgres, "template0")
    script = ROLES.read_text().split("<<'SQL'\n")[1].removesuffix("SQL\n")
    script = re.sub(r"PASSWORD :'\w+'", "", script).replace("DATABASE carillon", f"DATABASE {urlsplit(url).path[1:]}")
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(script.encode())
    try:
        assert migrate(as_role(url, "carillon_migrator"))
        yield url
    finally:
        drop(url)
        with psycopg.connect(named(engine_urls.postgres, "postgres"), autocommit=True) as db:
            for role in re.findall(r"CREATE ROLE (\w+)", script):
                db.execute(f"DROP ROLE {role}".encode())


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> Iterator[Any]:
    """Of a server that has the dashboard's user."""
    made = Valkey(tmp_path_factory.mktemp("valkey"))
    made.start()
    with redis.Redis.from_url(made.url) as client:
        make(client, "carillon-dashboard")
        if layout.tags:
            client.set(LAYOUT_KEY, encoded(layout))
        client.url = made.url
        yield client
    made.stop()


@pytest.fixture(scope="module")
def site(postgres: str, admin: Any, layout: Layout) -> Iterator[Site]:
    """Its `runtime` is a worker's."""
    given = {
        "REDIS_URL": url_of(admin.url, "carillon-dashboard"),
        "POSTGRES_URL": as_role(postgres, ROLE),
        "DASHBOARD_ACTS_URL": as_role(postgres, WORKER),
    }
    settings = load({f"CARILLON_{name}": value for name, value in given.items()})
    worker = Urls(admin.url, as_role(postgres, WORKER))
    stores, beside = Stores(settings, Urls(given["REDIS_URL"], given["POSTGRES_URL"])), Stores(settings, worker)
    pipeline = Pipeline(worker.postgres, worker.redis, layout=layout)
    happen(pipeline, beside)
    wait(pipeline)
    admin.execute_command("ACL", "LOG", "RESET")
    access = Access({name: Account(role, HASH) for name, role in USERS.items()}, b"a key")  # type: ignore[arg-type]
    with asyncio.Runner() as loop:
        yield Site(make_app(stores, access, DOORS), access, stores, beside.acting, loop)
    for each in (stores, beside, pipeline):
        each.close()


def wait(pipeline: Pipeline) -> None:
    """Something waits for a stopped provider, and something to be taken."""
    [apns] = [one for one in pipeline.registry.providers().values() if one.name == "apns"]
    pipeline.breaker.stop(apns.id, "silent", time.time())
    for id in ("held", "unread"):
        pipeline.publish(message("general", id=id, seconds=time.time() - START.timestamp(), text=TEXT))
        if id == "held":
            pipeline.run()


def test_every_page_comes(
    site: Site, admin: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "PATIENCE", PATIENCE)  # how long a panel takes is not what this is about
    visitor = site.visitor("ada")
    found, answers = crawl(visitor.get)
    answers += [visitor.get(f"/why?app=demo&event={event}").text for event in ("held", "unread", "never")]
    assert [page.path for page in PAGES if not found[page.path]] == []
    assert [one for one in answers if 'class="panel fault"' in one] == []
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert denied(admin) == []


def typed(site: Site, path: str) -> int:
    """The status of the form, with what it wants to be typed."""
    asked = re.search(r"Type (\w+) to confirm", site.visitor("ada").get(path).text)
    return done(site, path, "ada", typed=asked[1] if asked else "").status_code


def test_each_act_works(site: Site, admin: Any, layout: Layout) -> None:
    with site.runtime.pool.connection() as db:
        add_dead_letters(db, [DeadLetter(f"{n}-0", "demo", f"l{n}", "an error", b"{}") for n in range(3)])
        letters = [id for (id,) in db.execute("SELECT id FROM carillon.dead_letters ORDER BY id").fetchall()]
        [(device,)] = db.execute("SELECT id FROM carillon.devices WHERE NOT active LIMIT 1").fetchall()
    [key, *_] = [one.key for one in watch.current(site.stores.fleet).conditions]
    apns, streams = "/apps/demo/providers/apns", streams_of(layout, ())
    published = sum(map(admin.xlen, streams))
    paths = [
        *(f"{apns}/probe", f"{apns}/pause", f"{apns}/resume", "/apps/demo/pause", "/apps/demo/resume"),
        *("/pause", "/resume", f"/conditions/take?{urlencode({'key': key})}"),
        *(f"/apps/demo/devices/{device}/restore", "/apps/demo/test?user=han"),
        *(f"/dead-letters/{letters[0]}/retry", f"/dead-letters/{letters[1]}/drop"),
        *(f"/dead-letters/retry?upto={letters[2]}", f"/dead-letters/drop?upto={letters[3]}"),
    ]
    tried = {act.name for act in ACTS for path in paths if compile_path(act.path)[0].match(urlsplit(path).path)}
    assert tried == {act.name for act in ACTS}
    assert {path: typed(site, path) for path in paths} == dict.fromkeys(paths, 200)
    assert sum(map(admin.xlen, streams)) == published + 3, "a test push and two letters"
    assert denied(admin) == []


def test_without_the_role_for_acts_there_is_no_button_for_what_changes_rows(site: Site) -> None:
    settings = site.stores.settings.model_copy(update={"dashboard_acts_url": None})
    stores = Stores(settings, site.stores.urls)
    with site.runtime.pool.connection() as db:
        add_dead_letters(db, [DeadLetter("9-0", "demo", "l9", "an error", b"{}")])
        [(letter,)] = db.execute("SELECT max(id) FROM carillon.dead_letters").fetchall()
    alone = Site(make_app(stores, site.access, DOORS), site.access, stores, site.runtime, site.loop)
    try:
        visitor = alone.visitor("ada")
        for path in ("/dead-letters", f"/dead-letters/{letter}", "/apps/demo/user?user=lando&ended=1"):
            page = visitor.get(path)
            assert page.status_code == 200
            assert not re.search("Retry|Drop|Restore", page.text)
        assert "This dashboard may not read it" in visitor.get(f"/dead-letters/{letter}").text
        refused = visitor.get(f"/dead-letters/{letter}/drop")
        assert (refused.status_code, "may not do this" in refused.text) == (503, True)
        assert done(alone, "/apps/demo/providers/apns/pause", "ada").status_code == 200
        assert done(alone, "/apps/demo/providers/apns/resume", "ada").status_code == 200
    finally:
        stores.close()


def test_its_process_exports_the_shared_state(site: Site, admin: Any) -> None:
    target = Target(addresses(site.stores.settings, site.stores.urls), apps=20)
    try:
        answer = target.pages()["/metrics"]()
    finally:
        target.close()
    parts = re.findall(r'^carillon_\w*part_up\{part="(\w+)"\} (\S+)', answer.body.decode(), re.MULTILINE)
    assert parts and {up for _, up in parts} == {"1.0"}
    assert denied(admin) == []


@pytest.mark.parametrize(
    "statement",
    [
        *(
            "SELECT token FROM carillon.devices",
            "SELECT long_token FROM carillon.devices",
            "SELECT * FROM carillon.devices",
        ),
        *("SELECT secret FROM carillon.devices", "SELECT attributes FROM carillon.devices"),
        *("SELECT credential FROM carillon.providers", "SELECT password FROM carillon.providers"),
        *("SELECT document FROM carillon.dead_letters", "SELECT event FROM carillon.outbox"),
        *(
            "DELETE FROM carillon.dead_letters",
            "UPDATE carillon.devices SET active = true",
            "DELETE FROM carillon.audit",
        ),
        *("UPDATE carillon.apps SET push_enabled = false", "INSERT INTO carillon.apps (name) VALUES ('x')"),
        "CREATE TABLE carillon.x (x int)",
    ],
)
def test_the_role_reads_no_secret_and_changes_nothing(postgres: str, statement: str) -> None:
    with (
        psycopg.connect(as_role(postgres, ROLE)) as db,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"),
    ):
        db.execute(statement.encode())


def test_a_later_migration_takes_back_what_is_no_longer_its(postgres: str) -> None:
    with psycopg.connect(as_role(postgres, "carillon_migrator"), autocommit=True) as db:
        db.execute(f"GRANT SELECT (token), UPDATE ON carillon.devices TO {ROLE}".encode())
        migrate(as_role(postgres, "carillon_migrator"))
    with psycopg.connect(as_role(postgres, ROLE)) as db:
        assert db.execute("SELECT count(user_id) FROM carillon.devices").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SELECT token FROM carillon.devices")


@pytest.mark.parametrize(
    "command",
    [
        *(("GET", "carillon:jwt:x"), ("DEL", "carillon:events"), ("XTRIM", "carillon:events", "MAXLEN", "0")),
        *(
            ("DEL", "carillon:batch:x"),
            ("HSET", "carillon:batch:x", "a", "b"),
            ("LRANGE", "carillon:carillon.urgent", "0", "1"),
        ),
        *(
            ("LPUSH", "carillon:carillon.urgent", "x"),
            ("SET", "carillon:leader", "x"),
            ("XADD", "carillon:events:demo", "*", "a", "b"),
        ),
        *(("DEL", "carillon:workers"), ("GET", "carillon:online:demo:han"), ("HGETALL", "carillon:recent:demo:x")),
        *(("KEYS", "*"), ("SCAN", "0"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("SCRIPT", "FLUSH"), ("MONITOR",)),
        *(("PUBLISH", "x", "y"), ("EVAL", "return redis.call('GET', 'carillon:jwt:x')", "0"), ("GET", "other")),
        *(("GET", "carillon:{fleet}:jwt:x"), ("DEL", "carillon:{fleet}:workers"), ("SET", "carillon:layout", "x")),
        *(("HSET", "carillon:{p0g2.3}:batch:x", "a", "b"), ("XADD", "carillon:{p0g2.3}:open", "*", "a", "b")),
    ],
    ids=lambda command: " ".join(command)[:60],
)
def test_the_user_can_do_nothing_else(admin: Any, command: tuple[str, ...]) -> None:
    with redis.Redis.from_url(url_of(admin.url, "carillon-dashboard")) as client:
        assert not may(client, *command)
