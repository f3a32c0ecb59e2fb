"""A server that answers at once, and clients against it: each has a core of its own, where there are two."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.support.canned import CannedServer
from benchmarks.support.load import TOPIC, Result, Target, payload, tokens
from benchmarks.support.processes import ROOT, cores, cpu_seconds, pin
from worker.providers.apns.token import mint

STREAMS: Final = 1_000
#: Answers that the server has ready for a connection.
ANSWERS: Final = 1_000_000
TIMEOUT: Final = 120.0
#: Names of `benchmarks.peers.kinds`; all others are of `benchmarks.peers.senders`.
CLIENTS_OF_KINDS: Final = ("apns", "fcm", "webpush", "encryption")
_TEAM: Final = "TEAM000001"
_KEY_ID: Final = "KEY0000001"


class Range:
    """A running server and the core that clients run on."""

    def __init__(self, server: CannedServer, target: Target, directory: Path, core: int | None) -> None:
        self.server, self.target, self.directory, self.core = server, target, directory, core

    def run(self, name: str, target: Target) -> tuple[Result, float]:
        """One run of a client; what it found, and the server's CPU seconds for a notification."""
        before = cpu_seconds([self.server.pid])
        result = self._h2load(target) if name == "h2load" else self.finish(self.begin(name, target))
        spent = cpu_seconds([self.server.pid]) - before
        if result.other:
            raise RuntimeError(
                f"{name}: {result.other} of {target.count} notifications had no answer of the expected kind"
            )
        return result, spent / (target.count + target.warm_up)

    def begin(self, name: str, target: Target) -> "subprocess.Popen[bytes]":
        """Starts a client."""
        child = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.peers.{'kinds' if name in CLIENTS_OF_KINDS else 'senders'}", name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self.core is not None:
            pin(child.pid, self.core)
        assert child.stdin is not None
        child.stdin.write(msgspec.json.encode(target))
        child.stdin.close()
        child.stdin = None
        return child

    def finish(self, child: "subprocess.Popen[bytes]") -> Result:
        """Waits for a client and reads its result."""
        try:
            out, _ = child.communicate(timeout=TIMEOUT)
        finally:
            child.kill()
            child.wait()
        if child.returncode:
            raise RuntimeError(f"a client ended with {child.returncode}")
        return msgspec.json.decode(out.splitlines()[-1], type=Result)

    def _h2load(self, target: Target) -> Result:
        """One thread, one connection, all streams; ids cannot differ in it, tokens do."""
        body, uris = self.directory / "payload", self.directory / "uris"
        body.write_bytes(payload())
        base = f"https://{target.host}:{target.port}/3/device/"
        uris.write_text("".join(f"{base}{token}\n" for token, _ in tokens(10_000)))
        command = ["h2load", "-t1", "-c1", f"-m{STREAMS}", f"-n{target.count}", f"-d{body}", f"-i{uris}"]
        headers = {
            "authorization": f"bearer {target.authorization}",
            "apns-topic": TOPIC,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-id": "0a1b2c3d-0a1b-2c3d-4e5f-0a1b2c3d4e5f",
        }
        command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        if self.core is not None and shutil.which("taskset"):
            command = ["taskset", "-c", str(self.core), *command]
        before = children_cpu()
        out = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout
        used = children_cpu() - before
        rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", out)
        statuses = re.search(r"status codes: (\d+) 2xx, \d+ 3xx, (\d+) 4xx", out)
        assert rate is not None
        assert statuses is not None
        accepted, gone = int(statuses[1]), int(statuses[2])
        return Result(target.count / float(rate[1]), used, accepted, gone, target.count - accepted - gone)


@contextmanager
def shooting_range(latency_ms: float = 0.0, *, kind: str = "apns", streams: int = STREAMS) -> Iterator[Range]:
    """A server on the last core, which allows so many streams; clients get the first. On a single core nothing is pinned."""
    free = cores()
    private = ec.generate_private_key(ec.SECP256R1())
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carillon-benchmark-")))
        server = stack.enter_context(CannedServer(directory, ANSWERS, latency_ms / 1000, kind=kind, streams=streams))
        if len(free) > 1:
            pin(server.pid, free[-1])
        token = mint(_TEAM, _KEY_ID, key, time.time())
        target = Target(
            "localhost", server.port, server.ca_pem, key, _TEAM, _KEY_ID, token, count=0, ordered=not latency_ms
        )
        yield Range(server, target, directory, free[0] if len(free) > 1 else None)


def children_cpu() -> float:
    """CPU seconds of children that have ended."""
    times = os.times()
    return times.children_user + times.children_system
