"""Each kind of provider through its own client, beside APNs, beside the libraries that its service is known by, and beside the
encryption that a browser's message needs. Bars are named in `BARS`.
"""

import json
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.peers.kinds import ENDPOINT, subscriptions
from benchmarks.support.figures import medians, say
from benchmarks.support.load import payload
from benchmarks.support.processes import ROOT, cores, pin
from benchmarks.support.ranges import shooting_range
from worker.core.receiver_keys import Keys
from worker.providers.web.vapid import new_key_pair
from worker.simulator import FcmSettings, SimulatorProcess

CONNECTIONS: Final = 10
STREAMS: Final = 100
#: Notifications of one run, and of its warm-up, in which all connections are opened.
COUNTS: Final = {"apns": 200_000, "fcm": 150_000, "webpush": 20_000, "encryption": 20_000}
WARM_UPS: Final = {"apns": 20_000, "fcm": 20_000, "webpush": 2_000, "encryption": 0}
#: Whose answers the server gives.
SERVERS: Final = {"apns": "apns", "fcm": "fcm", "webpush": "web"}
#: What must be reached: the first's rate over the second's.
BARS: Final = {
    ("fcm", "apns"): 0.7,
    ("fcm", "firebase_admin"): 80.0,
    ("webpush", "encryption"): 0.7,
    ("webpush", "pywebpush"): 1.5,
}
FOREIGN: Final = ("firebase_admin", "pywebpush")
#: Of the connections' streams over the time of an answer, through eight task threads.
LATENCY_BAR: Final = 0.85
#: Seconds that a foreign sender is watched.
FOREIGN_SECONDS: Final = 3.0
_FOREIGN: Final = Path(__file__).parents[1] / "peers" / "foreign.py"


def measure_kinds(runs: int, scale: float, python: str | None) -> dict[str, Any]:
    """Medians of interleaved runs at instant answers. `python` has the foreign senders; None: they are left out."""
    rates: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ranges = {
            name: stack.enter_context(shooting_range(kind=kind, streams=STREAMS)) for name, kind in SERVERS.items()
        }
        # It needs no server.
        ranges["encryption"] = ranges["webpush"]
        foreign = stack.enter_context(_foreign(python))
        for _ in range(runs):
            for kind, place in ranges.items():
                count = max(1_000, int(COUNTS[kind] * scale))
                target = msgspec.structs.replace(
                    place.target,
                    count=count,
                    warm_up=int(WARM_UPS[kind] * scale),
                    connections=CONNECTIONS,
                    ordered=False,
                )
                result, spent = place.run(kind, target)
                rates.setdefault(kind, []).append(count / result.seconds)
                cpu.setdefault(kind, []).append(result.cpu / count * 1e6)
                busy.setdefault(kind, []).append(spent * count / result.seconds)
                say(f"{kind:16} {rates[kind][-1]:10,.0f} /s   server {100 * busy[kind][-1]:3.0f} % busy")
            for name, task in foreign.items():
                found = _run_foreign(python or "", name, task, next(iter(ranges.values())).core)
                rates.setdefault(name, []).append(found["count"] / found["seconds"])
                cpu.setdefault(name, []).append(found["cpu"] / found["count"] * 1e6)
                say(f"{name:16} {rates[name][-1]:10,.0f} /s")
    return _summary(rates, cpu, medians(busy)) | {"absent": [] if python else list(FOREIGN)}


def measure_kinds_latency(latency_ms: float, runs: int, scale: float) -> dict[str, Any]:
    """How much of streams ÷ latency ten connections to FCM reach through a worker's threads."""
    bound = CONNECTIONS * STREAMS / (latency_ms / 1_000)
    count = max(5_000, int(bound * 5 * scale))
    shares = []
    with shooting_range(latency_ms, kind="fcm", streams=STREAMS) as place:
        warm_up = max(5_000, int(bound * 3 * scale))
        target = msgspec.structs.replace(place.target, count=count, warm_up=warm_up, connections=CONNECTIONS)
        for _ in range(runs):
            result, _spent = place.run("fcm", target)
            shares.append(count / result.seconds / bound)
            say(f"fcm              {100 * shares[-1]:5.1f} % of {bound:,.0f} /s")
    share = medians({"fcm": shares})["fcm"]
    return {"bound": bound, "share_of_bound": round(share, 3), "reached": share >= LATENCY_BAR}


