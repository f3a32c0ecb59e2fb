"""Channels of 50 whose members have devices of one kind or of several: what a push of each kind costs in CPU.

The bars: a push to FCM costs at most `FCM_BAR` times one to APNs, and one to a browser at most `WEB_BAR` times its encryption
more than one to APNs. A channel with all kinds costs at most what its devices come to by that.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import msgspec
import psycopg

from benchmarks.peers.kinds import subscriptions
from benchmarks.support.figures import say
from benchmarks.support.load import payload
from benchmarks.support.people import Crowd, chat
from benchmarks.support.processes import costs
from benchmarks.support.stage import APP, Stage
from benchmarks.support.system import System
from benchmarks.support.systems import Layout, running
from producers.events import Device
from worker.database.device_secrets import DeviceSecrets
from worker.providers.web.encryption import encrypt, salts
from worker.providers.web.kind import KIND as WEB
from worker.simulator.web.subscriptions import Wish

CHANNELS: Final = 40
MEMBERS: Final = 50
MESSAGES: Final = 400
#: Of 20 members, those with a device of each kind.
MIX: Final = {"apns": 9, "fcm": 8, "web": 3}
CROWDS: Final = {"apns": {"apns": 20}, "fcm": {"fcm": 20}, "web": {"web": 20}, "mixed": MIX}
PLATFORMS: Final = {"apns": "ios", "fcm": "android", "web": "web"}
FCM_BAR: Final = 1.3
WEB_BAR: Final = 1.2
#: Not what runs in production.
_OURS: Final = "simulator"


@dataclass(frozen=True)
class MixedCrowd(Crowd):
    """Channels whose members have the kinds of `MIX` or of one kind, in turn."""

    kinds: tuple[str, ...] = ("apns",)

    def devices(self) -> Iterator[tuple[str, str]]:
        """Each user's id, and the kind of the device."""
        for channel in range(self.channels):
            for number, user in enumerate(self.users(channel)):
                yield user, self.kinds[number % len(self.kinds)]


def crowds() -> dict[str, MixedCrowd]:
    return {
        name: MixedCrowd(name, CHANNELS, MEMBERS, tuple(kind for kind, count in of.items() for _ in range(count)))
        for name, of in CROWDS.items()
    }


def set_up(place: Stage, crowd: MixedCrowd) -> None:
    """Writes the crowd into the database. All devices are alive."""
    secrets = DeviceSecrets([place.environ["CARILLON_SECRET_KEYS"]])
    count, key = crowd.channels * crowd.members, place.providers["web"].settings.public_key
    wish = Wish("google", count, first=list(CROWDS).index(crowd.name) * count, key=key)
    browsers = iter(place.simulator.controls["web"].subscriptions(wish) if "web" in crowd.kinds else [])
    with psycopg.connect(place.urls.postgres) as db, db.cursor() as cursor:
        with cursor.copy("COPY carillon.channels (app, id, name) FROM STDIN") as rows:
            for number in range(crowd.channels):
                rows.write_row((APP, crowd.channel(number), f"Channel {number}"))
        with cursor.copy("COPY carillon.members (app, channel, user_id, at, present) FROM STDIN") as rows:
            for number in range(crowd.channels):
                for user in crowd.users(number):
                    rows.write_row((APP, crowd.channel(number), user, 1, True))
        columns = "app, token, user_id, provider_id, registered_at, active, platform, secret"
        with cursor.copy(f"COPY carillon.devices ({columns}) FROM STDIN") as rows:
            for user, kind in crowd.devices():
                token, secret = _token(user, kind), ""
                if kind == "web":
                    token, plain = WEB.registration(msgspec.convert({"subscription": next(browsers)}, Device))
                    secret = secrets.seal(plain)
                rows.write_row((APP, token, user, place.providers[kind].id, 1, True, PLATFORMS[kind], secret))
    place.sql("VACUUM ANALYZE carillon.members", "VACUUM ANALYZE carillon.devices", "VACUUM ANALYZE carillon.channels")


