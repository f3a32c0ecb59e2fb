"""How long one direct message takes, from publish to its acceptance by the push service, and how often it waits for an engine.

Four figures of real workers on embedded engines and a simulator:

- calm: messages at a steady pace, nothing else.
- blast: the same while one message goes to a large channel.
- round trips: messages one at a time behind a proxy that counts each answer of Redis and Postgres. What an idle system asks
  anyway is subtracted, and shown.
- far: the same behind a proxy that delays everything, so that a round trip takes 100 ms.

    python -m benchmarks.latency --json
    python -m benchmarks.latency --json --against REV    this tree and another revision in turn
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import psycopg

from benchmarks.support.delay import DelayProxy, RoundTrip
from benchmarks.support.figures import emit, say
from benchmarks.support.processes import ROOT, Children, end_on_sigterm, tail
from benchmarks.support.stage import APP, Stage, stage
from producers import Publisher
from worker.core.model import AppSettings

#: Users with a device each, who get the direct messages in turn.
USERS: Final = 200
#: Members of the large channel, with a device each.
BLAST: Final = 100_000
#: Seconds between two messages of a pace, and between two that are alone.
PACE: Final = 0.05
ALONE: Final = 0.5
#: Messages behind the proxy: a figure of few is that of chance.
ONE_BY_ONE: Final = 20
#: Seconds that a message, and the blast, may take.
PATIENCE: Final = 60.0
#: Seconds each way behind the proxy of the far figure.
FAR: Final = 0.05
#: Files that this benchmark consists of: another revision is measured by the same.
_OURS: Final = ("latency.py", "support/delay.py", "support/stage.py")
_WORST_RATIO: Final = 0.6


def people(place: Stage, members: int) -> None:
    """Users with a device each, and a channel of so many others."""
    with psycopg.connect(place.urls.postgres) as db, db.cursor() as cursor:
        with cursor.copy("COPY carillon.channels (app, id, name) FROM STDIN") as rows:
            rows.write_row((APP, "all", "All"))
        with cursor.copy("COPY carillon.members (app, channel, user_id, at, present) FROM STDIN") as rows:
            for n in range(members):
                rows.write_row((APP, "all", f"member-{n}", 1, True))
        with cursor.copy(
            "COPY carillon.devices (app, token, user_id, provider_id, registered_at, active) FROM STDIN"
        ) as rows:
            for n in range(USERS):
                rows.write_row((APP, _token(n), f"user-{n}", place.provider.id, 1, True))
            for n in range(members):
                rows.write_row((APP, f"{n:064x}", f"member-{n}", place.provider.id, 1, True))
    place.sql("VACUUM ANALYZE carillon.members", "VACUUM ANALYZE carillon.devices")


def _token(user: int) -> str:
    return f"{user:08x}".rjust(64, "a")


def event(id: str, channel: str, **fields: Any) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    common = {"v": 1, "type": "message.new", "id": id, "app": APP, "at": at, "channel": {"id": channel}}
    return common | {"message": {"id": f"m-{id}", "text": "the bells toll at noon"}, "sender": {"id": "s"}} | fields


class Sent:
    """Messages that were published, and when each was accepted. Sends to each user once at a time."""

    def __init__(self, place: Stage, publisher: Publisher, children: Children) -> None:
        self._place, self._publisher, self._children = place, publisher, children
        self._number = 0
        #: The token that is notified, and UNIX seconds of the publication.
        self._published: list[tuple[str, float]] = []
        self._after = int(place.simulator.control.counts()["total"])

    def send(self) -> None:
        user = self._number % USERS
        self._number += 1
        self._published.append((_token(user), time.time()))
        self._publisher.publish(event(f"d{time.monotonic_ns()}", f"dm-{user}", recipients=[f"user-{user}"]))

    def await_all(self) -> list[tuple[float, float]]:
        """When each was published and accepted, in UNIX seconds. Raises TimeoutError."""
        ends = time.monotonic() + PATIENCE
        while True:
            accepted: dict[str, list[float]] = {}
            for one in self._place.simulator.control.accepted(self._after):
                accepted.setdefault(one["token"], []).append(one["at"] / 1000)
            wanted = [token for token, _ in self._published]
            if all(len(accepted.get(token, ())) >= wanted.count(token) for token in set(wanted)):
                break
            if time.monotonic() > ends:
                raise TimeoutError(f"not accepted within {PATIENCE:.0f} s\n{tail(self._children.log)}")
            self._children.check()
            time.sleep(0.2)
        times = {token: iter(sorted(of)) for token, of in accepted.items()}
        found = [(at, next(times[token])) for token, at in self._published]
        self._published.clear()
        self._after = int(self._place.simulator.control.counts()["total"])
        return found


def paced(sent: Sent, messages: int, seconds: float) -> list[float]:
    """Seconds that each took. So many seconds lie between two on average: none is in step with what repeats itself."""
    for _ in range(messages):
        began = time.monotonic()
        sent.send()
        time.sleep(max(0.0, random.uniform(0.5, 1.5) * seconds - (time.monotonic() - began)))
    return [accepted - published for published, accepted in sent.await_all()]


def figures(seconds: Sequence[float]) -> dict[str, Any]:
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1)

    return {"messages": len(ordered), "p50_ms": at(0.5), "p99_ms": at(0.99), "most_ms": round(ordered[-1] * 1000, 1)}


@contextmanager
def workers(place: Stage, environ: Mapping[str, str], processes: int, redis_url: str) -> Iterator[Sent]:
    """Workers, beat and a publisher. They are warm: each has expanded and delivered some messages."""
    children = Children(place.directory / f"workers-{time.monotonic_ns()}.log", environ)
    try:
        for number in range(processes):
            children.start("worker.cli", "worker", "--concurrency", "8", "--name", f"n{number}")
        children.start("worker.cli", "beat")
        with Publisher(redis_url) as publisher:
            sent = Sent(place, publisher, children)
            for _ in range(4):
                paced(sent, 10, 0.02)
            time.sleep(1.0)
            yield sent
    finally:
        children.stop()


def blast(place: Stage, sent: Sent, members: int) -> list[float]:
    """What direct messages take from the publication of one to a channel of so many until all of its pushes are accepted."""
    before = int(place.simulator.control.counts()["accepted"])
    with Publisher(place.urls.redis) as publisher:
        publisher.publish(event(f"blast-{time.monotonic_ns()}", "all"))

    def accepted() -> int:
        return int(place.simulator.control.counts()["accepted"]) - before

    messages, ends = 0, time.monotonic() + PATIENCE
    # Some of these are direct ones, of which the last is on its way.
    while accepted() < members:
        if time.monotonic() > ends:
            break
        sent.send()
        messages += 1
        time.sleep(random.uniform(0.5, 1.5) * PACE)
    # The simulator answers nobody while it hands over its record of so many pushes.
    while accepted() < members + messages and time.monotonic() < ends:
        time.sleep(PACE)
    return [accepted - published for published, accepted in sent.await_all()]


def proxied(place: Stage, proxy: DelayProxy) -> dict[str, str]:
    """The environment of workers that find the engines behind the proxy."""
    of_redis, of_postgres = urlsplit(place.urls.redis), urlsplit(place.urls.postgres)
    login = of_redis.netloc.rpartition("@")[0]
    there = of_redis._replace(netloc=f"{login}@127.0.0.1:{proxy.ports['redis']}")
    user = of_postgres.netloc.partition("@")[0]
    other = of_postgres._replace(
        netloc=f"{user}@127.0.0.1:{proxy.ports['postgres']}", query="sslmode=disable&gssencmode=disable"
    )
    urls = {"CARILLON_REDIS_URL": urlunsplit(there), "CARILLON_POSTGRES_URL": urlunsplit(other)}
    return place.environ | urls


def targets(place: Stage) -> dict[str, str | tuple[str, int]]:
    of_redis, of_postgres = urlsplit(place.urls.redis), urlsplit(place.urls.postgres)
    folder = unquote(parse_qs(of_postgres.query)["host"][0])
    return {"redis": (str(of_redis.hostname), int(of_redis.port or 6379)), "postgres": f"{folder}/.s.PGSQL.5432"}


def round_trips(sent: Sent, proxy: DelayProxy, messages: int) -> dict[str, Any]:
    """Per message, one at a time: until it is accepted, and in all, which has its end and its part of the ledger."""
    seconds = messages * ALONE
    proxy.take()
    time.sleep(seconds)
    idle = proxy.take()
    began = time.time()
    for _ in range(messages):
        sent.send()
        time.sleep(ALONE)
    found, took = proxy.take(), time.time() - began
    times = sent.await_all()
    background = {name: _of(idle, name) / seconds for name in proxy.ports}
    # The median: what an idle system asks comes in bursts, which few messages meet.
    to_accepted = {
        name: median(
            sum(published <= one.at <= accepted for one in found if one.engine == name)
            - background[name] * (accepted - published)
            for published, accepted in times
        )
        for name in proxy.ports
    }
    in_all = {name: (_of(found, name) - background[name] * took) / messages for name in proxy.ports}
    return {
        "to_accepted": _rounded(to_accepted),
        "in_all": _rounded(in_all),
        "idle_a_second": _rounded(background),
        "messages": messages,
    }


def _of(found: Sequence[RoundTrip], engine: str) -> int:
    return sum(one.engine == engine for one in found)


def _rounded(of: Mapping[str, float]) -> dict[str, float]:
    return {name: round(n, 1) for name, n in of.items()} | {"both": round(sum(of.values()), 1)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    members = max(1, int(BLAST * options.scale))
    messages = max(10, int(options.messages * options.scale))
    result: dict[str, Any] = {}
    with ExitStack() as stack:
        place = stack.enter_context(stage(AppSettings(APP, member_cap=None), record="compact"))
        people(place, members)
        with workers(place, place.environ, options.processes, place.urls.redis) as sent:
            result["calm"] = figures(paced(sent, messages, PACE))
            say(f"calm        {result['calm']}")
            if "blast" in options.parts:
                result["blast"] = figures(blast(place, sent, members)) | {"notifications": members}
                result["blast"]["p99_times_calm"] = round(result["blast"]["p99_ms"] / result["calm"]["p99_ms"], 2)
                say(f"blast       {result['blast']}")
        if "proxy" in options.parts:
            place.clear()
            proxy = stack.enter_context(DelayProxy(targets(place)))
            environ = proxied(place, proxy)
            with workers(place, environ, options.processes, environ["CARILLON_REDIS_URL"]) as sent:
                result["round_trips"] = round_trips(sent, proxy, options.alone)
                say(f"round trips {result['round_trips']}")
                proxy.delay = FAR
                paced(sent, 3, 1.0)
                result["far"] = figures(paced(sent, options.alone, 1.0)) | {"round_trip_ms": FAR * 2000}
                proxy.delay = 0.0
                say(f"far         {result['far']}")
    result["bar"] = bars(result)
    return result


def bars(result: Mapping[str, Any]) -> dict[str, bool]:
    found = {}
    if "round_trips" in result:
        found["10_round_trips"] = result["round_trips"]["to_accepted"]["both"] <= 10
        found["far_p50_within_1.1_s"] = result["far"]["p50_ms"] <= 1100
    if "blast" in result:
        found["blast_p99_within_3_times_calm"] = result["blast"]["p99_times_calm"] <= 3
    return found


def compare(revision: str, pairs: int, arguments: Sequence[str]) -> dict[str, Any]:
    """Calm latencies, and the rest, of this tree and of another revision: both run in turn, by this very benchmark."""
    from benchmarks.support.against import worktree  # noqa: PLC0415 the other revision need not have it

    found: dict[Path, list[dict[str, Any]]] = {}
    with worktree(revision) as other:
        for name in _OURS:
            shutil.copy(ROOT / "benchmarks" / name, other / "benchmarks" / name)
        for number in range(pairs):
            trees = (ROOT, other) if number % 2 == 0 else (other, ROOT)
            for tree in trees:
                found.setdefault(tree, []).append(_run(tree, arguments))
            ours, theirs = found[ROOT][-1], found[other][-1]
            say(f"pair {number + 1}: calm {ours['calm']} / {theirs['calm']}")
    result: dict[str, Any] = {"against": revision, "pairs": pairs}
    for part in ("p50_ms", "p99_ms"):
        both = [(o["calm"][part], t["calm"][part]) for o, t in zip(found[ROOT], found[other], strict=True)]
        result[f"calm_{part}"] = {"ours": median(o for o, _ in both), "theirs": median(t for _, t in both)}
        result[f"calm_{part}"]["ratio"] = round(median(o / t for o, t in both), 3)
    result["bar"] = {
        f"{part}_within_0.6": result[f"calm_{part}_ms"]["ratio"] <= _WORST_RATIO for part in ("p50", "p99")
    }
    return result | {"ours": found[ROOT], "theirs": found[other]}


def _run(tree: Path, arguments: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.latency", "--json", *arguments]
    environ = {**os.environ, "PYTHONPATH": str(tree)}
    with subprocess.Popen(
        command, cwd=tree, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            out, said = run.communicate(timeout=10 * PATIENCE)
        finally:
            run.terminate()  # it stops what it started
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed in {tree}:\n{said[-4000:]}")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def main() -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument("--messages", type=int, default=300, help="of the calm pace (%(default)s)")
    parser.add_argument(
        "--alone", type=int, default=ONE_BY_ONE, help="messages one by one behind the proxy (%(default)s)"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="part of the messages and of the blast (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes (%(default)s)")
    parser.add_argument(
        "--parts", nargs="*", choices=("blast", "proxy"), default=["blast", "proxy"], help="beside the calm pace (all)"
    )
    parser.add_argument("--against", metavar="REV", help="compare with this revision, pair by pair")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs with --against (%(default)s)")
    options = parser.parse_args()
    end_on_sigterm()
    if options.against:
        sizes = [f"--{name}={getattr(options, name)}" for name in ("messages", "alone", "scale", "processes")]
        emit(compare(options.against, options.pairs, [*sizes, "--parts", *options.parts]), as_json=options.json)
        return
    began = time.monotonic()
    result = measure(options)
    emit(result | {"seconds": round(time.monotonic() - began, 1)}, as_json=options.json)


if __name__ == "__main__":
    main()
