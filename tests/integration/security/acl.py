"""The Redis users of docs/security.md, made on a server as the page says."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

PAGE = Path(__file__).parents[3] / "docs" / "security.md"
PASSWORD = "correct-horse"


def users() -> dict[str, list[str]]:
    """The rules of each user on the page; `APP` is the app `demo`."""
    found = re.findall(r"^user (\S+) (.*)$", PAGE.read_text(), re.MULTILINE)
    return {
        name.replace("APP", "demo"): _words(rules.replace("PASSWORD", PASSWORD).replace("APP", "demo"))
        for name, rules in found
    }


def _words(rules: str) -> list[str]:
    return re.findall(r"\([^)]*\)|\S+", rules)


def make(client: Any, name: str) -> None:
    """Creates the user; the connection's own user must be allowed to."""
    client.execute_command("ACL", "SETUSER", name, *users()[name])


def url_of(url: str, name: str) -> str:
    """The same server as that user."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{name}:{PASSWORD}@{host}").geturl()


def denied(client: Any) -> list[str]:
    """What was refused since the server began, or since `ACL LOG RESET`: `user object`."""
    entries = client.execute_command("ACL", "LOG")
    return [f"{_field(entry, 'username')} {_field(entry, 'object')}" for entry in entries]


def _field(entry: Any, name: str) -> str:
    if isinstance(entry, dict):
        value = entry.get(name, entry.get(name.encode(), b""))
    else:
        pairs = dict(zip(entry[::2], entry[1::2], strict=True))
        value = pairs[name.encode()]
    return value.decode() if isinstance(value, bytes) else str(value)


def may(client: "redis.Redis", *command: str) -> bool:
    """Whether the server lets the client's user do it; other faults of the command count as yes."""
    try:
        client.execute_command(*command)
    except redis.exceptions.NoPermissionError:
        return False
    except redis.exceptions.ResponseError as fault:
        # Redis 7.0 says of a script in its own words what it may not.
        return not re.search(r"permission|can't (access|run)", str(fault))
    return True