def _token(user: str, kind: str) -> str:
    digest = hashlib.sha256(user.encode()).hexdigest()
    return digest if kind == "apns" else f"{digest[:22]}:APA91b{digest * 2}"[:152]


def measure(place: Stage, layout: Layout, repeats: int, scale: float) -> dict[str, Any]:
    """CPU microseconds a push by crowd, medians of interleaved repeats."""
    all_crowds = crowds()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in all_crowds}
    encryption: list[float] = []
    with running(place, "carillon_http2", layout) as system:
        for crowd in all_crowds.values():
            _run(system, crowd, 40, f"warm-{crowd.name}")
            _run(system, crowd, 40, f"warmer-{crowd.name}")
        for repeat in range(repeats):
            encryption.append(_encryption())
            for name, crowd in all_crowds.items():
                found[name].append(_run(system, crowd, max(10, int(MESSAGES * scale)), f"{name}-{repeat}"))
                say(f"{name:16} {found[name][-1]}")
    parts = {name: {part: median(one[part] for one in of) for part in of[0]} for name, of in found.items()}
    return _summary({name: [sum(one.values()) for one in of] for name, of in found.items()}, encryption) | {
        "parts": parts
    }


def _run(system: System, crowd: MixedCrowd, messages: int, run: str) -> dict[str, float]:
    """CPU microseconds a push by group of processes, without the simulator."""
    events = chat(crowd, messages, run=f"{run}-{time.monotonic_ns()}")
    pushes = messages * (crowd.members - 1)
    wanted = system.accepted() + pushes
    before = costs(system.groups)
    system.publish(events)
    # To look whether it is done costs the publisher as well, and is no part of it.
    published = costs({})["publisher"]
    system.wait(lambda: system.accepted() >= wanted, "all pushes accepted")
    system.wait(system.idle, "an idle system")
    after = costs(system.groups) | {"publisher": published}
    if system.accepted() != wanted:
        raise RuntimeError(f"{system.accepted() - wanted} pushes more than there are devices")
    return {name: round((after[name] - before[name]) * 1e6 / pushes, 1) for name in after if name != _OURS}


def _encryption(count: int = 2_000) -> float:
    """CPU microseconds that the encryption of one message costs."""
    browsers, message = subscriptions(200), payload()
    began = time.process_time()
    for number, salt in enumerate(salts(count)):
        encrypt(message, browsers[number % len(browsers)], salt)
    return (time.process_time() - began) * 1e6 / count


def _summary(found: dict[str, list[float]], encryption: Sequence[float]) -> dict[str, Any]:
    """Ratios are medians of those within a repeat."""
    rows = zip(found["apns"], found["fcm"], found["web"], found["mixed"], encryption, strict=True)
    share = {kind: count / sum(MIX.values()) for kind, count in MIX.items()}
    ratios: dict[str, list[float]] = {"fcm": [], "web": [], "mixed": []}
    for apns, fcm, web, mixed, alone in rows:
        ratios["fcm"].append(fcm / apns)
        ratios["web"].append((web - apns) / alone)
        allowed = apns * (share["apns"] + FCM_BAR * share["fcm"]) + share["web"] * (apns + WEB_BAR * alone)
        ratios["mixed"].append(mixed / allowed)
    times = {name: median(values) for name, values in ratios.items()}
    return {
        "cpu_us_per_push": {name: round(median(values), 1) for name, values in found.items()},
        "encryption_us": round(median(encryption), 1),
        "fcm_times_apns": round(times["fcm"], 2),
        "web_over_apns_in_encryptions": round(times["web"], 2),
        "mixed_of_allowed": round(times["mixed"], 2),
        "bars": {"fcm": times["fcm"] <= FCM_BAR, "web": times["web"] <= WEB_BAR, "mixed": times["mixed"] <= 1.0},
        "repeats": len(encryption),
    }
