"""The parts of an engine's URL, or what is wrong with it, in a sentence that repeats none of it: any may be one of the password.

Decides by the text alone; a host is not looked up.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple
from urllib.parse import quote, unquote, urlencode

_ENCODE: Final = "in a user name or password each of @ : / ? # % and blanks must be percent-encoded, as %40 for @"
#: What a file of variables leaves around a value that was quoted in it.
_AROUND: Final = " \t\r\n'\"`"
_WRAPPED: Final = "there are quotes or blanks around it: take them away"
#: Broken percent-encoding.
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAME: Final = re.compile(r"[a-z_]{1,40}")
_SOCKET: Final = (
    "a Redis at a unix socket is named as unix:///run/redis/redis.sock?db=0, with user:password@ before the path"
)
_SENTINEL: Final = (
    "Sentinels are named as redis+sentinel://a:26379,b:26379,c:26379/0?service=NAME, rediss+sentinel:// with TLS"
)
_CLUSTER: Final = (
    "a Redis Cluster is named by some of its nodes, as redis+cluster://a:6379,b:6379, rediss+cluster:// with TLS"
)
#: Of a server that turned out to be one, though its URL does not say so.
CLUSTER: Final = "this is a Redis Cluster: name it as redis+cluster://"
_SEVERAL: Final = f"several hosts are those of Sentinels or of a cluster: {_SENTINEL}; {_CLUSTER}"
_SCHEMES: Final = "a URL beginning with redis:// or rediss:// is needed"
_BROKER: Final = (
    f"events are kept in Redis or Valkey, and no other broker will do; RabbitMQ can carry Celery's wake-ups: {_SCHEMES}"
)
#: Names of Celery's other brokers, and those of databases, as they begin a URL.
_BROKERS: Final = frozenset(
    re.split(
        " ",
        "amqp amqps pyamqp librabbitmq rabbitmq sqs kafka confluentkafka gcpubsub azureservicebus azurestoragequeues slmq"
        " mongodb memory filesystem zookeeper consul etcd pyro sqla sqlalchemy django qpid memcached nats",
    )
)
_DATABASES: Final = frozenset(("mysql", "mariadb", "sqlite", "oracle", "mssql", "sqlserver", "cockroachdb", "mongodb"))
#: What libpq takes after the question mark.
_LIBPQ: Final = frozenset(
    re.split(
        " ",
        "host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout client_encoding options"
        " application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count"
        " tcp_user_timeout gssencmode sslmode sslnegotiation sslcompression sslcert sslkey sslkeylogfile sslpassword sslcertmode"
        " sslrootcert sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version ssl_max_protocol_version min_protocol_version"
        " max_protocol_version krbsrvname gsslib gssdelegation service servicefile target_session_attrs load_balance_hosts",
    )
)
#: What redis-py and Celery's transport both take.
_REDIS: Final = frozenset(
    (
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_password",
        "ssl_check_hostname",
    )
)
#: The same, behind a URL of Sentinels: the service's name, and a user of the Sentinels themselves.
_SENTINELS: Final = frozenset((*_REDIS, "service", "sentinel_user", "sentinel_password"))
#: What a URL of several servers begins with, and the port of a server where none is said.
_PORTS: Final = {"sentinel": 26379, "cluster": 6379, "single": 6379}
FOLLOWED: Final = ("redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://")

Kind = Literal["single", "socket", "sentinel", "cluster"]


class Address(NamedTuple):
    """A host, without brackets, and its port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The parts of a Redis URL. Nothing secret is in its `repr`."""

    kind: Kind
    tls: bool
    #: The Sentinels of a service, some nodes of a cluster, or the one server. None for a socket.
    hosts: tuple[Address, ...]
    db: int
    #: The name under which Sentinels know the primary.
    service: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    #: The user and password of the Sentinels themselves.
    sentinel_user: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    #: The `ssl_…` options, as texts.
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    #: The path of a socket.
    path: str = ""
    #: User and password as they stand in the URL, with the @ behind them.
    userinfo: str = field(default="", repr=False)

    def of(self, server: Address) -> str:
        """The URL of one server of these, with their user, password, database and options."""
        return self._one(server, self.userinfo, f"/{self.db}")

    def of_sentinel(self, sentinel: Address) -> str:
        """The URL of a Sentinel, with the Sentinels' own user and password."""
        words = [quote(word, safe="") for word in (self.sentinel_user or "", self.sentinel_password or "")]
        return self._one(sentinel, ":".join(words) + "@" if any(words) else "", "")

    def _one(self, server: Address, userinfo: str, path: str) -> str:
        host = f"[{server.host}]" if ":" in server.host else server.host
        query = f"?{urlencode(self.options, quote_via=quote)}" if self.options else ""
        return f"{'rediss' if self.tls else 'redis'}://{userinfo}{host}:{server.port}{path}{query}"


