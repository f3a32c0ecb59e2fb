"""The dashboard as an ASGI app. Views and panels run in threads; each is bounded, and a panel that fails fails alone."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final, TypeVar

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from worker.core.errors import UnfitError
from worker.dashboard import assets
from worker.dashboard.access import Access
from worker.dashboard.acts import ACTS
from worker.dashboard.cache import Cache
from worker.dashboard.follow import Follow
from worker.dashboard.frame import FOLLOW, SHAPES, Facts, Frame
from worker.dashboard.gate import Doors, Gate, keep_view, set_cookie, view_of
from worker.dashboard.page import Act, Ask, Changed, Confirmation, Elsewhere, Invalid, Missing, Page, Panel, here
from worker.dashboard.pages import PAGES
from worker.dashboard.stores import Stores
from worker.dashboard.text import SHOWN, clock, hostile
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
_ENGINES: Final = ("Postgres", "Redis")
#: Bytes of a form.
_FORM: Final = 16_384
_T = TypeVar("_T")


class Dashboard:
    def __init__(
        self,
        stores: Stores,
        access: Access,
        pages: Sequence[Page],
        acts: Sequence[Act],
        leaving: Callable[[], bool],
        prefix: str,
    ) -> None:
        self._stores, self._access, self._prefix = stores, access, prefix
        names, self._assets = assets.load()
        self._frame = Frame(pages, acts, names, stores.settings.fleet, leave=access.has_passwords, prefix=prefix)
        self._follow = Follow(self._frame, leaving)
        self._panels: Cache[Markup] = Cache()
        self._facts: Cache[Facts] = Cache()
        self._threads = ThreadPoolExecutor(_THREADS, "dashboard")
        #: UNIX seconds since when an engine does not answer.
        self._away: dict[str, float] = {}

    @property
    def _home(self) -> str:
        return f"{self._prefix}/"

    async def asset(self, request: Request) -> Response:
        found = self._assets.get(request.path_params["name"])
        if found is None:
            return Response(status_code=404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    async def sign_in(self, request: Request) -> Response:
        there = here(request.query_params.get("next", ""), self._home)
        values = {"passwords": self._access.has_passwords, "fault": "", "name": "", "next": Markup.escape(there)}
        if request.method != "POST":
            return HTMLResponse(self._frame.sign_in(view_of(request), values))
        form = await _form(request)
        if form is None:
            return Response(status_code=413)
        name, address = form.get("name", ""), _address(request)
        values |= {"name": name, "next": Markup.escape(here(form.get("next", ""), self._home))}
        if not self._access.may_try(address):
            fault = "There were 5 tries from your address within a minute. Wait for a minute."
            return HTMLResponse(
                self._frame.sign_in(view_of(request), values | {"fault": fault}), 429, headers={"Retry-After": "60"}
            )
        cookie = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._access.sign_in, address, name, form.get("password", "")
        )
        if cookie is None:
            log.warning("sign-in refused", extra={"user": hostile(name, 64), "address": address})
            return HTMLResponse(
                self._frame.sign_in(view_of(request), values | {"fault": "Name or password is wrong."}), 401
            )
        answer = RedirectResponse(here(form.get("next", ""), self._home), 303)
        set_cookie(request, answer, cookie)
        return answer

    async def sign_out(self, request: Request) -> Response:
        answer = RedirectResponse(f"{self._prefix}/sign-in", 303)
        set_cookie(request, answer, None)
        return answer

    async def looks(self, request: Request) -> Response:
        """Keeps how somebody wants pages, in their browser."""
        form = await _form(request)
        if form is None:
            return Response(status_code=413)
        answer = RedirectResponse(f"{self._prefix}/keys", 303)
        keep_view(request, answer, form)
        return answer

    async def unknown(self, request: Request, _: Exception) -> Response:
        return await self._problem(self._ask(request), 404, "There is no such page", "The bar has all of them.")

    async def follow(self, request: Request) -> Response:
        """The push log as it comes. After a break browsers say where they were."""
        ask = self._ask(request)
        if (last := request.headers.get("Last-Event-ID")) is not None:
            ask = replace(ask, query={**ask.query, "after": last})
        try:
            return self._follow.answer(ask)
        except Invalid as fault:
            return await self._fault(ask, fault)

    def act_route(self, act: Act) -> Route:
        async def answer(request: Request) -> Response:
            return await self._act(act, request)

        return Route(act.path, answer, methods=["GET", "POST"], name=act.name)

    async def _act(self, act: Act, request: Request) -> Response:
        """The confirming page, or the act. This is the one place where a POST changes anything."""
        ask = self._ask(request)
        if not ask.user.may(act.role):
            needed = f"It needs the role {act.role}; {ask.user.name} is {ask.user.role}."
            return await self._problem(ask, 403, "This is not for your role", needed)
        try:
            if request.method == "POST":
                return await self._done(act, ask, request)
            return await self._confirm(ask, await self._in_thread(act.ask, ask), request)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the frame comes
            return await self._fault(ask, fault)

    async def _done(self, act: Act, ask: Ask, request: Request) -> Response:
        form = await _form(request)
        if form is None:
            return Response(status_code=413)
        if not self._access.is_token(request.state.session, form.get("token", "")):
            return await self._problem(
                ask, 403, "Nothing was changed", "The form is of another session. Open it again."
            )
        asked = await self._in_thread(act.ask, ask)
        note = form.get("note", "").strip()
        if form.get("version", "") != _version(asked):
            return await self._confirm(ask, asked, request, note, "It changed meanwhile. Look again.", 409)
        if not note or len(note) > SHOWN or form.get("typed", "").strip() != asked.typed:
            what = f"Write why, in at most {SHOWN} characters{f', and type {asked.typed}' if asked.typed else ''}."
            return await self._confirm(ask, asked, request, note[:SHOWN], what, 400)
        try:
            sentence = await self._in_thread(act.do, ask, note)
        except Changed as fault:
            return await self._confirm(ask, await self._in_thread(act.ask, ask), request, note, str(fault), 409)
        log.warning("by hand: %s", act.name, extra={"by": ask.user.name, "path": request.url.path})
        values = {"title": "Done", "sentence": sentence, "back": asked.back}
        return HTMLResponse(self._frame.special("done.html", ask, await self.facts(), values))

    async def _confirm(
        self, ask: Ask, asked: Confirmation, request: Request, note: str = "", changed: str = "", status: int = 200
    ) -> Response:
        token = self._access.token(request.state.session)
        values = {
            "title": asked.button,
            "ask": asked,
            "token": token,
            "of": _version(asked),
            "note": note,
            "changed": changed,
        }
        return HTMLResponse(self._frame.special("confirm.html", ask, await self.facts(), values), status)

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
        except Exception as fault:  # noqa: BLE001 - whatever it is, the frame comes
            return await self._fault(ask, fault)
        if len(self._away) == len(_ENGINES):
            return await self._problem(ask, 503, "Nothing can be read", self._both_away())
        panels = {panel.name: html for panel, html in zip(page.panels, drawn, strict=True)}
        return HTMLResponse(self._frame.page(page, ask, facts, values, panels))

    async def _fault(self, ask: Ask, fault: Exception) -> Response:
        if isinstance(fault, Elsewhere):
            return RedirectResponse(self._prefix + fault.url, 303)
        if isinstance(fault, Missing):
            return await self._problem(ask, 404, "Nothing is known of it", str(fault))
        if isinstance(fault, Invalid):
            return await self._problem(ask, 400, "This cannot be shown", str(fault))
        return await self._problem(ask, 503, "This page cannot be shown now", self._sentence(fault))

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
            self._stores.renew()
            found = watch.current(self._stores.fleet).conditions
            if any(one.name == "redis_away" for one in found):
                self._is_away("Redis")
            else:
                self._away.pop("Redis", None)
            if "Postgres" in self._away:
                with suppress(postgres.Unavailable), self._stores.pool.connection() as db:
                    db.execute("SELECT 1")
                    del self._away["Postgres"]
            worst = SHAPES[found[0].severity] if found else "info"
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
        if isinstance(fault, Missing | Invalid | UnfitError):
            return str(fault)
        if isinstance(fault, postgres.Unavailable) and fault.sqlstate == _TOO_LONG:
            return "That is too much to look through: choose an app or a shorter time."
        if isinstance(fault, postgres.Unavailable):
            return self._is_away("Postgres")
        if isinstance(fault, redis.Unavailable):
            return self._is_away("Redis")
        if isinstance(fault, redis.Forbidden):
            return (
                "The dashboard's user of Redis may not read this: it has the rules of an earlier release, which knew no"
                " partitions. docs/security.md has those of today."
            )
        if isinstance(fault, postgres.Forbidden):
            return (
                "The dashboard's role of Postgres may not do this. It gets its rights from carillon migrate; what changes rows"
                " needs CARILLON_DASHBOARD_ACTS_URL."
            )
        if isinstance(fault, TimeoutError):
            return "This took longer than 3 s."
        id = secrets.token_hex(2)
        log.error("a page could not be worked out", exc_info=fault, extra={"fault": id})
        return f"This could not be worked out (id {id}). The log has more."

    def _is_away(self, engine: str) -> str:
        began = self._away.setdefault(engine, time.time())
        return f"This cannot be read: {engine} does not answer since {clock(began)} UTC."

    def _both_away(self) -> str:
        since = ", ".join(f"{engine} since {clock(at)} UTC" for engine, at in sorted(self._away.items()))
        return (
            f"Neither Postgres nor Redis answers this dashboard: {since}. If workers cannot reach them either, nothing is pushed"
            " and publishers are refused; nothing that was accepted is lost. From a worker's host: carillon doctor."
        )

    async def _problem(self, ask: Ask, status: int, title: str, sentence: str) -> Response:
        values = {"title": title, "sentence": sentence}
        return HTMLResponse(self._frame.special("problem.html", ask, await self.facts(), values), status)

    def _ask(self, request: Request) -> Ask:
        query = {name: value for name, value in request.query_params.items() if name != "panel"}
        user = request.state.session.user
        return Ask(
            self._stores, user, time.time(), _address(request), request.path_params, query, view_of(request), self._home
        )

    async def _in_thread(self, do: Callable[..., _T], *arguments: Any) -> _T:
        work = asyncio.get_running_loop().run_in_executor(self._threads, do, *arguments)
        return await asyncio.wait_for(work, PATIENCE)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._follow.close()


def make_app(
    stores: Stores,
    access: Access,
    doors: Doors,
    pages: Sequence[Page] = PAGES,
    acts: Sequence[Act] = ACTS,
    leaving: Callable[[], bool] = lambda: False,
) -> Starlette:
    """The app over these stores, which it leaves open. `leaving`: whether the process is about to end."""
    dashboard = Dashboard(stores, access, pages, acts, leaving, doors.prefix)
    routes = [
        Route("/sign-in", dashboard.sign_in, methods=["GET", "POST"]),
        Route("/sign-out", dashboard.sign_out, methods=["POST"]),
        Route("/looks", dashboard.looks, methods=["POST"]),
        Route("/static/{name}", dashboard.asset),
        Route(FOLLOW, dashboard.follow),
        *(dashboard.route(page) for page in pages),
        *(dashboard.act_route(act) for act in acts),
    ]
    if all(page.path != "/" for page in pages):
        first = doors.prefix + pages[0].path

        async def start(_: Request) -> Response:
            return RedirectResponse(first, 303)

        routes.append(Route("/", start))

    @asynccontextmanager
    async def life(_: Starlette) -> Any:
        yield
        dashboard.close()

    return Starlette(
        routes=routes,
        middleware=[
            Middleware(Gate, access=access, doors=doors),
            Middleware(GZipMiddleware, minimum_size=1_000),
        ],
        exception_handlers={404: dashboard.unknown},
        lifespan=life,
    )


def _version(asked: Confirmation) -> str:
    """Of what is shown, as a form can carry it whole."""
    return sha256(asked.version.encode()).hexdigest()[:20]


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of a form; None if it is larger than any of ours."""
    length = request.headers.get("Content-Length", "")
    if not length.isdecimal() or int(length) > _FORM:
        return None
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [text for name in sorted(fields) for text in (name, fields[name])]
