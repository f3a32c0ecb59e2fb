"""The dashboard as an ASGI app. Views and panels run in threads; each is bounded, and a panel that fails fails alone."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Final, TypeVar

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from worker.dashboard import assets
from worker.dashboard.cache import Cache
from worker.dashboard.frame import SHAPES, Facts, Frame
from worker.dashboard.page import Ask, Elsewhere, Invalid, Missing, Page, Panel, User
from worker.dashboard.pages import PAGES
from worker.dashboard.stores import Stores
from worker.database import postgres
from worker.reports import watch
from worker.state import redis

log = logging.getLogger(__name__)

#: Seconds for a view or a panel.
PATIENCE: Final = 3.0
#: Threads that read. More would only wait for the four connections.
_THREADS: Final = 8
#: The SQLSTATE of a statement that took too long.
_TOO_LONG: Final = "57014"
#: No page reads a longer query.
_QUERY: Final = 2_000
_T = TypeVar("_T")


class Dashboard:
    def __init__(self, stores: Stores, pages: Sequence[Page]) -> None:
        self._stores = stores
        names, self._assets = assets.load()
        self._frame = Frame(pages, names, stores.settings.fleet)
        self._panels: Cache[Markup] = Cache()
        self._facts: Cache[Facts] = Cache()
        self._threads = ThreadPoolExecutor(_THREADS, "dashboard")
        #: UNIX seconds since when an engine does not answer.
        self._away: dict[str, float] = {}

    async def asset(self, request: Request) -> Response:
        found = self._assets.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    def route(self, page: Page) -> Route:
        async def answer(request: Request) -> Response:
            return await self._answer(page, request)

        return Route(page.path, answer, methods=["GET"], name=page.name)

    async def _answer(self, page: Page, request: Request) -> Response:
        ask = self._ask(request)
        if len(request.url.query) > _QUERY:
            return await self._problem(ask, 400, "This address is too long", "No page of the dashboard needs it.")
        if (name := request.query_params.get("panel")) is not None:
            panel = next((one for one in page.panels if one.name == name), None)
            return Response(status_code=404) if panel is None else await self._partial(page, panel, ask, request)
        try:
            drawing = asyncio.gather(*(self._panel(page, one, ask) for one in page.panels))
            values = await self._in_thread(page.show, ask)
            facts, drawn = await self.facts(), await drawing
        except Elsewhere as found:
            return RedirectResponse(found.url, 303)
        except Missing as fault:
            return await self._problem(ask, 404, "Nothing is known of it", str(fault))
        except Invalid as fault:
            return await self._problem(ask, 400, "This cannot be shown", str(fault))
        except Exception as fault:  # noqa: BLE001 - whatever it is, the frame comes
            return await self._problem(ask, 503, "This page cannot be shown now", self._sentence(fault))
        panels = {panel.name: html for panel, html in zip(page.panels, drawn, strict=True)}
        return HTMLResponse(self._frame.page(page, ask, facts, values, panels))

    async def _partial(self, page: Page, panel: Panel, ask: Ask, request: Request) -> Response:
        html = await self._panel(page, panel, ask)
        tag = f'"{sha256(html.encode()).hexdigest()[:20]}"'
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        return HTMLResponse(html, headers={"ETag": tag})

    async def _panel(self, page: Page, panel: Panel, ask: Ask) -> Markup:
        """Its HTML, or the sentence that says why there is none."""

        def draw() -> Markup:
            return self._frame.panel(page, panel, ask, panel.show(ask))

        async def make() -> Markup:
            try:
                return await self._in_thread(draw)
            except Exception as fault:  # noqa: BLE001 - the other panels stay
                return self._frame.fault(self._sentence(fault))

        parts = [page.name, panel.name, ask.user.role, *_flat(ask.path), *_flat(ask.query)]
        try:
            return await self._panels.get("\0".join(parts), make, PATIENCE)
        except TimeoutError:
            return self._frame.fault("This took longer than 3 s. Trying again.")

    async def facts(self) -> Facts:
        def read() -> Facts:
            found = watch.known(self._stores.redis).values()
            self._away.pop("Redis", None)
            worst = min(
                (SHAPES.get(one.severity, "info") for one in found), key=["crit", "warn", "info"].index, default="info"
            )
            return Facts(len(found), worst)

        async def make() -> Facts:
            try:
                return await self._in_thread(read)
            except Exception as fault:  # noqa: BLE001 - a page comes without its badge
                self._sentence(fault)
                return Facts(None)

        try:
            return await self._facts.get("", make, PATIENCE)
        except TimeoutError:
            return Facts(None)

    def _sentence(self, fault: Exception) -> str:
        """What to say of a fault; one that is not an engine's goes into the log, under the id that the sentence has."""
        if isinstance(fault, postgres.Unavailable) and fault.sqlstate == _TOO_LONG:
            return "That is too much to look through: choose an app or a shorter time."
        if isinstance(fault, postgres.Unavailable):
            return self._is_away("Postgres")
        if isinstance(fault, redis.Unavailable):
            return self._is_away("Redis")
        if isinstance(fault, TimeoutError):
            return "This took longer than 3 s."
        id = secrets.token_hex(2)
        log.error("a page could not be worked out", exc_info=fault, extra={"fault": id})
        return f"This could not be worked out (id {id}). The log has more."

    def _is_away(self, engine: str) -> str:
        began = self._away.setdefault(engine, time.time())
        return (
            f"This cannot be read: {engine} does not answer since {time.strftime('%H:%M:%S', time.gmtime(began))} UTC."
        )

    async def _problem(self, ask: Ask, status: int, title: str, sentence: str) -> Response:
        return HTMLResponse(self._frame.problem(ask, await self.facts(), title, sentence), status)

    def _ask(self, request: Request) -> Ask:
        query = {name: value for name, value in request.query_params.items() if name != "panel"}
        return Ask(self._stores, User("nobody", "viewer"), time.time(), request.path_params, query)

    async def _in_thread(self, do: Callable[..., _T], *arguments: Any) -> _T:
        work = asyncio.get_running_loop().run_in_executor(self._threads, do, *arguments)
        return await asyncio.wait_for(work, PATIENCE)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Headers:
    """Adds the headers of every answer."""

    _POLICY: Final = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    _ALL: Final = {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "X-Frame-Options": "DENY",
    }

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                extra = self._ALL if b"cache-control" in given else self._ALL | {"Cache-Control": "no-store"}
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in extra.items()]
            await send(message)

        await self._app(scope, receive, sent)


def make_app(stores: Stores, pages: Sequence[Page] = PAGES) -> Starlette:
    """The app over these stores, which it leaves open."""
    dashboard = Dashboard(stores, pages)
    routes = [dashboard.route(page) for page in pages]
    if all(page.path != "/" for page in pages):
        first = pages[0].path

        async def start(_: Request) -> Response:
            return RedirectResponse(first, 303)

        routes.append(Route("/", start))

    @asynccontextmanager
    async def life(_: Starlette) -> Any:
        yield
        dashboard.close()

    return Starlette(
        routes=[*routes, Route("/static/{name}", dashboard.asset)],
        middleware=[Middleware(Headers), Middleware(GZipMiddleware, minimum_size=1_000)],
        lifespan=life,
    )


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [text for name in sorted(fields) for text in (name, fields[name])]
