"""Every page in Chromium: at two widths, in light and dark, by keyboard, live, and with what went wrong said."""

import asyncio
import re
import time
from collections.abc import Coroutine, Iterator
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from tests.browser import Browser, Tab, chromium
from tests.databases import Databases
from tests.integration.pipeline.harness import START, message
from tests.processes import PATIENCE
from tests.system.dashboard.world import World, cookie, crawl, fields, world
from tests.valkey import emptied
from worker.core.model import AppSettings
from worker.dashboard import access as access_module
from worker.dashboard.access import hash_password
from worker.dashboard.pages import PAGES
from worker.embedded import Urls

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery staple"
AXE = files("axe_core_python").joinpath("axe.min.js").read_text()
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
#: What is wrong with the layout: text that is wider than the page, controls that are too small, what the policy forbids.
LAYOUT = """
(() => {
  const wide = document.documentElement.clientWidth, found = [];
  const say = (what, each) => found.push(`${what}: ${each.outerHTML.slice(0, 120)}`);
  if (document.documentElement.scrollWidth > wide) found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const each of document.querySelectorAll("body *")) {
    const box = each.getBoundingClientRect(), style = getComputedStyle(each);
    if (each.closest("svg") && each.tagName !== "svg" || each.closest(".vh, .skip, .cards thead")) continue;
    if (box.width && box.right > wide + 1 && !each.closest(".tw, pre")) say(`ends at ${Math.round(box.right)}`, each);
    if (each.matches(".btn, button, .seg a, .bar nav a") && box.height && (box.height < 24 || box.width < 24)) say("small", each);
    if (each.childNodes.length && parseFloat(style.fontSize) < 11) say("tiny text", each);
  }
  document.querySelectorAll("[style]").forEach((each) => say("inline style", each));
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  return found.slice(0, 8);
})()
"""
#: Axe's findings, one line each.
FINDINGS = """
axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.map((one) =>
  `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 120) + node.failureSummary.slice(0, 200)).join(" | ")}`))
"""


class Looking:
    """One browser and one world for all tests of this module, driven from one loop."""

    def __init__(self, runner: asyncio.Runner, browser: Browser, made: World) -> None:
        self.runner, self.browser, self.world = runner, browser, made

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def tab(self, *, signed_in: bool = True, width: int = 1280) -> Tab:
        tab = await self.browser.open("about:blank", width=width)
        await tab.call("Network.enable")
        await tab.call("Network.clearBrowserCookies")
        if signed_in:
            await tab.call("Network.setCookie", **cookie(self.world, password=PASSWORD))
        return tab

    async def go(self, tab: Tab, path: str) -> None:
        """Opens the page; what was reported before is forgotten."""
        await tab.call("Page.navigate", url="about:blank")
        await tab.until("location.href === 'about:blank'")
        self.browser.events.clear()
        await tab.call("Page.navigate", url=self.world.url + path)
        await tab.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def press(self, tab: Tab, key: str) -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        text = {"Enter": "\r", "Tab": ""}.get(key, key if len(key) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            await tab.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes.get(key, ord(key.upper()[0])),
                **({"text": text} if kind == "keyDown" and text else {}),
            )

    async def tab_to(self, tab: Tab, words: str) -> None:
        """Presses Tab until the control with these words, this name or this label has the focus."""
        named = "document.activeElement.labels?.[0]?.textContent || document.activeElement.textContent"
        for _ in range(80):
            await self.press(tab, "Tab")
            if words in str(await tab.run(f"({named}).trim()")):
                return
        raise AssertionError(f"{words} cannot be reached by keyboard")

    def complaints(self) -> list[Any]:
        """What the console says, and what the policy refused."""
        bad = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening")
        return [event["params"] for event in self.browser.events if event["method"] in bad]

    def requests(self) -> set[str]:
        """What the page that was opened last has asked for, but what it is kept up to date by."""
        sent = [event["params"] for event in self.browser.events if event["method"] == "Network.requestWillBeSent"]
        loader = [one["loaderId"] for one in sent if one.get("type") == "Document"][-1]
        urls = {one["request"]["url"] for one in sent if one["loaderId"] == loader}
        return {url for url in urls if not url.startswith("data:") and "panel=" not in url and "/log/follow" not in url}


