"""httpx over a network of ours. httpx has no public way to hand one in, so its requests go to httpcore from here."""

import ssl
from collections.abc import Iterator
from typing import Any

import httpcore
import httpx

#: Connections kept open, and the seconds for which an idle one is.
_KEPT, _IDLE = 20, 30.0


class GuardedTransport(httpx.BaseTransport):
    """Knows no proxy and follows no redirect. Raises httpcore's exceptions."""

    def __init__(self, context: ssl.SSLContext, network: httpcore.NetworkBackend) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_IDLE,
            network_backend=network,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        answer = self._pool.handle_request(asked)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()