def _summary(
    rates: Mapping[str, Sequence[float]], cpu: Mapping[str, Sequence[float]], busy: Mapping[str, float]
) -> dict[str, Any]:
    """Ratios are medians of those within a round: other work on the machine is much the same in both then."""
    pairs = {f"{one}/{other}": (one, other) for one, other in BARS if one in rates and other in rates}
    times = {pair: _times(rates[one], rates[other]) for pair, (one, other) in pairs.items()}
    return {
        "rates": {name: round(rate, 1) for name, rate in medians(rates).items()},
        "cpu_us_per_notification": {name: round(cost, 2) for name, cost in medians(cpu).items()},
        "server_busy": {name: round(share, 2) for name, share in busy.items()},
        "ratios": {pair: round(ratio, 2) for pair, ratio in times.items()},
        "cpu_ratios": {pair: round(_times(cpu[other], cpu[one]), 2) for pair, (one, other) in pairs.items()},
        "bars": {pair: times[pair] >= BARS[names] for pair, names in pairs.items()},
    }


def _times(some: Sequence[float], others: Sequence[float]) -> float:
    return median(one / other for one, other in zip(some, others, strict=True))


@contextmanager
def _foreign(python: str | None) -> Iterator[dict[str, dict[str, Any]]]:
    """What each foreign sender is given, while what it sends to runs."""
    if python is None:
        say(f"{', '.join(FOREIGN)}: left out; give --peer-python a Python that has them")
        yield {}
        return
    key = rsa.generate_private_key(65_537, 2_048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    # It speaks HTTP/1.1, of which only the simulator has a server. All but one of a thousand messages are hardly looked at.
    with SimulatorProcess(FcmSettings(record="counters", check_every=1_000)) as simulator:
        if len(free := cores()) > 1:
            pin(simulator.pid, free[-1])
        account = {"project_id": "carillon-bench", "client_email": "push@carillon-bench.iam.gserviceaccount.com"}
        yield {
            "firebase_admin": {
                "url": f"https://localhost:{simulator.port}",
                "ca_path": str(simulator.ca_path),
                "account": account | {"private_key_id": "key-1", "private_key": pem},
                "tokens": [f"token{number:0147d}" for number in range(500)],
                "data": {"id": "0" * 36, "title": "Leia Organa", "body": "x" * 150},
            },
            "pywebpush": {
                "private_key": new_key_pair().private,
                "content": payload().decode(),
                "subscriptions": [_as_browsers_do(keys) for keys in subscriptions(100)],
            },
        }


def _as_browsers_do(keys: Keys) -> dict[str, Any]:
    named = {"p256dh": urlsafe_b64encode(keys.p256dh).decode(), "auth": urlsafe_b64encode(keys.auth).decode()}
    return {"endpoint": f"{ENDPOINT}abc", "keys": named}


def _run_foreign(python: str, name: str, task: Mapping[str, Any], core: int | None) -> dict[str, float]:
    """One run of a foreign sender: its count, seconds and CPU seconds. Raises RuntimeError."""
    document = json.dumps({**task, "seconds": FOREIGN_SECONDS}).encode()
    child = subprocess.Popen(
        [python, "-W", "ignore", str(_FOREIGN), name], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        if core is not None:
            pin(child.pid, core)
        out, _ = child.communicate(document, timeout=60)
    if child.returncode:
        raise RuntimeError(f"{name} ended with {child.returncode}; is it installed for {python}?")
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found
