"""Asks a running Flower. Helper of tests."""

import base64
import urllib.error
import urllib.request

AUTH = "ops:correct-horse"


def asked(
    port: int,
    path: str,
    *,
    auth: str | None = AUTH,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of an answer; 0 and nothing while there is none. With a body it is a POST."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers or {})
    if auth is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as fault:
        return fault.code, fault.read()
    except OSError:
        return 0, b""


def page(port: int, path: str) -> bytes:
    """The body of a good answer, else nothing."""
    status, body = asked(port, path)
    return body if status == 200 else b""
