"""A dashboard over a small world in which everything has happened, with hostile names, and secrets that no page may show."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import uvicorn

from config.settings import load
from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from tests.processes import PATIENCE
from worker.core.model import Answer, AppSettings
from worker.dashboard.access import Access, Account
from worker.dashboard.acts import ACTS
from worker.dashboard.app import make_app
from worker.dashboard.gate import Doors
from worker.dashboard.page import Page
from worker.dashboard.pages import PAGES
from worker.dashboard.stores import Stores
from worker.embedded import Urls
from worker.process.by_hand import by_hand
from worker.reports.acts import By
from worker.reports.watch import Watch

#: Ids and names that producers and people choose.
HOSTILE = "\"><svg onload=alert(1)>{{7*7}}';--</script>\u202e"
LONG = "w" * 64
#: What is in no answer: a message's text, and what the credential is made of.
TEXT = "the planted text of a message"
SECRET = "planted-credential"
USERS = ("han", "lando", "luke", HOSTILE, LONG)


@dataclass
class World:
    pipeline: Pipeline
    stores: Stores
    access: Access
    url: str
    server: uvicorn.Server
    thread: threading.Thread
    #: Planted, and to be found nowhere.
    secrets: Sequence[str] = field(default_factory=list)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(PATIENCE)


@contextmanager
def world(urls: Urls, access_hash: str) -> Iterator[World]:
    pipeline = Pipeline(urls.postgres, urls.redis)
    settings = load(
        {"CARILLON_REDIS_URL": urls.redis, "CARILLON_POSTGRES_URL": urls.postgres, "CARILLON_FLEET": "tests"}
    )
    stores = Stores(settings, urls)
    happen(pipeline, stores)
    access = Access({"otto": Account("operator", access_hash), "ada": Account("admin", access_hash)}, b"key")
    server, thread, url = serve(stores, access, PAGES)
    made = World(pipeline, stores, access, url, server, thread, secrets_of(pipeline))
    try:
        yield made
    finally:
        made.stop()
        stores.close()
        pipeline.close()


def happen(pipeline: Pipeline, stores: Stores) -> None:
    """Every outcome, a paused provider, a retired device, a dead letter, an act, and the conditions of all this."""
    since = time.time() - START.timestamp() - 60
    pipeline.now = time.time()
    pipeline.registry.save_app(AppSettings("forum", push_enabled=False))
    pipeline.registry.save_app(AppSettings(LONG[:40]))
    pipeline.member("general", "leia", *USERS)
    pipeline.member(HOSTILE, "leia", *USERS)
    pipeline.publish(ev.UserMuted(**stamp(since), user="luke", target="leia"))
    pipeline.run()
    pipeline.apns.answers[token("lando")] = [Answer(410, "Unregistered", timestamp=int(pipeline.now * 1000) + 1)]
    for n, channel in enumerate(("general", HOSTILE, "general")):
        pipeline.publish(message(channel, id=f"e{n}" if n < 2 else HOSTILE, seconds=since + n, text=TEXT))
        pipeline.run()
    pipeline.publish(
        b'{"v": 1, "type": "message.new", "app": "demo", "id": "broken", "message": {"text": "%s"}}' % TEXT.encode()
    )
    pipeline.run()
    other = pipeline.add_provider("apns-two", topic="io.carillon.two")
    with by_hand(stores.acting, By(HOSTILE, "host")) as hand:
        hand.record("provider paused", app="demo", provider="apns-two", note=HOSTILE)
        stores.partitions[0].breaker.stop(other.id, HOSTILE, time.time() - 300, manual=True)
    while pipeline.ledger.flush(pipeline.journal):
        pass
    Watch(pipeline.keyspace, pipeline.pool).look()


def secrets_of(pipeline: Pipeline) -> list[str]:
    with pipeline.pool.connection() as db:
        tokens = [row[0] for row in db.execute("SELECT token FROM carillon.devices")]
    assert tokens
    return [*tokens, TEXT, "-----BEGIN", pipeline.secret_key]


def serve(stores: Stores, access: Access, pages: Sequence[Page]) -> tuple[uvicorn.Server, threading.Thread, str]:
    """A server in a thread whose panels are kept up to date each second."""
    quick = [
        page._replace(panels=[panel._replace(every=min(panel.every, 1)) for panel in page.panels]) for page in pages
    ]
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        make_app(stores, access, Doors(), quick), log_config=None, access_log=False, proxy_headers=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    return server, thread, f"http://127.0.0.1:{bound.getsockname()[1]}"


def cookie(made: World, name: str = "otto", password: str = "") -> dict[str, Any]:
    """The session's cookie, as the DevTools protocol takes it."""
    value = made.access.sign_in("127.0.0.1", name, password)
    assert value is not None
    return {"name": f"carillon-{made.url.rpartition(':')[2]}", "value": value, "url": made.url}


def crawl(get: Callable[..., httpx.Response]) -> tuple[dict[str, list[str]], list[str]]:
    """What links lead to from the first page on, by the path of a route, and the answers.

    Of one page with other values in the same fields two are enough.
    """
    paths = [one.path for one in PAGES] + [one.path for one in ACTS]
    routes = {path: re.compile(re.sub(r"\\{\w+(:\w+)?\\}", "[^/]+", re.escape(path)) + "$") for path in paths}
    waiting, seen, answers = ["/"], {"/"}, []
    addresses: dict[str, list[str]] = {path: [] for path in paths}
    while waiting:
        here = waiting.pop()
        answer = get(here, follow_redirects=True)
        assert answer.status_code == 200, (here, answer.status_code)
        assert "could not be worked out" not in answer.text, here
        answers.append(answer.text)
        for link in dict.fromkeys(re.findall(r'(?:href|data-src)="(/[^"]*)"', answer.text)):
            address = unescape(link).partition("#")[0]
            path = next((path for path, form in routes.items() if form.match(urlsplit(address).path)), None)
            if path is None or address in seen:
                continue
            alike = [one for one in addresses[path] if fields(one) == fields(address)]
            if len(alike) < 2 and len(addresses[path]) < 6:
                seen.add(address)
                addresses[path].append(address)
                waiting.append(address)
    return addresses, answers


def fields(address: str) -> list[str]:
    return [name for name, _ in parse_qsl(urlsplit(address).query)]