@pytest.fixture(scope="module")
def chat(engine_urls: Urls, _databases: Databases) -> Iterator[World]:
    """What does not look at it in Chromium needs none."""
    with pytest.MonkeyPatch().context() as patch, _databases.one() as postgres_url:
        patch.setattr(access_module, "_COST", (2, 8, 1))
        with world(Urls(emptied(engine_urls.redis), postgres_url), hash_password(PASSWORD)) as made:
            yield made


@pytest.fixture(scope="module")
def looking(chat: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looking]:
    with asyncio.Runner() as runner:
        opening = chromium(tmp_path_factory.mktemp("browser"))
        browser = runner.run(opening.__aenter__())
        yield Looking(runner, browser, chat)
        runner.run(opening.__aexit__(None, None, None))


class Crawled(NamedTuple):
    #: By the path of a route, as in the lists.
    addresses: dict[str, list[str]]
    answers: list[str]
    #: What was asked of Postgres meanwhile.
    statements: set[str]


@pytest.fixture(scope="module")
def found(chat: World) -> Crawled:
    statements: set[str] = set()
    execute = psycopg.Connection.execute

    def recorded(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        statements.add(query.decode() if isinstance(query, bytes) else str(query))
        return execute(self, query, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", recorded)
        with signed_in(chat) as client:
            addresses, answers = crawl(client.get)
    return Crawled(addresses, answers, statements)


def signed_in(made: World) -> httpx.Client:
    given = cookie(made, "ada", PASSWORD)
    client = httpx.Client(base_url=made.url, timeout=PATIENCE)
    client.cookies.set(given["name"], given["value"])
    return client


def test_every_page_is_reached_by_links(found: Crawled) -> None:
    assert [page.path for page in PAGES if not found.addresses[page.path]] == []


@pytest.mark.parametrize("page", [*(page.path for page in PAGES), "/pause", "/conditions/take"])
def test_a_page_at_two_widths_in_light_and_dark(looking: Looking, found: Crawled, page: str) -> None:
    async def look() -> None:
        tab = await looking.tab()
        whole = [one for one in found.addresses.get(page, [page]) if "panel=" not in one]
        # One with fields in its query, and one without.
        two = [*{bool(fields(one)): one for one in reversed(whole)}.values()]
        for address in two:
            await looking.go(tab, address)
            assert len(looking.requests()) <= 3
            assert {urlsplit(url).netloc for url in looking.requests()} == {urlsplit(looking.world.url).netloc}
            await tab.run(AXE)
            for width, scheme in VIEWS:
                await tab.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=844,
                    deviceScaleFactor=1,
                    mobile=width < 500,
                )
                features = [
                    {"name": "prefers-color-scheme", "value": scheme},
                    {"name": "prefers-reduced-motion", "value": "reduce"},
                ]
                await tab.call("Emulation.setEmulatedMedia", features=features)
                layout = await tab.run(LAYOUT)
                assert not layout, "\n".join([f"{address} {width} {scheme}", *layout])
                # Axe is slow: of two addresses one is looked at in light, one in dark.
                if (width, scheme) in (VIEWS[0], VIEWS[-1]) and (
                    len(two) == 1 or (scheme == "dark") == (address == two[0])
                ):
                    findings = await tab.run(FINDINGS)
                    assert not findings, "\n".join([f"{address} {width} {scheme}", *findings])
            assert await tab.run("document.querySelectorAll('*').length") <= 1_500
            assert looking.complaints() == []
        await tab.call("Page.close")

    looking.run(look())


def test_by_keyboard_alone(looking: Looking) -> None:
    """Skip link, sign-in, a link of the bar, pause and go on."""

    async def use() -> None:
        tab = await looking.tab(signed_in=False)
        await looking.go(tab, "/apps")
        await looking.tab_to(tab, "Name")
        await tab.call("Input.insertText", text="otto")
        await looking.tab_to(tab, "Password")
        await tab.call("Input.insertText", text=PASSWORD)
        await looking.press(tab, "Enter")
        await tab.until("document.querySelector('h1')?.textContent === 'Apps'")
        await looking.press(tab, "Tab")
        assert await tab.run("document.activeElement.textContent") == "Skip to content"
        await looking.press(tab, "Enter")
        await tab.until("document.activeElement.id === 'main'")
        await looking.press(tab, "p")
        await tab.until("document.getElementById('live').textContent.startsWith('Paused at')")
        await looking.press(tab, "p")
        await tab.until("document.getElementById('live').textContent.startsWith('Live,')")
        await tab.call("Page.close")

    looking.run(use())


def test_letters_lead_to_pages_rows_and_ranges(looking: Looking) -> None:
    async def use() -> None:
        tab = await looking.tab()
        await looking.go(tab, "/apps")
        for keys, path in (
            ("gc", "/conditions"),
            ("gp", "/providers"),
            ("gl", "/log"),
            ("gd", "/dead-letters"),
            ("ga", "/apps"),
        ):
            await press_all(tab, keys)
            await tab.until(f"location.pathname === '{path}' && document.readyState === 'complete'")
        # Three rows down and one up: the second one is opened.
        await press_all(tab, "jjjk")
        second = await tab.run("document.querySelectorAll('main tbody tr')[1].querySelector('a').href")
        assert await tab.run("document.activeElement.href") == second
        await looking.press(tab, "Enter")
        await tab.until(f"location.href === {second!r} && document.readyState === 'complete'")
        await press_all(tab, "go")
        await tab.until("location.pathname === '/' && document.readyState === 'complete'")
        await press_all(tab, "3")
        await tab.until("location.search.includes('range=24h') && document.readyState === 'complete'")
        await looking.go(tab, "/log?outcome=accepted")
        await press_all(tab, "2")
        await tab.until("/time=[^&]/.test(location.search) && document.readyState === 'complete'")
        await press_all(tab, "x")
        await tab.until("location.search === '' && document.readyState === 'complete'")
        await press_all(tab, "?")
        await tab.until("location.pathname === '/keys' && document.readyState === 'complete'")
        await looking.press(tab, "Escape")
        await tab.until("location.pathname === '/log' && document.readyState === 'complete'")
        assert looking.complaints() == []
        await tab.call("Page.close")

    async def press_all(tab: Tab, keys: str) -> None:
        for key in keys:
            await looking.press(tab, key)

    looking.run(use())


def test_letters_do_nothing_while_somebody_types_or_where_they_are_off(looking: Looking) -> None:
    async def use() -> None:
        tab = await looking.tab()
        await looking.go(tab, "/apps")
        await looking.press(tab, "/")
        for key in "gc?x1j":
            await looking.press(tab, key)
        assert await tab.run("document.activeElement.value") == "gc?x1j"
        await looking.press(tab, "Escape")
        await looking.press(tab, "?")
        await tab.until("location.pathname === '/keys' && document.readyState === 'complete'")
        await tab.run("document.querySelector('select[name=keys]').value = 'off'")
        await tab.run("document.querySelector('select[name=look]').value = 'dark'")
        await looking.tab_to(tab, "Keep")
        await looking.press(tab, "Enter")
        await tab.until("document.documentElement?.dataset.keys === 'off' && document.readyState === 'complete'")
        for key in "gc/p":
            await looking.press(tab, key)
        assert await tab.run("location.pathname + document.activeElement.tagName") in ("/keysBODY", "/keysMAIN")
        # Dark, though the system is light.
        await tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
        assert await tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(14, 18, 23)"
        await tab.call("Page.close")

    looking.run(use())


def test_a_provider_is_paused_and_resumed_by_keyboard(looking: Looking) -> None:
    async def act(name: str, words: str) -> None:
        tab = await looking.tab()
        await looking.go(tab, f"/apps/demo/providers/apns/{name}?back=/apps")
        await looking.tab_to(tab, "Why?")
        await tab.call("Input.insertText", text="trial")
        await looking.tab_to(tab, words)
        await looking.press(tab, "Enter")
        await tab.until("document.title.startsWith('Done') || document.title.includes(') Done')")
        await tab.call("Page.close")

    looking.run(act("pause", "Pause apns"))
    assert looking.world.stores.partitions[0].breaker.stopped(looking.world.pipeline.provider.id) is not None
    looking.run(act("resume", "Resume apns"))
    assert looking.world.stores.partitions[0].breaker.stopped(looking.world.pipeline.provider.id) is None


def test_a_row_changes_by_itself(looking: Looking) -> None:
    async def watch() -> None:
        tab = await looking.tab()
        await looking.go(tab, "/apps")
        looking.world.pipeline.registry.save_app(AppSettings("newcomer"))
        await tab.until("document.querySelector('main').textContent.includes('newcomer')")
        assert await tab.run("document.getElementById('live').textContent.startsWith('Live,')")
        await tab.call("Page.close")

    looking.run(watch())


def test_new_rows_of_the_log_wait_and_come_by_themselves_if_it_is_followed(looking: Looking) -> None:
    pipeline = looking.world.pipeline

    def push(id: str) -> None:
        pipeline.publish(message(id=id, seconds=time.time() - START.timestamp()))
        pipeline.run()
        while pipeline.ledger.flush(pipeline.journal):
            pass

    async def watch() -> None:
        tab = await looking.tab()
        await looking.go(tab, "/log")
        shown = await tab.run("document.querySelector('table.log').textContent")
        push("later")
        # Asked for at once, not after five seconds.
        await looking.press(tab, "p")
        await looking.press(tab, "p")
        await tab.until("/Show \\d+ new/.test(document.getElementById('new').textContent)")
        assert await tab.run("document.querySelector('table.log').textContent") == shown
        await looking.go(tab, "/log?follow=1")
        push("followed")
        await tab.until("document.querySelector('table.log td a').href.includes('event=followed')")
        assert await tab.run("document.getElementById('live').textContent.startsWith('Live,')")
        assert looking.complaints() == []
        # Its stream ends with it.
        await looking.go(tab, "/apps")
        await tab.call("Page.close")

    looking.run(watch())


def test_names_of_others_are_text(found: Crawled) -> None:
    for text in found.answers:
        assert "<svg onload" not in text
        assert "\u202e" not in text
        assert "49';--" not in text


def test_no_answer_has_a_token_a_text_or_a_key(chat: World, found: Crawled) -> None:
    for secret in chat.secrets:
        assert [text for text in found.answers if secret in text] == [], secret


def test_no_statement_reads_a_credential(found: Crawled) -> None:
    assert any("FROM carillon.devices" in one for one in found.statements)
    assert [one for one in found.statements if re.search(r"\b(credential|password)\b|SELECT \*", one)] == []


def test_every_answer_is_small(chat: World, found: Crawled) -> None:
    with signed_in(chat) as client:
        for address in (some[0] for some in found.addresses.values() if some):
            answer = client.get(address)
            assert len(answer.content) <= 60_000, address
            assert int(answer.headers["content-length"]) <= 12_000, address


def test_the_style_sheet_and_the_script_are_small() -> None:
    sizes = {each.name: len(each.read_bytes()) for each in files("worker.dashboard").joinpath("static").iterdir()}
    assert sizes.keys() == {"style.css", "live.js"}
    assert (sizes["style.css"] <= 18_000, sizes["live.js"] <= 7_000) == (True, True)


def test_a_server_that_is_gone_is_said(looking: Looking) -> None:
    """The last test of the module: it stops the server."""

    async def watch() -> None:
        tab = await looking.tab()
        await looking.go(tab, "/apps")
        await tab.until("document.getElementById('live').textContent.startsWith('Live,')")
        looking.world.stop()
        # Fifteen seconds without an answer, without waiting for them.
        await tab.run("{ const real = Date.now; Date.now = () => real() + 16000; }")
        await tab.until("document.getElementById('live').textContent.startsWith('Not updated since ')")
        assert "newcomer" in await tab.run("document.querySelector('main').textContent")
        await tab.call("Page.close")

    looking.run(watch())
