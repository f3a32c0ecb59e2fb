"""Whether a route can be connected to, without a request."""

import asyncio

from worker.sender.causes import NO_HTTP2, ConnectError
from worker.sender.connection import connect
from worker.sender.dial import Dialer
from worker.sender.proxy import Proxy
from worker.sender.route import Route


async def fault_of(route: Route, *, proxy: Proxy | None, deadline: float) -> str | None:
    """Why there is no TLS connection, as a fixed phrase; None where there is one, which is closed again.

    It takes `deadline` seconds at most. Raises what `Route.access` does.
    """
    access = route.access()
    access.context.set_alpn_protocols(["h2", "http/1.1"])
    dialer = Dialer(access.endpoint.host, access.endpoint.port, proxy=proxy, resolve=access.resolve)
    try:
        async with asyncio.timeout(deadline):
            connection = await connect(dialer, access, lambda _: None)
    except TimeoutError:
        return f"{dialer.name}: timed out"
    except ConnectError as fault:
        return None if fault.cause == NO_HTTP2 else fault.cause
    connection.close("closed")
    await connection.over.wait()
    return None
