"""The gate before every route: which host was meant, who asks, and whether a form comes from a page of ours.

Without the list of hosts any web site could reach a dashboard on loopback, by a name that it lets point there.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final, get_args, get_type_hints
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from worker.dashboard.access import SESSION, Access, Session
from worker.dashboard.page import View

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
#: Paths that show nothing of the system.
_OPEN: Final = ("/sign-in", "/static/")
#: How the names of the cookies of a view begin, and how long they last, in seconds.
_VIEW: Final = "carillon-"
_YEAR: Final = 365 * 86_400
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class Doors:
    """`hosts` are its names for browsers, beside those of loopback. `header` has the user's name, if one of `proxies` sent it.

    `prefix` is the path that browsers have before every other.
    """

    hosts: Sequence[str] = ()
    header: str = ""
    proxies: Sequence[IPv4Network | IPv6Network] = ()
    prefix: str = ""


class Gate:
    def __init__(self, app: Any, access: Access, doors: Doors) -> None:
        self._app, self._access, self._doors = app, access, doors

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                extra = HEADERS if b"cache-control" in given else HEADERS | {"Cache-Control": "no-store"}
                message["headers"] = [
                    *message["headers"],
                    *((n.lower().encode(), v.encode()) for n, v in extra.items()),
                ]
            await send(message)

        if scope["type"] == "http" and scope["path"] == "/livez":  # probes know no name and no password
            await PlainTextResponse("ok\n")(scope, receive, sent)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix = self._doors.prefix
        if prefix:
            # A proxy may have taken the prefix off. What follows sees the path that the browser has.
            path = scope["path"] if f"{scope['path']}/".startswith(f"{prefix}/") else prefix + scope["path"]
            scope = {**scope, "path": f"{prefix}/" if path == prefix else path, "root_path": prefix}
        answer = self._refusal(Request(scope)) or self._app
        await answer(scope, receive, sent)

    def _refusal(self, request: Request) -> Response | None:
        """The answer, if the request goes no further. If it does, its state has the session, or None."""
        host = _name(request.headers.get("Host", ""))
        if host not in LOOPBACK and host not in self._doors.hosts:
            return PlainTextResponse(
                "this dashboard is not known by that name: CARILLON_DASHBOARD_HOST lists its names\n", 400
            )
        if request.headers.get(self._doors.header or "\0") is not None and not self._is_proxy(request):
            return PlainTextResponse(
                f"{self._doors.header} is taken from the proxies of CARILLON_DASHBOARD_PROXIES only\n", 400
            )
        if request.method == "POST" and not comes_from_us(request):
            return PlainTextResponse("the form comes from another site\n", 403)
        request.state.session = session = self._session(request)
        if session is not None or request.url.path.startswith(tuple(_prefix(request) + path for path in _OPEN)):
            return None
        if "panel" in request.query_params:
            return PlainTextResponse("sign in first\n", 401)
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{_prefix(request)}/sign-in?next={quote(here, safe='')}", 302)

    def _session(self, request: Request) -> Session | None:
        header = self._doors.header
        if header and (name := request.headers.get(header)):
            return Session(self._access.user(name[:64]), "proxy")
        cookie = request.cookies.get(cookie_name(request))
        return None if cookie is None else self._access.session(cookie)

    def _is_proxy(self, request: Request) -> bool:
        try:
            address = ip_address(request.client.host if request.client else "")
        except ValueError:  # a socket of this machine
            return False
        return any(address in network for network in self._doors.proxies)


def comes_from_us(request: Request) -> bool:
    """Whether a page of this origin sent the request: by `Sec-Fetch-Site`, which no page can set, else by `Origin`."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    # Without a referrer, browsers say `null` for the origin of a form.
    ours = origin is not None and urlsplit(origin).netloc == request.headers.get("Host")
    return (ours or origin in (None, "null")) if site == "same-origin" else ours and site is None


def set_cookie(request: Request, response: Response, value: str | None) -> None:
    """The session's cookie; None ends it."""
    _set(request, response, cookie_name(request), value or "", SESSION)


def view_of(request: Request) -> View:
    """How this browser wants pages; what its cookies say that is no word of ours is left out."""
    given = {name: request.cookies.get(_VIEW + name, "") for name in View._fields}
    return _view(given)


def keep_view(request: Request, response: Response, given: Mapping[str, str]) -> None:
    for name, value in _view(given)._asdict().items():
        _set(request, response, _VIEW + name, value, _YEAR)


def _view(given: Mapping[str, str]) -> View:
    words = {name: get_args(words) for name, words in get_type_hints(View).items()}
    return View(**{name: given[name] for name, known in words.items() if given.get(name) in known})  # type: ignore[arg-type]


def _set(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    """An empty value ends the cookie."""
    response.set_cookie(
        name,
        value,
        max_age=seconds if value else 0,
        secure=not _is_loopback(request),
        httponly=True,
        path=_prefix(request) or "/",
        samesite="strict",
    )


def cookie_name(request: Request) -> str:
    """Browsers send a `__Host-` cookie over TLS only. On loopback there need be none, and ports share their cookies."""
    if _is_loopback(request):
        return f"carillon-{request.url.port or 80}"
    # One for a path may not be called `__Host-`.
    return "__Secure-carillon" if _prefix(request) else "__Host-carillon"


def _prefix(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _is_loopback(request: Request) -> bool:
    return _name(request.headers.get("Host", "")) in LOOPBACK


def _name(host: str) -> str:
    """The host without its port, in lower case."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower()
