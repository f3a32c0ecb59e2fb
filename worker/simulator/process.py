"""Simulators in a separate process, and the program that it runs."""

import asyncio
import contextlib
import gc
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import msgspec

from worker.simulator.apns.settings import Settings
from worker.simulator.faults import Fault
from worker.simulator.script import Answer, Script
from worker.simulator.sealed import DeviceKeys
from worker.simulator.settings import CommonSettings
from worker.simulator.simulator import Simulator
from worker.simulator.thread import new_event_loop
from worker.simulator.web.subscriptions import Wish

#: A record of a million rows of atoms has nothing that garbage collection could free.
GC_THRESHOLDS: Final = (50_000, 20, 100)
#: The name of a kind for people.
NAMES: Final = {"apns": "APNs", "fcm": "FCM", "web": "Web Push"}


class ControlClient:
    """A client of a simulator's control API. Raises OSError, or ValueError if a request is refused."""

    def __init__(self, host: str, port: int, token: str, timeout: float = 30.0, kind: str = "") -> None:
        """`token`: that of the control API, which the simulator prints. `kind`: one of several simulators; default: the first."""
        self._host, self._port, self._timeout = host, port, timeout
        self._prefix = f"/{kind}" if kind else ""
        self._headers = {"authorization": f"bearer {token}"}

    def _ask(self, method: str, path: str, document: object = None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            body = None if document is None else msgspec.json.encode(document)
            connection.request(method, self._prefix + path, body, self._headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer

    def counts(self) -> dict[str, Any]:
        """Totals."""
        found: dict[str, Any] = self._ask("GET", "/counts")
        return found

    def accepted(self, after: int = 0) -> list[dict[str, Any]]:
        """The accepted notifications after the entry of that number."""
        found: list[dict[str, Any]] = self._ask("GET", f"/accepted?after={after}&limit=10000000")
        return found

    def opened(self, keys: Mapping[str, DeviceKeys]) -> list[dict[str, Any]]:
        """What apps with these keys, by device token, find in the sealed notifications that were accepted."""
        found: list[dict[str, Any]] = self._ask("POST", "/opened", keys)
        return found

    def requests(self, after: int = 0, limit: int = 10_000_000, token: str = "") -> list[dict[str, Any]]:
        """All requests, after the entry of that number, to devices whose tokens begin so.

        With many entries the simulator answers nobody meanwhile.
        """
        found: list[dict[str, Any]] = self._ask("GET", f"/requests?after={after}&limit={limit}&token={quote(token)}")
        return found

    def connections(self) -> list[dict[str, Any]]:
        """The connections open now."""
        found: list[dict[str, Any]] = self._ask("GET", "/connections")
        return found

    def set_oauth(self, script: Script) -> None:
        """Replace the script of FCM's token endpoint."""
        self._ask("POST", "/oauth", script)

    def subscriptions(self, wish: Wish) -> list[dict[str, Any]]:
        """Makes subscriptions of browsers, in the form of `JSON.stringify`."""
        found: list[dict[str, Any]] = self._ask("POST", "/subscriptions", wish)
        return found

    def surviving(self) -> list[dict[str, Any]]:
        """What a browser would get that was away all the time."""
        found: list[dict[str, Any]] = self._ask("GET", "/surviving")
        return found

    def set_script(self, script: Script) -> None:
        """Replace the script."""
        self._ask("POST", "/script", script)

    def set_tokens(self, tokens: Mapping[str, Answer]) -> None:
        """Add answers for single device tokens."""
        self._ask("POST", "/tokens", tokens)

    def inflict(self, fault: Fault, connection: int | None = None) -> None:
        """Carry out a fault now."""
        self._ask("POST", "/inflict", {"fault": fault, "connection": connection})

    def reset(self) -> None:
        """Forget the record and every script but the first."""
        self._ask("POST", "/reset", {})


class SimulatorProcess:
    """Runs simulators with these settings as one child process; `control` and `controls` read their records."""

    def __init__(self, *settings: CommonSettings) -> None:
        self._settings = settings or (Settings(),)
        self._process: subprocess.Popen[str] | None = None
        self.host = ""
        self.port = 0
        self.control_port = 0
        self.ca_path = Path()
        self.ca_pem = ""
        #: The control of the first simulator; and of each, by its kind.
        self.control: ControlClient
        self.controls: dict[str, ControlClient] = {}
        self.ports: dict[str, int] = {}

    def start(self) -> None:
        """Start and wait until it listens. Raises RuntimeError if it ends instead. An interrupted wait ends the child."""
        try:
            self._start()
        except BaseException:
            if self._process is not None and self._process.poll() is None:
                self.stop()
            raise

    def _start(self) -> None:
        command = [sys.executable, "-P", "-m", "worker.simulator", "-"]
        # Finds our package first, even if the working directory has one of that name.
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
        environ = os.environ | {"PYTHONPATH": path}
        self._process = subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(self._settings).decode())
        self._process.stdin.close()
        line = self._process.stdout.readline()
        if not line:
            with self._process as process:
                raise RuntimeError(f"the simulator ended with status {process.wait()}")
        where = json.loads(line)
        self.host, self.port, self.control_port = where["host"], where["port"], where["control_port"]
        self.ca_path = Path(where["ca"])
        self.ca_pem = self.ca_path.read_text()
        self.ports = where["ports"]
        address = (where["control_host"], self.control_port, where["control_token"])
        self.control = ControlClient(*address)
        self.controls = {kind: ControlClient(*address, kind=kind) for kind in self.ports}

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """End it with SIGTERM; its exit status."""
        assert self._process is not None
        with self._process as process:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                return process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def run(settings: Sequence[CommonSettings], *, as_json: bool) -> None:
    """Run simulators until SIGTERM or Ctrl-C; prints their addresses when they listen. The first has the control API of all."""
    gc.set_threshold(*GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(settings, as_json=as_json))


async def _run(settings: Sequence[CommonSettings], *, as_json: bool) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopping.set)
    # One certificate serves them all.
    names = tuple(dict.fromkeys(name for one in settings for name in one.names))
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(Simulator(msgspec.structs.replace(settings[0], names=names)))
        simulators = [first]
        for one in settings[1:]:
            directory = one.directory or str(first.ca_path.parent)
            others = msgspec.structs.replace(one, control_port=None, directory=directory, names=names)
            simulators.append(await stack.enter_async_context(Simulator(others)))
            first.control_too(simulators[-1])
        for simulator in simulators:
            simulator.service.say = _say
        where = {
            "host": first.host,
            "port": first.port,
            "ports": {simulator.service.kind: simulator.port for simulator in simulators},
            "control_host": first.control_host,
            "control_port": first.control_port,
            "control_token": first.control_token,
            "ca": str(first.ca_path),
        }
        text = json.dumps(where) if as_json else _sentences(where)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        await stopping.wait()


def _say(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def _sentences(where: dict[str, Any]) -> str:
    lines = [f"{NAMES[kind]} simulator on https://{where['host']}:{port}" for kind, port in where["ports"].items()]
    lines.append(f"trust the CA in {where['ca']}")
    if "apns" in where["ports"]:
        address = f"--host {where['host']} --port {where['ports']['apns']} --ca {where['ca']}"
        lines.append(f"for a provider of Carillon: carillon push apn {address}, with the rest as for Apple")
    if where["control_port"]:
        host = f"[{where['control_host']}]" if ":" in where["control_host"] else where["control_host"]
        lines.append(f"control on http://{host}:{where['control_port']} (GET /counts, /accepted, POST /script)")
        if len(where["ports"]) > 1:
            lines.append(f"it has each kind under its name: {', '.join(f'/{kind}/counts' for kind in where['ports'])}")
        lines.append(f"its requests need the header 'authorization: bearer {where['control_token']}'")
    return "\n".join(lines)
