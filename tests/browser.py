"""Chromium without a window, driven over the DevTools protocol."""

import asyncio
import itertools
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.processes import PATIENCE, wait_until
from tests.programs import needs


class Browser:
    """Its connection, for as long as `chromium` runs."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        #: What was reported, in order.
        self.events: list[dict[str, Any]] = []

    async def listen(self) -> None:
        """Takes what comes, until the connection ends."""
        while (message := await self._socket.read_message()) is not None:
            document = json.loads(message)
            if "id" in document:
                self._waiting.pop(document["id"]).set_result(document)
            else:
                self.events.append(document)

    async def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of a command, in a session or of the browser itself."""
        number = next(self._numbers)
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        await self._socket.write_message(json.dumps(command | ({} if session is None else {"sessionId": session})))
        answer = await asyncio.wait_for(answered, PATIENCE)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def open(self, url: str, *, width: int) -> "Tab":
        """A tab with the page in it, so many pixels wide."""
        target = await self.call("Target.createTarget", url="about:blank")
        tab = Tab(self, await self.attached(target["targetId"]))
        for domain in ("Page", "Runtime", "Log", "ServiceWorker"):
            await tab.call(f"{domain}.enable")
        await tab.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
        )
        await tab.call("Page.navigate", url=url)
        return tab

    async def attached(self, target: str) -> str:
        """A session with a target."""
        session: str = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        return session

    async def service_worker(self) -> "Tab":
        """The service worker, which is a target too."""

        async def found() -> str | None:
            targets = (await self.call("Target.getTargets"))["targetInfos"]
            return next((one["targetId"] for one in targets if one["type"] == "service_worker"), None)

        worker = Tab(self, await self.attached(await until(found)))
        await worker.call("Runtime.enable")
        return worker


class Tab:
    """A page or a worker of one."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.call(method, self._session, **parameters)

    async def run(self, script: str) -> Any:
        """What an expression gives, awaited if it is a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Waits until an expression gives something that is true."""
        return await until(lambda: self.run(script))


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """What a look gives, once that is true."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await look()):  # noqa: ASYNC110 - nothing says when
            await asyncio.sleep(0.05)
    return found


@asynccontextmanager
async def chromium(directory: Path) -> AsyncIterator[Browser]:
    """A browser of its own, with an empty profile in the directory."""
    with _running(directory) as url:
        socket = await websocket_connect(url, max_message_size=64 << 20)
        browser = Browser(socket)
        listening = asyncio.create_task(browser.listen())
        try:
            yield browser
        finally:
            await browser.call("Browser.close")
            await listening
            socket.close()


@contextmanager
def _running(directory: Path) -> Iterator[str]:
    """The address of the browser's connection."""
    command = [needs("chromium"), "--headless=new", "--no-first-run", "--disable-background-networking"]
    command += [f"--user-data-dir={directory}", "--remote-debugging-port=0", "--disable-dev-shm-usage"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")
    file = directory / "DevToolsActivePort"
    process = subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # Port and path.
        wait_until(lambda: file.exists() and len(file.read_text().splitlines()) == 2)
        yield f"ws://127.0.0.1:{''.join(file.read_text().splitlines())}"
    finally:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
