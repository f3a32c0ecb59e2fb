"""Where a benchmark of the whole pipeline takes place: engines of its own, a simulator, one app with people and devices."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
import redis
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.secrets import generate_key
from worker.core.model import AppSettings, Provider
from worker.database.migrate import migrate
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.embedded import Engines, Urls
from worker.embedded.home import Home
from worker.providers import kinds
from worker.providers.apns.settings import ApnsSettings
from worker.providers.apns.settings import Key as SigningKey
from worker.providers.fcm.service_account import ServiceAccount
from worker.providers.fcm.settings import FcmSettings
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair
from worker.simulator import FcmSettings as FcmSimulator
from worker.simulator import Key, Settings, SimulatorProcess
from worker.simulator import WebSettings as WebSimulator
from worker.simulator.record import Mode

APP: Final = "bench"
TOPIC: Final = "org.example.chat"
TEAM: Final = "TEAM000001"
KEY: Final = "KEY0000001"
#: Tokens that begin with it are answered 410.
DEAD: Final = "dead"


@dataclass(frozen=True)
class Stage:
    """Running engines and simulator; `environ` is what workers need to find them."""

    directory: Path
    urls: Urls = field(repr=False)
    simulator: SimulatorProcess
    provider: Provider
    environ: dict[str, str] = field(repr=False)
    #: One of each kind, at the simulator. Without `all_kinds` only the one above.
    providers: dict[str, Provider] = field(default_factory=dict)

    def pids(self) -> dict[str, list[int]]:
        notes = Home.at(self.directory / "engines").pids
        engine = {name: [int((notes / name).read_text().split()[0])] for name in ("postgres", "valkey")}
        return {**engine, "simulator": [self.simulator.pid]}

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.urls.postgres, autocommit=True) as db:
            for statement in statements:
                db.execute(statement.encode())

    def clear(self) -> None:
        """Forgets every message and revives every device; people and channels stay."""
        with redis.Redis.from_url(self.urls.redis) as client:
            client.flushall()
        self.sql(
            "TRUNCATE carillon.messages, carillon.ledger, carillon.threads, carillon.thread_participants,"
            " carillon.dead_letters",
            "UPDATE carillon.devices SET active = true, retired_reason = NULL, retired_at = NULL WHERE NOT active",
        )


@contextmanager
def stage(
    app: AppSettings | None = None,
    *,
    all_kinds: bool = False,
    record: Mode = "counters",
    recorded: int = 1_000_000,
) -> Iterator[Stage]:
    """Engines, simulator and an empty app, gone with everything in them when the block ends.

    `all_kinds`: the simulator is also an FCM and the push services of browsers, and the app has a provider of each kind.
    `record`: what the simulator of APNs keeps of each request, of the last `recorded` ones.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    secret = generate_key()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carillon-benchmark-")))
        engines = Engines(directory / "engines")
        urls = engines.start()
        stack.callback(engines.stop)
        simulated = Settings(
            keys=(Key(KEY, TEAM, pem),), topics=(TOPIC,), record=record, record_limit=recorded, bad_tokens=None
        )
        others = (
            (FcmSimulator(record="counters"), WebSimulator(record="counters", decrypt_every=0)) if all_kinds else ()
        )
        simulator = stack.enter_context(SimulatorProcess(simulated, *others))
        migrate(urls.postgres)
        with open_pool(urls.postgres, size=1) as pool:
            registry = Registry(pool, [secret], kinds)
            registry.save_app(app or AppSettings(APP))
            credential = SigningKey(TEAM, KEY, pem)
            there = ApnsSettings(TOPIC, credential, "localhost", simulator.port, simulator.ca_pem)
            provider = registry.save_provider(Provider(0, APP, "apns", "production", there))
            providers = {"apns": provider}
            for settings in _other_kinds(simulator) if all_kinds else ():
                wanted = Provider(0, APP, settings.kind, "production", settings)
                providers[settings.kind] = registry.save_provider(wanted)
        environ = {name: "" for name in os.environ if name.startswith("CARILLON_")} | {
            "CARILLON_REDIS_URL": urls.redis,
            "CARILLON_POSTGRES_URL": urls.postgres,
            "CARILLON_SECRET_KEYS": secret,
            "CARILLON_LOG_LEVEL": "WARNING",
        }
        yield Stage(directory, urls, simulator, provider, environ, providers)


def _other_kinds(simulator: SimulatorProcess) -> tuple[FcmSettings, WebSettings]:
    ports, ca, pair = simulator.ports, simulator.ca_pem, new_key_pair()
    return (
        FcmSettings(service_account(), "app", None, "localhost", ports["fcm"], ca),
        WebSettings("mailto:push@example.com", pair.public, pair.private, "", "localhost", ports["web"], ca),
    )


def service_account() -> ServiceAccount:
    private = rsa.generate_private_key(65_537, 2_048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return ServiceAccount("carillon-bench", "push@carillon-bench.iam.gserviceaccount.com", "key-1", pem)
