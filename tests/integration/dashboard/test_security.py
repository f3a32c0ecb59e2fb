"""Who gets what: sessions, hosts, proxies, forms from elsewhere, and what every answer carries."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.dashboard.conftest import DOORS, HERE, PASSWORD, Site, Visitor
from worker.core.model import AppSettings
from worker.dashboard.acts import ACTS
from worker.dashboard.app import make_app
from worker.dashboard.pages import PAGES

NAME = {"app": "chat", "provider": "apns", "name": "apns", "id": "1", "device": "1"}


def filled(path: str) -> str:
    """A path with something in its places."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda part: NAME.get(part[1], "x"), path)


PATHS = [filled(page.path) for page in PAGES]


def sign_in(client: Visitor, name: str = "otto", password: str = PASSWORD, there: str = "/") -> Any:
    return client.post("/sign-in", data={"name": name, "password": password, "next": there}, headers=HERE)


def test_every_route_is_one_of_the_lists(site: Site) -> None:
    known = {
        *(page.path for page in PAGES),
        *(act.path for act in ACTS),
        "/",
        "/sign-in",
        "/sign-out",
        "/looks",
        "/static/{name}",
        "/log/follow",
    }
    assert {route.path for route in site.app.routes} == known
    posts = {route.path for route in site.app.routes if "POST" in route.methods}
    assert posts == {*(act.path for act in ACTS), "/sign-in", "/sign-out", "/looks"}


def test_O8_without_a_session_there_is_only_the_sign_in_page(site: Site) -> None:
    visitor = site.visitor()
    for path in [*PATHS, *(filled(act.path) for act in ACTS), "/", "/nothing", "/log/follow"]:
        answer = visitor.get(f"{path}?x=1")
        assert (answer.status_code, answer.headers["location"]) == (
            302,
            f"/sign-in?next={path.replace('/', '%2F')}%3Fx%3D1",
        )
        assert visitor.get(path, params={"panel": "rows"}).status_code == 401
        # What was sent is not sent again by itself.
        assert visitor.post(path, headers=HERE).headers["location"] == f"/sign-in?next={path.replace('/', '%2F')}"


def test_the_password_makes_a_session_that_comes_back_to_the_page(site: Site) -> None:
    visitor = site.visitor()
    answer = sign_in(visitor, there="/apps?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/apps?x=1")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Max-Age=43200", "Path=/"} <= set(cookie.split("; "))
    assert "role operator" in visitor.get("/apps").text
    assert visitor.post("/sign-out", headers=HERE).status_code == 303
    assert visitor.get("/apps").status_code == 302


@pytest.mark.parametrize(
    "there", ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", "javascript:1"]
)
def test_signing_in_leads_to_no_other_site(site: Site, there: str) -> None:
    assert sign_in(site.visitor(), there=there).headers["location"] == "/"


def test_by_another_name_the_cookie_wants_tls(site: Site) -> None:
    cookie = sign_in(site.visitor(host="push.example.org")).headers["set-cookie"]
    assert cookie.startswith("__Host-carillon=")
    assert "Secure" in cookie.split("; ")


