"""Translates a Redis URL into Celery's broker settings. Imports no Celery and no Redis."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def broker(redis_url: str) -> dict[str, Any]:
    """`broker_url` and `broker_use_ssl` for a URL in redis-py's form.

    With `rediss://` the server's certificate and name are verified, against the system's authorities or `ssl_ca_certs`. Both
    values say so: kombu reads one or the other, and does not verify, with a warning, if that one says nothing.
    """
    parts = urlsplit(redis_url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        socket = f"redis+socket://{parts.netloc}{parts.path}?virtual_host={options.get('db', '0')}"
        return {"broker_url": socket, "broker_use_ssl": None}
    tls: dict[str, Any] = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if parts.scheme != "rediss":
        return {"broker_url": redis_url, "broker_use_ssl": None}
    tls = {"ssl_cert_reqs": "required"} | tls
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"].lower() in ("true", "1", "yes")
    said = {name: str(value).lower() if isinstance(value, bool) else value for name, value in tls.items()}
    return {"broker_url": urlunsplit(parts._replace(query=urlencode(options | said))), "broker_use_ssl": tls}
