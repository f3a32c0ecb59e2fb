"""One Redis URL, said in the words of Celery's broker. Imports no Celery and no Redis."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def broker(redis_url: str) -> dict[str, Any]:
    """`broker_url` and `broker_use_ssl` for a URL as redis-py reads it.

    With `rediss://` the server's certificate and name are verified, against the system's authorities or `ssl_ca_certs`.
    Celery would else connect without TLS, because it reads no `ssl_*` option from a URL unless one says how to verify.
    """
    parts = urlsplit(redis_url)
    options = dict(parse_qsl(parts.query))
    tls: dict[str, Any] = {name: options.pop(name) for name in list(options) if name.startswith("ssl_")}
    if parts.scheme != "rediss":
        return {"broker_url": redis_url, "broker_use_ssl": None}
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"].lower() in ("true", "1", "yes")
    return {
        "broker_url": urlunsplit(parts._replace(query=urlencode(options))),
        "broker_use_ssl": {"ssl_cert_reqs": "required"} | tls,
    }
