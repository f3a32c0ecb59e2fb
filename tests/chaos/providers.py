"""The app's providers, one of each kind, and the simulators that know their credentials."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from producers.events import Subscription
from tests.chaos.world import APP, Subscribe
from worker.core.model import Provider
from worker.demo.services.apns import KEY_ID, TEAM_ID, TOPIC
from worker.demo.services.apns import new_key as new_apns_key
from worker.providers.apns.settings import ApnsSettings
from worker.providers.apns.settings import Key as SigningKey
from worker.providers.fcm.service_account import ServiceAccount, new_key
from worker.providers.fcm.settings import FcmSettings
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import KeyPair, new_key_pair
from worker.simulator import FcmSettings as FcmSimulator
from worker.simulator import Key, Settings, SimulatorProcess
from worker.simulator import WebSettings as WebSimulator
from worker.simulator.fcm.settings import Account
from worker.simulator.settings import CommonSettings
from worker.simulator.web.subscriptions import Wish, make

PROJECT: Final = "chaos-1f2e3"
#: Entries of a simulator's record, and octets of the payloads in them: all of a run at full scale.
_LIMIT: Final = 5_000_000
_OCTETS: Final = 1 << 30


class Credentials(NamedTuple):
    """What the app shows to each kind of service."""

    apns: SigningKey
    fcm: ServiceAccount
    web: KeyPair


def new_credentials() -> Credentials:
    email = f"push@{PROJECT}.iam.gserviceaccount.com"
    return Credentials(
        SigningKey(TEAM_ID, KEY_ID, new_apns_key()),
        ServiceAccount(PROJECT, email, "a1b2c3", new_key()),
        new_key_pair(),
    )


def simulators(credentials: Credentials, seed: int) -> SimulatorProcess:
    """One of each kind, which refuse whoever else sends."""
    signing, account = credentials.apns, credentials.fcm
    kinds: tuple[CommonSettings, ...] = (
        Settings(keys=(Key(signing.key_id, signing.team_id, signing.pem),), topics=(TOPIC,), bad_tokens=None),
        FcmSimulator(accounts=(Account(account.email, account.key_id, account.key, account.project),)),
        WebSimulator(),
    )
    kept = {"record": "full", "record_limit": _LIMIT, "record_octets": _OCTETS, "seed": seed}
    return SimulatorProcess(*(msgspec.structs.replace(one, **kept) for one in kinds))


def providers_at(credentials: Credentials, host: str, ports: Mapping[str, int], ca: str) -> list[Provider]:
    """One of each kind, with its name; `ports` of the simulators at a host, and the CA of all, PEM."""
    web = credentials.web
    settings = (
        ApnsSettings(TOPIC, credentials.apns, host, ports["apns"], ca),
        FcmSettings(credentials.fcm, "app", None, host, ports["fcm"], ca),
        WebSettings("mailto:push@example.com", web.public, web.private, "", host, ports["web"], ca),
    )
    return [Provider(0, APP, one.kind, "production", one) for one in settings]


def subscribing(key: str, seed: int) -> Subscribe:
    """Browsers as the simulator with this seed knows them, which subscribed with this public key."""

    def subscribe(service: str, number: int) -> Subscription:
        [made] = make(seed, Wish(service=service, first=number, key=key))
        return msgspec.convert(made, Subscription)

    return subscribe
