"""The control of a running simulator: plain HTTP/1.1 with JSON, one request a connection.

On loopback unless another address is asked for. A request shows the control's token, and its host header names this one: the
record has device tokens and payloads, and a page in a browser must not be able to ask for them.
"""

import asyncio
import contextlib
import hmac
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from worker.simulator.faults import Fault
from worker.simulator.script import Answer, Script

if TYPE_CHECKING:
    from worker.simulator.simulator import Simulator

MAX_BODY: Final = 64 << 20
PAGE: Final = 100_000


class ControlError(Exception):
    """A control request that cannot be served: a status and a sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Inflict(msgspec.Struct, forbid_unknown_fields=True):
    fault: Fault
    connection: int | None = None


class Control:
    """Serves GET /accepted, /refused, /counts, /connections, /ca and POST /script, /tokens, /opened, /inflict, /reset.

    A path may begin with the kind of simulator that is meant; else it is the first one.
    """

    def __init__(self, simulator: "Simulator") -> None:
        self._simulator = simulator
        #: By kind.
        self.simulators = {simulator.service.kind: simulator}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port."""
        self._server = await asyncio.start_server(self._serve, host, port)
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            status, body = await self._answer(reader)
            head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[str, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, _, rest = head[0].partition(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        try:
            body = await _body(reader, int(headers.get("content-length") or 0))
            self._admit(headers)
            url = urlsplit(rest.split(" ")[0])
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            return "200 OK", msgspec.json.encode(self._route(method, url.path, query, body))
        except ControlError as error:
            return error.status, msgspec.json.encode({"error": str(error)})
        except (msgspec.DecodeError, ValueError) as error:
            return "400 Bad Request", msgspec.json.encode({"error": str(error)})

    def _admit(self, headers: dict[str, str]) -> None:
        simulator = self._simulator
        host = headers.get("host", "")
        name = host[1 : host.find("]")] if host.startswith("[") else host.rpartition(":")[0] or host
        if name not in ("localhost", simulator.control_host, *simulator.settings.names) and not _is_address(name):
            raise ControlError("403 Forbidden", "the host header names another host: see --name")
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            token.strip().encode(), simulator.control_token.encode()
        ):
            raise ControlError(
                "401 Unauthorized", "the header 'authorization: bearer TOKEN' is needed, see where it was started"
            )

    def _route(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        _, kind, *rest = path.split("/", 2)
        simulator = self.simulators.get(kind) if rest else None
        if simulator is None:
            return _answered(self._simulator, method, path, query, body)
        return _answered(simulator, method, f"/{rest[0]}", query, body)


def _answered(simulator: "Simulator", method: str, path: str, query: dict[str, str], body: bytes) -> Any:
    match method, path:
        case "GET", "/counts":
            return simulator.counts
        case "GET", "/accepted" | "/refused" | "/requests":
            return _entries(simulator, path, query)
        case "GET", "/connections":
            return [
                {"number": c.number, "opened": c.opened * 1000, "requests": c.requests, "open": len(c.core.open)}
                for c in simulator.connections.values()
            ]
        case "GET", "/ca":
            return {"pem": simulator.ca_pem, "path": str(simulator.ca_path)}
        case "POST", "/script":
            simulator.set_script(msgspec.json.decode(body, type=Script))
        case "POST", "/tokens":
            simulator.set_tokens(msgspec.json.decode(body, type=dict[str, Answer]))
        case "POST", "/inflict":
            wish = msgspec.json.decode(body, type=_Inflict)
            return {"connections": simulator.inflict(wish.fault, wish.connection)}
        case "POST", "/reset":
            simulator.reset()
        case _:
            try:
                return simulator.service.control(method, path, query, body)
            except LookupError as error:
                raise ControlError("404 Not Found", f"there is no {method} {path}") from error
    return {"done": True}


def _entries(simulator: "Simulator", path: str, query: dict[str, str]) -> list[dict[str, Any]]:
    after, limit = int(query.get("after", 0)), int(query.get("limit", PAGE))
    found = simulator.record.since(after, limit, query.get("token", ""))
    wanted = {"/requests": (True, False), "/accepted": (True,), "/refused": (False,)}[path]
    return [as_json(entry) for entry in found if entry.accepted in wanted]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


async def _body(reader: asyncio.StreamReader, length: int) -> bytes:
    if length > MAX_BODY:
        raise ControlError("413 Content Too Large", "the document is too large")
    return await reader.readexactly(length)


def as_json(entry: Any) -> dict[str, Any]:
    """An entry as the control gives it."""
    return {**entry._asdict(), "accepted": entry.accepted}
