"""The dashboard's app over a database and a Redis of the test's own, asked without a socket."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from config.settings import load
from tests.databases import Databases
from worker.dashboard import access as access_module
from worker.dashboard.access import Access, Account, hash_password
from worker.dashboard.app import make_app
from worker.dashboard.gate import Doors
from worker.dashboard.stores import Stores
from worker.embedded import Urls
from worker.process.runtime import Runtime

HERE = {"Sec-Fetch-Site": "same-origin"}
PASSWORD = "correct horse battery staple"
# What makes guesses dear makes tests slow.
pytest.MonkeyPatch().setattr(access_module, "_COST", (2, 8, 1))
HASH = hash_password(PASSWORD)
USERS = {"vera": "viewer", "otto": "operator", "ada": "admin"}


class Visitor:
    """A browser without scripts, which follows no redirect."""

    def __init__(self, site: "Site", host: str, peer: str) -> None:
        transport = httpx.ASGITransport(site.app, raise_app_exceptions=False, client=(peer, 50_000))
        self.client, self._loop = httpx.AsyncClient(transport=transport, base_url=f"http://{host}"), site.loop
        self.cookies = self.client.cookies

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._loop.run(self.client.get(path, **options))

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self._loop.run(self.client.post(path, **options))


@dataclass
class Site:
    app: Any
    access: Access
    stores: Stores
    #: What a worker has, to set things up with.
    runtime: Runtime
    loop: asyncio.Runner

    def visitor(self, name: str | None = None, host: str = "127.0.0.1:8800", peer: str = "127.0.0.1") -> Visitor:
        """Signed in if a user is named."""
        visitor = Visitor(self, host, peer)
        if name is not None:
            cookie = self.access.sign_in(peer, name, PASSWORD)
            assert cookie is not None
            visitor.cookies.set("carillon-8800", cookie)
        return visitor


def fields(text: str) -> dict[str, str]:
    """What a form carries unseen."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))


def done(site: Site, path: str, who: str = "otto", **other: str) -> httpx.Response:
    """What comes of the form that the confirming page has."""
    visitor = site.visitor(who)
    form = fields(visitor.get(path).text) | {"note": "receiver moves"} | other
    return visitor.post(path, data=form, headers=HERE)


DOORS = Doors(("push.example.org",), "X-Forwarded-User", (ip_network("10.20.0.0/16"),))


@pytest.fixture(scope="module")
def site(engine_urls: Urls, _databases: Databases) -> Iterator[Site]:
    """One for a module, whose tests share its data."""
    with _databases.one() as postgres_url, asyncio.Runner() as loop:
        given = {"REDIS_URL": engine_urls.redis, "POSTGRES_URL": postgres_url, "FLEET": "tests"}
        settings = load({f"CARILLON_{name}": value for name, value in given.items()})
        urls = Urls(engine_urls.redis, postgres_url)
        stores = Stores(settings, urls)
        stores.redis.flushall()
        access = Access({name: Account(role, HASH) for name, role in USERS.items()}, b"a key")  # type: ignore[arg-type]
        yield Site(make_app(stores, access, DOORS), access, stores, stores.acting, loop)
        stores.close()
