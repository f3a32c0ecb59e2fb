"""The settings of an operator, read from `CARILLON_*` variables and checked together. Starts nothing."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from config import credentials
from config.broker import QueueType, fault_of_broker, is_amqp
from producers.urls import fault_of_postgres, fault_of_redis

PREFIX: Final = "CARILLON_"


_HOST: Final = re.compile(
    r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE
)
#: The directory of a system on embedded engines.
HOME: Final = ".carillon"


def nearest_home() -> Path:
    """The nearest `.carillon` from the current directory upwards, or the one to make here. Skips those of other users."""
    here = Path.cwd()
    for directory in (here, *here.parents):
        home = directory / HOME
        with suppress(OSError):
            if home.is_dir() and (directory == here or home.stat().st_uid == os.geteuid()):
                return home
    return here / HOME


class SettingsError(ValueError):
    """The environment cannot be used; the text names every fault and what to do about it."""


def _url(fault_of: Callable[[str], str | None]) -> AfterValidator:
    def check(value: str) -> str:
        if (fault := fault_of(value)) is not None:
            raise ValueError(fault)
        return value

    return AfterValidator(check)


def _networks(text: str) -> Iterator[IPv4Network | IPv6Network]:
    for word in text.replace(",", " ").split():
        try:
            yield ip_network(word)
        except ValueError:
            raise ValueError("networks such as 10.20.0.0/16 are needed, comma separated") from None


def _hosts(text: str) -> Iterator[str]:
    for word in text.replace(",", " ").split():
        if not _HOST.fullmatch(word):
            raise ValueError("host names such as push.example.org or *.push.example.org are needed, comma separated")
        yield word.lower()


def _proxy(value: SecretStr) -> SecretStr:
    with suppress(ValueError):
        parts = urlsplit(value.get_secret_value())
        if (
            parts.scheme == "http"
            and parts.hostname
            and parts.port != 0
            and parts.path in ("", "/")
            and not parts.query
        ):
            return value
    raise ValueError("a URL such as http://user:password@proxy.example.org:3128 is needed")


def _function(value: str) -> str:
    if not re.fullmatch(r"(?:[^\W\d]\w*\.)*[^\W\d]\w*:[^\W\d]\w*", value):
        raise ValueError("module:function is needed, such as my_errors:set_up")
    return value


RedisUrl = Annotated[str, _url(fault_of_redis)]
BrokerUrl = Annotated[str, _url(fault_of_broker)]
PostgresUrl = Annotated[str, _url(fault_of_postgres)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_proxy)]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    BeforeValidator(lambda value: tuple(_networks(value)) if isinstance(value, str) else value),
]
Hosts = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: tuple(_hosts(value)) if isinstance(value, str) else value),
]
#: Names of a server, also those without a dot, and addresses.
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: tuple(value.lower().replace(",", " ").split()) if isinstance(value, str) else value),
]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Every setting, immutable. A field `name` is read from `CARILLON_NAME`. `repr` shows no secret and no URL."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    #: Redis or Valkey with AOF on. None: an embedded Valkey in `data_dir`.
    redis_url: RedisUrl | None = Field(default=None, repr=False)
    #: PostgreSQL 15 or later. None: an embedded PostgreSQL in `data_dir`.
    postgres_url: PostgresUrl | None = Field(default=None, repr=False)
    #: A function of yours, `module:function`, that returns user and password for each new connection to Redis: docs/engines.md.
    redis_credentials: Annotated[str, AfterValidator(_function)] = ""
    #: The same for the Postgres of `postgres_url`.
    postgres_credentials: Annotated[str, AfterValidator(_function)] = ""
    #: Celery's broker: a Redis, a Valkey or RabbitMQ (amqp://user:password@host:5672/vhost). None: the Redis of `redis_url`.
    broker_url: BrokerUrl | None = Field(default=None, repr=False)
    #: As `redis_credentials`, for a Redis, or Sentinels, of `broker_url`.
    broker_credentials: Annotated[str, AfterValidator(_function)] = ""
    #: What RabbitMQ's queues are. Queues of the other kind have to be deleted first.
    broker_queues: QueueType = "quorum"
    #: Partitions of Redis that apps are spread over: only an empty Redis gets another number. None: those that there are, or one.
    partitions: Annotated[int, Field(ge=1, le=256)] | None = None
    #: The chat server's database, if it has the outbox. None: the outbox is in Carillon's own database.
    outbox_url: PostgresUrl | None = Field(default=None, repr=False)
    #: Home of the embedded engines and of what is generated for them. By default the nearest `.carillon` upwards from here.
    data_dir: Path = Field(default_factory=nearest_home)
    #: Fernet keys that encrypt stored credentials, comma separated: the first encrypts, all decrypt.
    secret_keys: SecretStr | None = None

    #: `http2`: our own engine. `httpx`: the second transport, for comparison.
    apns_transport: Literal["http2", "httpx"] = "http2"
    #: Connections that a process may have to one APNs host with one credential.
    apns_connections: Annotated[int, Field(ge=1, le=64)] = 4
    #: Seconds to wait for one answer of APNs, FCM or a push service. Google asks for 10 at least.
    apns_timeout: Seconds = 10.0
    #: An HTTP proxy that opens tunnels to APNs (CONNECT): http://user:password@proxy.example.org:3128. None: APNs directly.
    apns_proxy: ProxyUrl | None = None
    #: Seconds without a push after which the connections of a host and credential are closed.
    apns_idle: Annotated[float, Field(ge=60, le=86_400)] = 1_800.0
    #: The host that broadcast channels are sent to in place of Apple's ordinary one. A provider's own host goes first.
    apns_broadcast_host: str | None = None
    #: The host at which broadcast channels are managed. None: Apple's. A provider's own host goes first.
    apns_manage_host: str | None = None
    #: The port at which broadcast channels are managed. None: Apple's. A provider's own host goes first.
    apns_manage_port: Annotated[int, Field(ge=1, le=65_535)] | None = None

    #: Connections that a process may have to FCM with one project.
    fcm_connections: Annotated[int, Field(ge=1, le=64)] = 10
    #: An HTTP proxy that opens tunnels to FCM and to where its access tokens come from (CONNECT), as of `apns_proxy`.
    fcm_proxy: ProxyUrl | None = None

    #: Networks that are not public and that webhooks may be in, comma separated: 10.20.0.0/16,fd00::/8.
    webhook_allow: Networks = ()
    #: Seconds to wait for a webhook's whole answer.
    webhook_timeout: Annotated[float, Field(gt=0, le=30)] = 10.0
    #: An HTTP proxy that opens tunnels to webhooks (CONNECT), as of `apns_proxy`. None: webhooks directly.
    webhook_proxy: ProxyUrl | None = None

    #: Hosts of push services beside the browsers' own that a subscription may be at, comma separated: push.example.org. They
    #: have public addresses.
    web_hosts: Hosts = ()
    #: An HTTP proxy that opens tunnels to push services (CONNECT), as of `apns_proxy`. It has to keep private addresses out.
    web_proxy: ProxyUrl | None = None

    #: This fleet's name, different in each environment. No fleet pushes from a copy of another's database. Empty: none.
    fleet: Annotated[str, Field(max_length=100)] = ""

    #: The least severity that is logged.
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)] = "INFO"
    #: `text` for people, `json` for machines: one object a line.
    log_format: Literal["text", "json"] = "text"
    #: A function of yours, `module:function`, that each process calls when its log is set up: docs/errors.md.
    log_setup: Annotated[str, AfterValidator(_function)] = ""

    #: Share of the traces that publishers sample which is continued: 0 none, 1 all. Needs the extra `traces`,
    #: and an OpenTelemetry collector: docs/tracing.md.
    traces_sample: Annotated[float, Field(ge=0, le=1)] = 0.0

    #: Journal entries that one intake transaction takes.
    intake_batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    #: Members of a channel that are read at once.
    fan_out_page: Annotated[int, Field(ge=1, le=50_000)] = 1_000
    #: Jobs in one batch for the sender.
    deliver_batch: Annotated[int, Field(ge=1, le=5_000)] = 500
    #: Messages that may be ready to be expanded, or batches to be sent, before intake waits for workers to catch up.
    max_open: Count = 20_000
    #: Days for which a repeated event id is recognised and a message can be looked up.
    message_retention_days: Count = 30
    #: Days for which dead letters are kept.
    dead_letter_days: Count = 90
    #: Seconds after which a batch of a silent worker is given to another worker.
    lease_seconds: Annotated[float, Field(ge=4)] = 8.0
    #: Seconds after which Celery hands out an unacknowledged message again.
    visibility_timeout: Annotated[int, Field(ge=10)] = 60
    #: Seconds that a worker has to finish its work or hand it back after SIGTERM.
    shutdown_timeout: Seconds = 20.0
    #: Megabytes of memory above which a worker finishes its work and restarts.
    worker_memory: Annotated[int, Field(ge=64)] = 1_000
    #: Who may use the dashboard, comma separated: name:role:hash, as `carillon dashboard-user` prints it. Without the hash only a
    #: proxy signs that user in. Roles: viewer, operator, admin.
    dashboard_users: SecretStr | None = None
    #: The Postgres of CARILLON_POSTGRES_URL as another role, which may change what operators change. None: as the same role.
    dashboard_acts_url: PostgresUrl | None = Field(default=None, repr=False)
    #: Names by which browsers reach the dashboard, comma separated: push.example.org. This machine's own always do.
    dashboard_host: Names = ()
    #: The path under which browsers find the dashboard, as /carillon, whether or not the proxy takes it off. Empty: none.
    dashboard_prefix: Annotated[str, Field(pattern=r"^((/[A-Za-z0-9._~-]+)+)?$")] = ""
    #: The header in which a proxy says who has signed in there, such as X-Forwarded-User. Empty: none is believed.
    dashboard_proxy_header: Annotated[str, Field(pattern=r"^([A-Za-z][A-Za-z0-9-]*)?$")] = ""
    #: Networks of the proxies whose header is believed, comma separated: 10.20.0.5/32.
    dashboard_proxies: Networks = ()

    #: Connections to Postgres that one process may have.
    postgres_pool: Annotated[int, Field(ge=1, le=100)] = 8

    #: The first of 20 ports: each process takes the next that is free for `/metrics`, `/livez` and `/readyz`. 0: none.
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    #: The address that these ports are on. Whoever reaches it can read the metrics: they name apps and providers.
    metrics_address: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    #: Apps that the shared counters name: the busiest of the last hour. All others are counted together as `other`.
    metrics_apps: Annotated[int, Field(ge=0, le=2_000)] = 200

    @property
    def embedded(self) -> bool:
        """Whether Carillon starts any engine itself."""
        return self.redis_url is None or self.postgres_url is None


#: Settings with a password or key. `CARILLON_NAME_FILE` may name a file with the value, as containers get secrets.
SECRET: Final = (
    "redis_url",
    "broker_url",
    "postgres_url",
    "outbox_url",
    "secret_keys",
    "dashboard_users",
    "dashboard_acts_url",
    "apns_proxy",
    "fcm_proxy",
    "webhook_proxy",
    "web_proxy",
)


def variable(field: str) -> str:
    """The environment variable that a setting is read from."""
    return PREFIX + field.upper()


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from an environment, or `SettingsError` with every fault at once. An empty variable counts as unset."""
    known = {variable(field): field for field in Settings.model_fields}
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    faults = list(_from_files(given))
    faults += [f"{name}: no such setting" for name in sorted(given.keys() - known.keys())]
    settings = None
    try:
        settings = Settings.model_validate(
            {known[name]: text for name, text in given.items() if name in known and text}
        )
    except ValidationError as error:
        faults += [
            f"{variable(str(fault['loc'][0]))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False)
        ]
    if settings is None or faults:
        unknown = given.keys() - known.keys()
        advice = f"\nKnown settings: {', '.join(sorted(known))}" if unknown else ""
        raise SettingsError("\n".join(["These settings need correction:", *(f"  {f}" for f in faults)]) + advice)
    return settings


