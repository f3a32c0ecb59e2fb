"""A webhook's settings: where its batches go, and how they are signed."""

import re
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal
from urllib.parse import urlsplit

from worker.providers.base import SettingsError

#: What HS256 asks for (RFC 7518), and no blanks, so that it survives every shell and file.
_SECRET: Final = re.compile(r"[\x21-\x7e]{32,256}")


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    kind: ClassVar[str] = "webhook"

    #: Not in `repr`: people put words into a URL that only the receiver should see.
    url: str = field(default="", repr=False)
    #: What batches are signed with, the newest first; two while they are being changed.
    secrets: tuple[str, ...] = field(default=(), repr=False)
    signing: Literal["hmac", "jwt"] = "hmac"
    #: PEM of the CA to trust instead of the public ones.
    ca: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """With its port, where it has one."""
        return urlsplit(self.url).netloc


def check_secret(secret: str) -> str:
    if not _SECRET.fullmatch(secret):
        raise SettingsError("secret: 32 to 256 letters, digits and signs, without blanks")
    return secret


def check_url(url: str) -> tuple[str, int]:
    """Host and port of an https URL. Raises `SettingsError`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, 443 if parts.port is None else parts.port
    except ValueError:
        raise SettingsError("url: not a URL, such as https://api.example.com/push") from None
    if parts.scheme != "https" or not host:
        raise SettingsError("url: only https, such as https://api.example.com/push")
    if port == 0:
        raise SettingsError("url: nothing listens on port 0")
    if "@" in parts.netloc or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise SettingsError("url: without a user, a password, a fragment or characters beyond ASCII")
    return host, port


def shown_url(url: str) -> str:
    """The address without its query, which may hold a token."""
    address, query, _ = url.partition("?")
    return f"{address}?…" if query else address