def parse(url: str) -> RedisUrl:
    """The parts of a Redis URL. Raises ValueError, in a sentence that repeats none of it."""
    if (fault := fault_of_redis(url)) is not None:
        raise ValueError(fault)
    scheme, _, rest = url.partition("://")
    authority = _authority(url)
    path, _, query = rest[len(authority) :].partition("?")
    userinfo, at, hosts = authority.rpartition("@")
    user, colon, password = userinfo.partition(":")
    options = [(name, unquote(value)) for name, _, value in (one.partition("=") for one in query.split("&") if one)]
    found = dict(options)
    kind: Kind = "socket" if scheme == "unix" else "single"
    if "+" in scheme:
        kind = "sentinel" if scheme.endswith("sentinel") else "cluster"
    return RedisUrl(
        kind=kind,
        tls=scheme.startswith("rediss"),
        hosts=() if kind == "socket" else tuple(_address(one, _PORTS[kind]) for one in hosts.split(",")),
        db=int(found.get("db", 0)) if kind == "socket" else int(path[1:] or 0),
        service=found.get("service"),
        user=unquote(user) or None,
        password=unquote(password) if colon else None,
        sentinel_user=found.get("sentinel_user"),
        sentinel_password=found.get("sentinel_password"),
        options=tuple((name, value) for name, value in options if name.startswith("ssl_")),
        path=unquote(path) if kind == "socket" else "",
        userinfo=userinfo + at,
    )


def _address(host: str, port: int) -> Address:
    found = re.fullmatch(r"(\[.*\]|[^:]*)(?::([0-9]*))?", host)
    assert found is not None, "the URL was looked at"
    return Address(found[1].strip("[]") or "localhost", int(found[2] or port))


def fault_of_redis(url: str) -> str | None:
    """Why the URL cannot be one of Redis for all of Carillon; None: it can."""
    scheme = url.partition("://")[0]
    if url.startswith(FOLLOWED) and url == url.strip(_AROUND):
        return _fault_of_followed(url)
    if url != url.strip(_AROUND):
        return _WRAPPED
    if scheme == "unix" and "://" in url:
        return _fault_of_socket(url)
    if scheme not in ("redis", "rediss") or "://" not in url:
        return _other_redis(scheme.lower())
    if (fault := fault_of_parts(url)) is not None:
        return fault
    if "," in _authority(url).rpartition("@")[2]:
        return _SEVERAL
    path, _, query = url.partition("://")[2][len(_authority(url)) :].partition("?")
    if not re.fullmatch(r"/?|/[0-9]{1,4}", path):
        return f"the database is a number behind the host, as /0; {_ENCODE}"
    return _fault_of_options(query, _REDIS, "give the database as /1 behind the host; only ssl_… options can be used")


def _fault_of_followed(url: str) -> str | None:
    """What is wrong with the URL of Sentinels or of a cluster."""
    if (fault := fault_of_parts(url)) is not None:
        return fault
    authority = _authority(url)
    path, _, query = url.partition("://")[2][len(authority) :].partition("?")
    sentinel = url.partition("://")[0].endswith("sentinel")
    if not all(host.partition(":")[0] for host in authority.rpartition("@")[2].split(",")):
        return f"a host is missing: {_SENTINEL if sentinel else _CLUSTER}"
    if not sentinel:
        if re.fullmatch(r"/0*[1-9][0-9]*", path):
            return "a Redis Cluster has database 0 alone: take the number behind the hosts away"
        if not re.fullmatch(r"/?|/0", path):
            return f"nothing stands behind the hosts of a cluster; {_ENCODE}"
        return _fault_of_options(query, _REDIS, "only ssl_… options can be used")
    if not re.fullmatch(r"/?|/[0-9]{1,4}", path):
        return f"the database is a number behind the hosts, as /0; {_ENCODE}"
    if not re.search(r"(^|&)service=[^&]", query):
        return f"the name of the service is missing, under which the Sentinels know the primary: {_SENTINEL}"
    advice = "service, sentinel_user, sentinel_password and ssl_… options can be used"
    return _fault_of_options(query, _SENTINELS, advice)


