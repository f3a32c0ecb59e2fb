"""TLS of a client. Imported by commands as well, so that it needs nothing else of the sender."""

import ssl


def client_context(ca: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, checked against the public CAs or only against `ca` (PEM). Raises `ssl.SSLError`, `TypeError`."""
    context = ssl.create_default_context(cadata=ca)
    context.hostname_checks_common_name = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
