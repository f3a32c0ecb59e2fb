"""Translates the URL of Celery's broker into Celery's settings. Imports no Celery and no Redis."""

from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from producers.urls import fault_of_parts, fault_of_redis, parse

#: The kinds of queues that RabbitMQ has.
QueueType = Literal["quorum", "classic"]
_AMQP: Final = ("amqp", "amqps")
#: Files and checks of TLS, as a Redis URL has them, and as the AMQP library calls them.
_TLS: Final = {
    "ssl_ca_certs": "ca_certs",
    "ssl_certfile": "certfile",
    "ssl_keyfile": "keyfile",
}
_EXAMPLE: Final = "a URL such as amqp://user:password@rabbit.example.org:5672/virtual-host is needed"
#: Seconds that a write to RabbitMQ may take: while it has no memory or disk left, it reads nothing from who publishes.
_WRITE: Final = 10.0
#: Celery has no broker in a cluster.
CLUSTER: Final = "a Redis Cluster cannot be Celery's broker: name a single Redis, Sentinels or RabbitMQ"


def is_cluster(url: str) -> bool:
    """Whether the URL names a Redis Cluster."""
    return parse(url).kind == "cluster"


def is_amqp(url: str) -> bool:
    """Whether the URL names RabbitMQ."""
    return url.partition("://")[0] in _AMQP


def fault_of_broker(url: str) -> str | None:
    """Why the URL cannot be one of Celery's broker, in a sentence that repeats none of it; None: it can."""
    scheme, mark, rest = url.partition("://")
    if scheme not in _AMQP or not mark:
        return fault_of_redis(url) or (CLUSTER if is_cluster(url) else None)
    if (fault := fault_of_parts(url)) is not None:
        return fault
    hosts = rest.partition("/")[0].partition("?")[0].rpartition("@")[2]
    if not hosts or "," in hosts:
        return f"one host is needed, or an address in front of several: {_EXAMPLE}"
    parts = urlsplit(url)
    if parts.path.count("/") > 1:
        return f"a / in the name of a virtual host must be percent-encoded, as %2F; {_EXAMPLE}"
    options = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if unknown := [name for name in options if scheme != "amqps" or name not in _TLS]:
        return f"{len(unknown)} options behind ? are not known: amqps:// takes {', '.join(_TLS)}"
    return None


def broker(url: str, queues: QueueType = "quorum") -> dict[str, Any]:
    """Celery's settings for a broker: its URL, its TLS, and what its queues are.

    With `rediss://` and `amqps://` the server's certificate and name are verified, against the system's authorities or
    `ssl_ca_certs`. `queues` is for RabbitMQ.
    """
    if is_amqp(url):
        return _amqp(url, queues)
    return _sentinel(url) if parse(url).kind == "sentinel" else _redis(url)


def _sentinel(url: str) -> dict[str, Any]:
    parts = parse(url)
    tls: dict[str, Any] | None = None
    if parts.tls:
        tls = {"ssl_cert_reqs": "required"} | dict(parts.options)
    given = {"username": parts.sentinel_user, "password": parts.sentinel_password}
    asked: dict[str, Any] = {"socket_timeout": 2, "socket_connect_timeout": 2}
    asked |= {name: value for name, value in given.items() if value}
    if tls is not None:
        asked |= {"ssl": True, **tls}
    userinfo = parts.userinfo
    urls = (f"sentinel://{userinfo}{one.host}:{one.port}/{parts.db}" for one in parts.hosts)
    return {
        "broker_url": ";".join(urls),
        "broker_use_ssl": tls,
        "broker_transport_options": {"master_name": parts.service, "sentinel_kwargs": asked},
    }


def _redis(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        socket = f"redis+socket://{parts.netloc}{parts.path}?virtual_host={options.get('db', '0')}"
        return {"broker_url": socket, "broker_use_ssl": None}
    tls: dict[str, Any] = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if parts.scheme != "rediss":
        return {"broker_url": url, "broker_use_ssl": None}
    tls = {"ssl_cert_reqs": "required"} | tls
    if "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"].lower() in ("true", "1", "yes")
    # kombu reads one or the other, and does not verify, with a warning, if that one says nothing.
    said = {name: str(value).lower() if isinstance(value, bool) else value for name, value in tls.items()}
    return {"broker_url": urlunsplit(parts._replace(query=urlencode(options | said))), "broker_use_ssl": tls}


def _amqp(url: str, queues: QueueType) -> dict[str, Any]:
    parts = urlsplit(url)
    tls: dict[str, Any] | None = None
    if parts.scheme == "amqps":
        tls = {_TLS[name]: value for name, value in parse_qsl(parts.query)}
        # With a name to check the AMQP library verifies the certificate as well.
        tls["server_hostname"] = parts.hostname
    return {
        "broker_url": urlunsplit(parts._replace(scheme="amqp", query="")),
        "broker_use_ssl": tls,
        # A connection that is lost without a word is noticed within 20 s. Twice is the least that RabbitMQ does.
        "broker_heartbeat": 20,
        "broker_heartbeat_checkrate": 2,
        "task_default_queue_type": queues,
        "task_create_missing_queue_type": queues,
        # Wake-ups may be lost, so a restart of RabbitMQ need not keep them.
        "task_default_delivery_mode": "transient",
        # Without a number a call that finds RabbitMQ away would try for ever.
        "broker_transport_options": {
            "write_timeout": _WRITE,
            "confirm_publish": False,
            "max_retries": 1,
            "interval_start": 0.1,
        },
    }
