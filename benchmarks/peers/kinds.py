"""Each kind's own client, as delivery calls it: `python -m benchmarks.peers.kinds NAME`, a `Target` as JSON on standard input.

Eight task threads share it. Each hands in batches of rendered requests, and every answer is looked at. Each prints one `Result`.
"""

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from benchmarks.peers.senders import peak_mb, resident_mb
from benchmarks.support.load import TOPIC, Result, Target, payload, tokens
from config.secrets import generate_key
from worker.core.batch import Job, Sending
from worker.core.model import Provider, Response
from worker.core.receiver_keys import AUTH, Keys, pack
from worker.database.device_secrets import DeviceSecrets
from worker.providers.apns.client import ApnsClient
from worker.providers.apns.kind import KIND as APNS
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import ApnsSettings, Key
from worker.providers.apns.token import TokenSource
from worker.providers.base import Client, Kind, TokenKey
from worker.providers.fcm.access_token import AccessTokenError
from worker.providers.fcm.client import FcmClient
from worker.providers.fcm.kind import KIND as FCM
from worker.providers.fcm.service_account import ServiceAccount
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fleet_tokens import FleetTokens
from worker.providers.web.client import WebClient
from worker.providers.web.encryption import encrypt, salts
from worker.providers.web.endpoint import SERVICES
from worker.providers.web.kind import KIND as WEB
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair
from worker.sender.sender import Sender

#: Octets of an access token of Google.
TOKEN: Final = 1_024
HOUR: Final = 3_600
#: Browsers with keys of their own, and how their endpoints begin.
BROWSERS: Final = 1_000
ENDPOINT: Final = "https://fcm.googleapis.com/fcm/send/"


class Kept:
    """A fleet's store of access tokens that has one already, or none where the kind makes its own at once."""

    away: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self, text: str | None = None) -> None:
        self._text = text

    def read(self, key: TokenKey) -> str | None:
        return self._text

    def write(self, key: TokenKey, token: str, *, seconds: int) -> None:
        self._text = token

    def lease(self, key: TokenKey, *, seconds: float) -> bool:
        return True

    def release(self, key: TokenKey) -> None:
        """Nobody else asks."""


class Setting:
    """A client, the provider it sends for, and rendered requests."""

    def __init__(self, kind: Kind, client: Client, settings: Any, jobs: Sequence[Job]) -> None:
        self.client = client
        self.provider = Provider(1, "bench", kind.name, "production", settings)
        self.requests = list(kind.render(self.provider, [SENDING], jobs, [None] * len(jobs)))


_whole = payload().decode()
SENDING: Final = Sending(
    "1-0", "evt-1", _whole, "", int(time.time()) + HOUR, "msg-1", kind="message", channel="general"
)


def apns(target: Target) -> Setting:
    key = Key(target.team_id, target.key_id, target.key)
    settings = ApnsSettings(TOPIC, key, target.host, target.port, target.ca)
    client = ApnsClient(ApnsSender(connections=target.connections), TokenSource(Kept()))
    jobs = [Job(0, number, "u", token, 1) for number, (token, _) in enumerate(tokens(target.count + target.warm_up))]
    return Setting(APNS, client, settings, jobs)


def fcm(target: Target) -> Setting:
    private = rsa.generate_private_key(65_537, 2_048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = ServiceAccount("carillon-bench", "push@carillon-bench.iam.gserviceaccount.com", "key-1", pem)
    settings = FcmSettings(account, "app", None, target.host, target.port, target.ca)
    now = int(time.time())
    store = Kept(f"{now} {now + HOUR} ya29.{'x' * (TOKEN - 5)}")
    access = FleetTokens(store, lease_seconds=10.0, faults=(AccessTokenError,))
    client = FcmClient(Sender(), access, connections=target.connections, proxy=None)
    jobs = [
        Job(0, number, "u", f"{token[:22]}:APA91b{token[22:] * 3}"[:152], 1, platform="android")
        for number, (token, _) in enumerate(tokens(target.count + target.warm_up))
    ]
    return Setting(FCM, client, settings, jobs)


def webpush(target: Target) -> Setting:
    pair = new_key_pair()
    settings = WebSettings(
        "mailto:push@example.com", pair.public, pair.private, "", target.host, target.port, target.ca
    )
    secrets = DeviceSecrets([generate_key()])
    sealed = [secrets.seal(pack(keys)) for keys in subscriptions(BROWSERS)]
    jobs = [
        Job(
            0,
            number,
            "u",
            f"{ENDPOINT}{token[:11]}:APA91b{token * 2}",
            1,
            platform="web",
            secret=sealed[number % BROWSERS],
        )
        for number, (token, _) in enumerate(tokens(target.count + target.warm_up))
    ]
    return Setting(WEB, WebClient(unseal=secrets.unseal, hosts=SERVICES), settings, jobs)


def subscriptions(count: int) -> list[Keys]:
    """Of so many browsers, what messages to them are encrypted with."""
    public = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(count)]
    points = [key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) for key in public]
    return [Keys(point, os.urandom(AUTH)) for point in points]


SETTINGS: Final[dict[str, Callable[[Target], Setting]]] = {"apns": apns, "fcm": fcm, "webpush": webpush}


def encryption(target: Target) -> Result:
    """What a push to a browser has to cost: its encryption, one after another in this thread."""
    browsers, message = subscriptions(BROWSERS), payload()
    cpu, began = time.process_time(), time.perf_counter()
    for number, salt in enumerate(salts(target.count)):
        encrypt(message, browsers[number % BROWSERS], salt)
    return Result(time.perf_counter() - began, time.process_time() - cpu, target.count, 0, 0)


def send(setting: Setting, target: Target) -> Result:
    """Warms up with the first requests, then sends the rest against the clock."""
    baseline, count = resident_mb(), target.warm_up
    exchange(setting, target, setting.requests[:count])
    rest = setting.requests[count:]
    # What waits to be sent is not there in a worker, and is no matter of its garbage collector.
    gc.freeze()
    cpu, began = time.process_time(), time.perf_counter()
    responses = exchange(setting, target, rest)
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    setting.client.close()
    statuses = [getattr(one, "status", 0) for one in responses]
    accepted, gone = sum(one in (200, 201) for one in statuses), sum(one in (404, 410) for one in statuses)
    return Result(seconds, used, accepted, gone, target.count - accepted - gone, baseline, peak_mb())


def exchange(setting: Setting, target: Target, requests: Sequence[Any]) -> list[Response]:
    """`calls` threads, each a batch at a time, blocked until it is answered, as tasks are."""
    responses: list[Response] = []
    lock, source = threading.Lock(), iter(requests)

    def work() -> None:
        while True:
            with lock:
                batch = list(islice(source, target.batch))
            if not batch:
                return
            responses.extend(setting.client.send(setting.provider, batch, now=time.time, deadline=60).responses)

    threads = [threading.Thread(target=work) for _ in range(target.calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return responses


def main() -> None:
    name = sys.argv[1]
    target = msgspec.json.decode(sys.stdin.buffer.read(), type=Target)
    result = encryption(target) if name == "encryption" else send(SETTINGS[name](target), target)
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