@pytest.mark.parametrize(("name", "password"), [("otto", "wrong"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_name_or_password_is_refused_alike(site: Site, name: str, password: str) -> None:
    answer = sign_in(site.visitor(), name, password)
    assert answer.status_code == 401
    assert "Name or password is wrong." in answer.text


def test_an_address_has_five_tries_a_minute(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(site.access, "_now", lambda: now)
    visitor = site.visitor(peer="10.1.1.1")
    assert [sign_in(visitor, password="wrong").status_code for _ in range(6)] == [401] * 5 + [429]
    assert sign_in(visitor).status_code == 429
    assert sign_in(site.visitor(peer="127.0.0.2")).status_code == 303
    now += 61
    assert sign_in(visitor).status_code == 303


def test_a_session_ends_after_twelve_hours(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(site.access, "_now", lambda: now)
    visitor = site.visitor("vera")
    now += 12 * 3_600 - 1
    assert visitor.get("/apps").status_code == 200
    now += 2
    assert visitor.get("/apps").status_code == 302


@pytest.mark.parametrize(
    "change", [lambda c: c[:-2] + "xx", lambda c: "e30." + c.split(".")[1], lambda _: "", lambda _: "."]
)
def test_a_changed_cookie_is_no_session(site: Site, change: Any) -> None:
    visitor = site.visitor()
    cookie = site.access.sign_in("", "vera", PASSWORD)
    visitor.cookies.set("carillon-8800", change(cookie))
    assert visitor.get("/apps").status_code == 302


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8800", ""])
def test_an_unknown_host_is_refused(site: Site, host: str) -> None:
    """Else a page of another site could read this one, by a name that it lets point here."""
    assert site.visitor("vera").get("/apps", headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["localhost", "localhost:8800", "[::1]:8800", "PUSH.example.org"])
def test_known_hosts_are_not(site: Site, host: str) -> None:
    assert site.visitor().get("/sign-in", headers={"Host": host}).status_code == 200


def test_a_proxy_says_who_asks(site: Site) -> None:
    known = site.visitor(peer="10.20.3.4").get("/apps", headers={"X-Forwarded-User": "otto"})
    assert "<b>otto</b>, role operator" in known.text
    unknown = site.visitor(peer="10.20.3.4").get("/apps", headers={"X-Forwarded-User": "zoe@example.org"})
    assert "<b>zoe@example.org</b>, role viewer" in unknown.text


def test_a_stranger_cannot_say_so(site: Site) -> None:
    for path in ("/apps", "/sign-in"):
        assert site.visitor(peer="10.21.0.1").get(path, headers={"X-Forwarded-User": "ada"}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8801"},
        {"Origin": "http://127.0.0.1:8800", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_O8_a_form_from_elsewhere_is_refused(site: Site, headers: dict[str, str]) -> None:
    visitor = site.visitor("ada")
    for path in ["/sign-in", "/sign-out", "/looks", *(filled(act.path) for act in ACTS)]:
        assert visitor.post(path, headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [{"Origin": "http://127.0.0.1:8800"}, HERE, HERE | {"Origin": "null"}])
def test_a_form_of_ours_is_not(site: Site, headers: dict[str, str]) -> None:
    assert site.visitor("ada").post("/sign-out", headers=headers).status_code == 303


def test_every_answer_has_the_headers(site: Site) -> None:
    visitor = site.visitor("vera")
    style = re.search(r"/static/style\.\w+\.css", visitor.get("/apps").text)
    assert style is not None
    for path in [*PATHS, "/nothing", style[0], "/static/style.css", "/sign-in"]:
        headers = visitor.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == ("public, max-age=31536000, immutable" if path == style[0] else "no-store")
        assert "server" not in headers


def test_no_answer_has_what_the_policy_forbids(site: Site) -> None:
    visitor = site.visitor("ada")
    for path in [*PATHS, *(filled(act.path) for act in ACTS), "/sign-in"]:
        text = visitor.get(path).text
        assert not re.search(r"<[^>]*\s(style|on\w+)=", text), path
        assert not re.search(r"<script(?![^>]* src=)|<style|javascript:", text), path


def test_an_answer_of_a_panel_that_is_known_is_not_sent_again(site: Site) -> None:
    visitor = site.visitor("vera")
    first = visitor.get("/apps?panel=rows")
    assert first.status_code == 200
    assert visitor.get("/apps?panel=rows", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert visitor.get("/apps?panel=nothing").status_code == 404


def test_O9_names_of_others_are_text(site: Site) -> None:
    hostile = "\"><svg onload=alert(1)>{{7*7}}'; --</script>\u202e\x07"
    with site.runtime.pool.connection() as db:
        db.execute("ALTER TABLE carillon.apps DROP CONSTRAINT IF EXISTS apps_name_check")
    site.runtime.registry.save_app(AppSettings(hostile))
    site.runtime.registry.save_app(AppSettings("n" * 5_000))
    text = site.visitor("vera").get("/apps?now").text  # another address than that of which a panel is still known
    assert "&#34;&gt;&lt;svg onload=alert(1)&gt;{{7*7}}&#39;; --&lt;/script&gt;\\u202e\\u0007" in text
    assert f">{'n' * 199}…<" in text, "where it is shown; a link has it whole"


def test_a_browser_keeps_how_it_shows_pages(site: Site) -> None:
    visitor = site.visitor("vera")
    assert '<html lang="en">' in visitor.get("/apps").text
    answer = visitor.post("/looks", data={"look": "dark", "keys": "off"}, headers=HERE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/keys")
    assert '<html lang="en" class="dark" data-keys="off">' in visitor.get("/apps").text
    assert '<option value="dark" selected>' in visitor.get("/keys").text
    visitor.post("/sign-out", headers=HERE)
    assert 'class="dark"' in visitor.get("/sign-in").text
    visitor = site.visitor("vera")
    for nothing in ({"look": '"><svg onload=alert(1)>', "keys": "x"}, {}):
        visitor.post("/looks", data=nothing, headers=HERE)
        assert '<html lang="en">' in visitor.get("/apps").text
    visitor.cookies.set("carillon-look", "bright")
    assert '<html lang="en">' in visitor.get("/apps").text


@pytest.fixture(scope="module")
def below(site: Site) -> Site:
    """The same under a prefix."""
    doors = replace(DOORS, prefix="/ops/carillon")
    return replace(site, app=make_app(site.stores, site.access, doors))


@pytest.mark.parametrize("before", ["/ops/carillon", ""], ids=["the proxy leaves the prefix", "the proxy takes it off"])
def test_under_a_prefix_every_address_has_it(below: Site, before: str) -> None:
    visitor = below.visitor("ada")
    for path in [*PATHS, *(filled(act.path) for act in ACTS), "/nothing"]:
        text = visitor.get(before + path).text
        addresses = re.findall(r'(?:href|src|action|data-\w+)="(/[^"]*)"', text)
        assert addresses and [one for one in addresses if not one.startswith("/ops/carillon/")] == [], path
    style = re.search(r"/ops/carillon(/static/style\.\w+\.css)", text)
    assert style and visitor.get(before + style[1]).status_code == 200
    assert visitor.get(f"{before}/find?q=nobody").status_code == 404
    assert 'href="/ops/carillon/apps"' in visitor.get(f"{before}/pause?back=/ops/carillon/apps").text
    assert 'href="/apps"' not in visitor.get(f"{before}/pause?back=/apps").text


@pytest.mark.parametrize("before", ["/ops/carillon", ""])
def test_under_a_prefix_redirects_and_cookies_stay_there(below: Site, before: str) -> None:
    visitor = below.visitor()
    assert visitor.get(f"{before}/apps").headers["location"] == "/ops/carillon/sign-in?next=%2Fops%2Fcarillon%2Fapps"
    form = {"name": "otto", "password": PASSWORD, "next": "/ops/carillon/apps"}
    answer = visitor.post(f"{before}/sign-in", data=form, headers=HERE)
    assert answer.headers["location"] == "/ops/carillon/apps"
    assert "Path=/ops/carillon" in answer.headers["set-cookie"].split("; ")
    elsewhere = visitor.post(f"{before}/sign-in", data=form | {"next": "/apps"}, headers=HERE)
    assert elsewhere.headers["location"] == "/ops/carillon/"
    visitor = below.visitor("vera")
    assert (
        visitor.post(f"{before}/looks", data={"look": "dark"}, headers=HERE).headers["location"] == "/ops/carillon/keys"
    )
    assert visitor.post(f"{before}/sign-out", headers=HERE).headers["location"] == "/ops/carillon/sign-in"
    over = (
        below.visitor(host="push.example.org").post(f"{before}/sign-in", data=form, headers=HERE).headers["set-cookie"]
    )
    assert over.startswith("__Secure-carillon=") and "Secure" in over.split("; ")
