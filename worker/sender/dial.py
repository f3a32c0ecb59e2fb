"""TCP connections to a host that may have several addresses, some of which do not answer (Happy Eyeballs, RFC 8305).

The host is looked up anew for each connection. Its addresses are tried in turn, IPv6 and IPv4 by turns, the next
one 250 ms after the last or as soon as that fails; the first that connects is used. Which ones did not answer is remembered for
some minutes, and they are tried last. asyncio has this on its own loop, but uvloop has not.
"""

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Final

from worker.sender.proxy import Proxy, open_tunnel
from worker.sender.route import Address, Resolve

#: Seconds after which the next address is tried in parallel.
STAGGER: Final = 0.25
#: Seconds for which an address that did not answer is tried last.
REMEMBERED: Final = 600.0
#: Addresses of one host that are tried for one connection.
_MOST: Final = 16


class Dialer:
    """Makes TCP connections to one host, through `proxy` where there is one. Belongs to one event loop."""

    def __init__(self, host: str, port: int, *, proxy: Proxy | None = None, resolve: Resolve | None = None) -> None:
        self.host = host
        self.port = port
        self._proxy = proxy
        self._resolve = resolve
        #: The look-up in progress: while one hangs, no other one is started.
        self._looking: asyncio.Task[list[Address]] | None = None
        #: By address: until when it is tried last, in the loop's time.
        self._distrusted: dict[Address, float] = {}

    @property
    def name(self) -> str:
        """The first hop, for causes: the host or its proxy."""
        return "connect" if self._proxy is None else "proxy"

    async def dial(self) -> tuple[socket.socket, Address]:
        """A connected socket and the address behind it, without a time limit. Raises `OSError`, `UnicodeError`, `ProxyError`."""
        if self._proxy is None:
            return await self._first(await self._addresses(self._resolve or look_up, self.host, self.port))
        target = self.host, self.port
        if self._resolve is not None:
            # The proxy must use one of these addresses, so it gets no name to look up.
            addresses = await self._resolve(self.host, self.port)
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            target = addresses[0].sockaddr[:2]
        sock, address = await self._first(await self._addresses(look_up, self._proxy.host, self._proxy.port))
        try:
            await open_tunnel(sock, self._proxy, *target)
        except BaseException:
            sock.close()
            raise
        return sock, address

    async def _addresses(self, resolve: Resolve, host: str, port: int) -> list[Address]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(_list(resolve(host, port)))
            self._looking.add_done_callback(_forget_fault)
        return in_turn(await asyncio.shield(self._looking), self._distrusted_now())[:_MOST]

    def distrust(self, *addresses: Address) -> None:
        """Tries these last for a while: they did not answer, or TLS with them failed."""
        until = asyncio.get_running_loop().time() + REMEMBERED
        self._distrusted.update(dict.fromkeys(addresses, until))

    def _distrusted_now(self) -> Collection[Address]:
        now = asyncio.get_running_loop().time()
        self._distrusted = {address: until for address, until in self._distrusted.items() if until > now}
        return self._distrusted

    async def _first(self, addresses: Iterable[Address]) -> tuple[socket.socket, Address]:
        """The first address that connects. If none does, raises what the attempts raised."""
        waiting, faults = deque(addresses), list[BaseException]()
        failed: list[Address] = []
        attempts: dict[asyncio.Task[socket.socket], Address] = {}
        try:
            while waiting or attempts:
                if waiting:
                    address = waiting.popleft()
                    attempts[asyncio.create_task(_connect(address))] = address
                done, _ = await asyncio.wait(
                    attempts, timeout=STAGGER if waiting else None, return_when="FIRST_COMPLETED"
                )
                for task in done:
                    if (fault := task.exception()) is None:
                        address = attempts.pop(task)
                        # Addresses that were tried earlier had a head start.
                        self.distrust(*failed, *attempts.values())
                        self._distrusted.pop(address, None)
                        return task.result(), address
                    faults.append(fault)
                    failed.append(attempts.pop(task))
        finally:
            for task in attempts:
                task.cancel()
                task.add_done_callback(_close)
        refused = [fault for fault in faults if isinstance(fault, ConnectionRefusedError)]
        raise (refused or faults or [socket.gaierror(socket.EAI_NONAME, "no address")])[0]


def in_turn(addresses: Iterable[Address], distrusted: Collection[Address] = ()) -> list[Address]:
    """The addresses in the order to try them: families alternate, beginning with that of the first; distrusted ones come last."""
    found = list(dict.fromkeys(addresses))
    return [
        *_by_turns([each for each in found if each not in distrusted]),
        *_by_turns([each for each in found if each in distrusted]),
    ]


def _by_turns(addresses: list[Address]) -> Iterable[Address]:
    families = dict.fromkeys(address.family for address in addresses)
    rows = zip_longest(*([each for each in addresses if each.family == family] for family in families))
    return (address for address in chain.from_iterable(rows) if address is not None)


async def look_up(host: str, port: int) -> list[Address]:
    """The addresses of a host in the system's order. Raises `OSError` or `UnicodeError`.

    In a thread of its own: a loop has few threads for look-ups, and some hosts whose name servers are silent would hold them all.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Address]] = loop.create_future()

    def tell(act: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(lambda: None if future.done() else act())

    def run() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - it is raised where somebody waits for it
            fault = error
            tell(lambda: future.set_exception(fault))
        else:
            addresses = [Address(family, sockaddr) for family, _, _, _, sockaddr in found]
            tell(lambda: future.set_result(addresses))

    threading.Thread(target=run, name="carillon-look-up", daemon=True).start()
    return await future


async def _list(addresses: Awaitable[list[Address]]) -> list[Address]:
    return await addresses


def _forget_fault(task: asyncio.Task[list[Address]]) -> None:
    """Sets the result, unless the caller has given up."""
    if not task.cancelled():
        task.exception()


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def _close(task: asyncio.Task[socket.socket]) -> None:
    """Closes the socket of an attempt that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
