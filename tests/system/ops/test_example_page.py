"""The example page for Web Push in Chromium.

Messages are delivered into the service worker by the DevTools protocol: the push service of the browser's maker is out of reach.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, Tab, chromium, until
from tests.integration.web.test_example_page import KEYS, Chat
from worker.core.batch import Job, Sending
from worker.core.model import Provider
from worker.demo.page import Page
from worker.providers.web.kind import KIND
from worker.providers.web.settings import WebSettings

pytestmark = pytest.mark.slow


@pytest.fixture
def page() -> Iterator[Page]:
    served = Page(Chat())
    yield served
    served.close()


class Shown:
    """The page in a browser that lets it show notifications."""

    def __init__(self, browser: Browser, tab: Tab, worker: Tab, url: str, registration: str) -> None:
        self.browser, self.tab, self.worker = browser, tab, worker
        self._url, self._registration = url, registration

    async def count_shown(self) -> None:
        """Makes the worker count what it has shown. Chromium forgets a notification that is asked for while it is being shown."""
        await self.worker.run(
            """
            self.finished = 0;
            const original = registration.showNotification.bind(registration);
            registration.showNotification = async (...given) => { await original(...given); self.finished += 1; };
            """
        )

    async def deliver(self, payload: bytes | str) -> None:
        """Returns when it is shown."""
        before = await self.worker.run("self.finished")
        text = payload if isinstance(payload, str) else payload.decode()
        await self.tab.call(
            "ServiceWorker.deliverPushMessage", origin=self._url, registrationId=self._registration, data=text
        )
        await self.worker.until(f"self.finished > {before}")

    async def notifications(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.worker.run(
            "registration.getNotifications().then(all => all.map(one =>"
            " ({title: one.title, body: one.body, tag: one.tag, data: one.data})))"
        )
        return found

    async def titles(self, *wanted: str) -> None:
        """Waits until these notifications are shown and no others."""

        async def same() -> bool:
            return sorted(one["title"] for one in await self.notifications()) == sorted(wanted)

        await until(same)

    async def click(self, title: str) -> None:
        """As the system does when somebody clicks: what a worker may do only then is done in its place."""
        await self.worker.run(
            f"""(async () => {{
              self.did = [];
              WindowClient.prototype.focus = async function () {{ self.did.push("focus"); return this; }};
              clients.openWindow = async (url) => {{ self.did.push(url); }};
              const shown = (await registration.getNotifications()).find(one => one.title === {json.dumps(title)});
              const clicked = new NotificationEvent("notificationclick", {{notification: shown}});
              clicked.waitUntil = () => {{}};
              self.dispatchEvent(clicked);
            }})()"""
        )

    def faults(self) -> list[Any]:
        """What a person would see in the console as a fault."""
        bad = ("error", "warning")
        return [
            parameters
            for event in self.browser.events
            for parameters in [event["params"]]
            if event["method"] == "Runtime.exceptionThrown"
            or (event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in bad)
            or (event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in bad)
        ]


@asynccontextmanager
async def shown(page: Page, directory: Path, *, width: int = 1280) -> AsyncIterator[Shown]:
    async with chromium(directory) as browser:
        await browser.call("Browser.grantPermissions", origin=page.url, permissions=["notifications"])
        tab = await browser.open(f"{page.url}/", width=width)
        await tab.until("document.readyState === 'complete' && document.getElementById('state').textContent !== '…'")
        await tab.run("navigator.serviceWorker.ready.then(() => true)")

        async def registration() -> str | None:
            registrations = [
                one
                for event in browser.events
                if event["method"] == "ServiceWorker.workerRegistrationUpdated"
                for one in event["params"]["registrations"]
            ]
            return registrations[-1]["registrationId"] if registrations else None

        found = Shown(browser, tab, await browser.service_worker(), page.url, await until(registration))
        await found.count_shown()
        yield found


def rendered(number: int = 1, *, message: str = "m1", channel: str = "general", body: str = "hello") -> bytes:
    """What Carillon encrypts for a browser."""
    aps = {"alert": {"title": "Leia", "subtitle": "General", "body": body}, "sound": "default", "thread-id": channel}
    document = json.dumps({"aps": aps, "carillon": {"message": message, "channel": channel}})
    head = '{"aps": {'
    sending = Sending("1-0", f"e-{message}", head, document.removeprefix(head), 2_000_000_000, f"tag-{message}")
    provider = Provider(1, "page", "web", "production", WebSettings("mailto:push@example.com", *KEYS))
    job = Job(0, 1, "you", "https://fcm.googleapis.com/fcm/send/x", 0, badge=number)
    [push] = KIND.render(provider, [sending], [job], [job.badge])
    return push.payload


def test_a_message_is_shown(page: Page, tmp_path: Path) -> None:
    async def check() -> None:
        async with shown(page, tmp_path) as browser:
            await browser.deliver(rendered(body="hello, you"))
            await browser.titles("Leia · General")
            [one] = await browser.notifications()
            assert (one["body"], one["tag"]) == ("hello, you", "tag-m1")
            assert one["data"]["carillon"]["message"] == "m1"
            assert browser.faults() == []

    asyncio.run(check())


def test_a_repeat_replaces_and_many_of_a_channel_become_one(page: Page, tmp_path: Path) -> None:
    async def check() -> None:
        async with shown(page, tmp_path) as browser:
            await browser.deliver(rendered(message="m1"))
            await browser.titles("Leia · General")
            await browser.deliver(rendered(message="m1", body="hello again"))
            await until(lambda: bodies(browser, "hello again"))
            for number in (2, 3):
                await browser.deliver(rendered(message=f"m{number}"))
                await browser.titles(*number * ["Leia · General"])
            await browser.deliver(rendered(message="m4"))
            await browser.titles("Leia · General (4)")
            await browser.deliver(rendered(message="m5", channel="random"))
            await browser.titles("Leia · General (4)", "Leia · General")
            assert browser.faults() == []

    asyncio.run(check())


async def bodies(browser: Shown, *wanted: str) -> bool:
    return [one["body"] for one in await browser.notifications()] == list(wanted)


def test_the_number_is_put_on_the_icon(page: Page, tmp_path: Path) -> None:
    async def check() -> None:
        async with shown(page, tmp_path) as browser:
            await browser.worker.run(
                "self.navigator.setAppBadge = async (number) => { self.badge = number; };"
                "self.navigator.clearAppBadge = async () => { self.badge = 'none'; }"
            )
            await browser.deliver(rendered(7))
            assert await browser.worker.until("self.badge") == 7
            await browser.deliver(rendered(0, message="m2"))
            assert await browser.worker.until("self.badge === 'none'")
            assert browser.faults() == []

    asyncio.run(check())


def test_a_click_opens_the_page_and_closes_the_channel(page: Page, tmp_path: Path) -> None:
    async def check() -> None:
        async with shown(page, tmp_path) as browser:
            for number, channel in ((1, "general"), (2, "general"), (3, "random")):
                await browser.deliver(rendered(message=f"m{number}", channel=channel))
                await browser.titles(*number * ["Leia · General"])
            await browser.click("Leia · General")
            await browser.titles("Leia · General")
            assert await browser.tab.until("document.querySelector('#opened li')?.textContent") == "general"
            assert await browser.worker.run("self.did") == ["focus"]

            await browser.worker.run("clients.matchAll = async () => []")
            await browser.click("Leia · General")
            await browser.titles()
            assert await browser.worker.until("self.did[0]") == f"{page.url}/"
            assert browser.faults() == []

    asyncio.run(check())


def test_every_push_shows_something(page: Page, tmp_path: Path) -> None:
    async def check() -> None:
        async with shown(page, tmp_path) as browser:
            await browser.deliver("plain words")
            await browser.titles("plain words")
            await browser.deliver('{"web_push": 8030}')
            await browser.titles("plain words", "New message")
            await browser.deliver("")
            await browser.titles("plain words", "New message", "New message")
            assert browser.faults() == []

    asyncio.run(check())


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_has_no_fault(page: Page, tmp_path: Path, width: int) -> None:
    async def check() -> None:
        async with shown(page, tmp_path, width=width) as browser:
            assert await browser.tab.run("document.getElementById('state').textContent") == (
                "This browser is not notified."
            )
            assert await browser.tab.run("getComputedStyle(document.getElementById('subscribe')).display") != "none"
            assert await browser.tab.run("document.documentElement.scrollWidth") <= width
            assert browser.faults() == []

    asyncio.run(check())
