"""APNs by granian, for tests: an RSGI application that answers each notification as `mix` says. Ends with its standard input.

python -m tests.system.foreign_servers.granian_server CERTIFICATE KEY PORT    prints an account in JSON at the end of its input
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

from granian.constants import HTTPModes
from granian.server.embed import Server

from tests.system.foreign_servers.mix import MIXED, reply_to

account: Final = {"requests": 0, "mixed": 0}


async def app(scope: Any, protocol: Any) -> None:
    apns_id = scope.headers["apns-id"]
    answer = reply_to(scope.path, apns_id, await protocol())
    account["requests"] += 1
    account["mixed"] += answer is MIXED
    headers = [("apns-id", apns_id)]
    if answer.retry_after is not None:
        headers.append(("retry-after", str(answer.retry_after)))
    if answer.document is None:
        protocol.response_empty(answer.status, headers)
    else:
        protocol.response_str(answer.status, headers, json.dumps(answer.document))


async def main(certificate: str, key: str, port: str) -> None:
    files: dict[str, Any] = {"ssl_cert": Path(certificate), "ssl_key": Path(key)}
    server = Server(app, port=int(port), http=HTTPModes.http2, websockets=False, log_enabled=False, **files)
    serving = asyncio.create_task(server.serve())
    await asyncio.to_thread(sys.stdin.read)
    sys.stdout.write(json.dumps(account))
    sys.stdout.flush()
    server.stop()
    await serving


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