def _from_files(given: dict[str, str]) -> Iterator[str]:
    """Replaces names of files in `given` with their contents; returns the faults."""
    for name in map(variable, SECRET):
        file = given.pop(f"{name}_FILE", "")
        if not file:
            continue
        if given.get(name):
            yield f"{name}_FILE: set it or {name}, not both"
            continue
        try:
            given[name] = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            yield f"{name}_FILE: {file} cannot be read: {getattr(fault, 'strerror', None) or 'it is no text'}"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """This process's settings, read from its environment once. Its connections ask for credentials from then on."""
    settings = load(os.environ)
    asked = (
        ("redis_credentials", settings.redis_url),
        ("postgres_credentials", settings.postgres_url),
        ("broker_credentials", settings.broker_url),
    )
    for field, url in asked:
        path: str = getattr(settings, field)
        if path and url is None:
            why = (
                "there is no broker of its own"
                if field == "broker_credentials"
                else "an embedded engine has no changing password"
            )
            raise SettingsError(f"{variable(field)}: {why}: give its URL too")
        if path and url is not None and is_amqp(url):
            raise SettingsError(f"{variable(field)}: RabbitMQ needs a fixed password, in its URL")
        if path and url is not None:
            try:
                credentials.use(url, path)
            except (ImportError, AttributeError) as fault:
                raise SettingsError(f"{variable(field)}: {path} cannot be imported: {fault}") from fault
    return settings
