"""Takes the screenshots of docs/dashboard.md from a system that really runs: `python -m docs.screenshots`. It takes some minutes.

It starts `carillon up` in a directory of its own, with simulators, lets people talk, and then points one app's provider to a port
at which nobody listens. Chromium has to be installed.
"""

import asyncio
import base64
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from config.settings import load
from producers import Publisher
from producers import events as ev
from tests.browser import chromium
from worker.cli import _own_simulator as own
from worker.core.model import AppSettings, Provider
from worker.embedded import joined
from worker.process.by_hand import by_hand
from worker.process.runtime import Runtime
from worker.providers.apns.settings import ApnsSettings

IMAGES: Final = Path(__file__).parent / "images"
#: Seconds of talk before the outage, and of the outage.
CALM: Final = 150
OUTAGE: Final = 90
USERS: Final = (
    "ackbar",
    "bodhi",
    "cassian",
    "chewie",
    "finn",
    "han",
    "jyn",
    "lando",
    "leia",
    "luke",
    "poe",
    "rey",
    "rose",
    "wedge",
)
CHANNELS: Final = ("general", "random", "falcon")
#: File: path, width, scheme.
SHOTS: Final = {
    "dashboard-overview": ("/", 1280, "light"),
    "dashboard-phone": ("/", 390, "dark"),
    "dashboard-provider": ("/apps/forum/providers/apns", 1280, "light"),
    "dashboard-conditions": ("/conditions", 1280, "light"),
    "dashboard-log": ("/log?time=15m", 1280, "light"),
    "dashboard-confirm": ("/apps/forum/providers/apns/pause?back=/apps/forum/providers/apns", 1280, "light"),
}


def main() -> None:
    seconds = [int(word) for word in sys.argv[1:]] or [CALM, OUTAGE]
    calm, outage = seconds[0], seconds[-1]
    with tempfile.TemporaryDirectory(prefix="carillon-screenshots-") as name:
        directory = Path(name)
        log = (directory / "log").open("wb")
        command = [sys.executable, "-m", "worker.cli", "up", "--simulator"]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("CARILLON_")}
        environ |= {"CARILLON_DATA_DIR": str(directory / ".carillon"), "CARILLON_FLEET": "staging"}
        system = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)
        try:
            url, password = _up(directory / "log")
            settings = load({key: value for key, value in environ.items() if key.startswith("CARILLON_")})
            with joined(settings) as urls:
                runtime = Runtime(settings, urls)
                with Publisher(urls.redis) as publisher:
                    _populate(runtime, publisher)
                    _talk(publisher, calm)
                    _cut_off(runtime)
                    _talk(publisher, outage)
                runtime.close()
            form = {"name": "carillon", "password": password, "next": "/"}
            answer = httpx.post(f"{url}/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"})
            [(cookie, value)] = answer.cookies.items()
            asyncio.run(_shoot(url, cookie, value, directory))
        finally:
            system.terminate()
            system.wait(60)


def _up(log: Path) -> tuple[str, str]:
    """The dashboard's address and password, once everything is up."""
    while True:
        found = re.search(r"Dashboard (http://\S+)\s+user carillon, password (\S+)", log.read_text())
        if found:
            return found[1], found[2]
        time.sleep(0.5)


def _populate(runtime: Runtime, publisher: Publisher) -> None:
    """A second app with the same simulator, and people with a phone or two in both."""
    known = own.connected(runtime.registry)["apns"]
    with by_hand(runtime) as hand:
        hand.create_app(AppSettings("forum"))
        hand.store_provider(Provider(0, "forum", "apns", known.environment, known.settings))
    rng = random.Random(7)
    for app, provider in ((own.APP, own.PROVIDERS["apns"]), ("forum", "apns")):
        for user in USERS:
            for _ in range(rng.choice((1, 1, 2))):
                publisher.register_device(app=app, user=user, token=rng.randbytes(32).hex(), provider=provider)
        for channel in CHANNELS:
            publisher.publish(
                ev.MemberAdded(
                    **_stamp(app), channel=ev.ChannelId(id=channel), users=rng.sample(USERS, rng.randint(6, 12))
                )
            )
        publisher.publish(ev.UserMuted(**_stamp(app), user="luke", target="leia"))


def _talk(publisher: Publisher, seconds: float) -> None:
    rng, ends = random.Random(int(time.time())), time.monotonic() + seconds
    while time.monotonic() < ends:
        app = rng.choice((own.APP, own.APP, "forum"))
        publisher.publish(
            ev.MessageNew(
                **_stamp(app),
                channel=ev.Channel(id=rng.choice(CHANNELS)),
                message=ev.Message(id=f"m-{uuid4().hex[:8]}", text="See you there"),
                sender=ev.Sender(id=rng.choice(USERS)),
            )
        )
        time.sleep(rng.expovariate(4))


def _cut_off(runtime: Runtime) -> None:
    """From now on nobody listens where the provider of the app `forum` is."""
    provider = next(one for one in runtime.registry.providers().values() if one.app == "forum")
    settings: ApnsSettings = provider.settings
    nowhere = ApnsSettings(settings.topic, settings.credential, settings.host, 9, settings.ca)
    with by_hand(runtime) as hand:
        hand.store_provider(Provider(provider.id, "forum", provider.name, provider.environment, nowhere))


def _stamp(app: str) -> dict[str, Any]:
    return {"id": uuid4().hex, "app": app, "at": datetime.now(UTC)}


async def _shoot(url: str, cookie: str, session: str, directory: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    async with chromium(directory / "profile") as browser:
        tab = await browser.open("about:blank", width=1280)
        await tab.call("Network.setCookie", name=cookie, value=session, url=url)
        for file, (path, width, scheme) in SHOTS.items():
            phone = width < 500
            await tab.call(
                "Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=phone
            )
            wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
            features = [{"name": name, "value": value} for name, value in wanted.items()]
            await tab.call("Emulation.setEmulatedMedia", features=features)
            await tab.call("Page.navigate", url=url + path)
            await tab.until("location.href !== 'about:blank' && document.readyState === 'complete'")
            await asyncio.sleep(2)
            end = await tab.run("document.querySelector('footer').getBoundingClientRect().bottom + scrollY")
            height = 844 if phone else min(end, 1_300)
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            shot = await tab.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
            (IMAGES / f"{file}.png").write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main()