def _fault_of_socket(url: str) -> str | None:
    if (fault := fault_of_parts(url)) is not None:
        return fault
    authority = _authority(url)
    path, _, query = url.partition("://")[2][len(authority) :].partition("?")
    if authority.rpartition("@")[2] or len(path) < 2:
        return _SOCKET
    if not re.fullmatch(r"(db=[0-9]{1,4})?", query):
        return f"{_SOCKET}; db=1 is the only option"
    return None


def _other_redis(scheme: str) -> str:
    """What to write in place of a URL that begins so."""
    words = set(re.split(r"[+.-]", scheme))
    if "socket" in words or "unix" in words:
        return _SOCKET
    if "sentinel" in words:
        return _SENTINEL
    if "cluster" in words:
        return _CLUSTER
    if words & {"valkey", "valkeys"}:
        return f"a Valkey is named as a Redis is: {_SCHEMES}"
    if words & {"postgres", "postgresql"}:
        return f"this is the URL of a Postgres, which CARILLON_POSTGRES_URL names: {_SCHEMES}"
    return _BROKER if words & _BROKERS else _SCHEMES


def fault_of_postgres(url: str) -> str | None:
    """Why the URL cannot be one of Postgres; None: it can."""
    scheme = url.partition("://")[0]
    if url != url.strip(_AROUND):
        return _WRAPPED
    if scheme not in ("postgresql", "postgres") or "://" not in url:
        return _other_postgres(scheme.lower())
    if (fault := fault_of_parts(url)) is not None:
        return fault
    query = url.partition("://")[2][len(_authority(url)) :].partition("?")[2]
    return _fault_of_options(query, _LIBPQ, "options behind ? are those of libpq; a schema cannot be chosen")


def _other_postgres(scheme: str) -> str:
    """What to write in place of a URL that begins so."""
    words = set(re.split(r"[+.:-]", scheme))
    needed = "a URL beginning with postgresql:// or postgres:// is needed"
    if words & {"postgres", "postgresql"}:
        return f"{needed}, without the name of a driver"
    if words & {"redis", "rediss", "valkey", "unix"}:
        return f"this is the URL of a Redis, which CARILLON_REDIS_URL names: {needed}"
    return f"only PostgreSQL is supported, other databases are not yet: {needed}" if words & _DATABASES else needed


def fault_of_parts(url: str) -> str | None:
    """What is wrong with any URL of this form, whatever engine it names: hosts, ports, encoding."""
    rest = url.partition("://")[2]
    authority = _authority(url)
    behind = rest[len(authority) :]
    if authority.count("@") > 1 or "@" in behind or "#" in behind or _PERCENT.search(rest):
        return _ENCODE
    if any(c.isspace() or not c.isprintable() for c in url):
        return _ENCODE
    for host in authority.rpartition("@")[2].split(","):
        port = re.fullmatch(r"(?:\[[0-9A-Fa-f:.%]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?", host)
        if port is None or (port[1] and not 0 < int(port[1]) < 65536):
            return f"the port is a number up to 65535 behind the host; {_ENCODE}"
    return None


def _authority(url: str) -> str:
    """User, password, hosts and ports."""
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]


def _fault_of_options(query: str, known: frozenset[str], advice: str) -> str | None:
    for option in query.split("&") if query else ():
        name = option.partition("=")[0]
        if name not in known or "=" not in option:
            # A name is no secret; what is no name may be one.
            return f"{name if _NAME.fullmatch(name) else 'what stands behind ?'}: no such option; {advice}"
    return None
