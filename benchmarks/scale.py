"""What grows: one channel of millions, and partitions over servers.

`channel`: a message to one channel of 10,000,000 members, a fifth of whom have a device, while direct messages of the same app
go on at a pace. The bars: the peak of a worker's memory grows by at most 50 MB, and the direct messages' p99 is at most 1.5
times what it is in calm.

`partitions`: sixteen apps over 1, 2 and 4 partitions, on one Valkey and on a cluster of three. The bar: CPU a push within 10 % of
that of one partition on as many servers. What a system uses while it is idle is a figure of its own and no part of a push.

    python -m benchmarks.scale --json [--quick]
    python -m benchmarks.scale --json --parts partitions --repeats 5
    python -m benchmarks.scale --json --parts channel --members 100000 --seconds 10
"""

import argparse
import time
from contextlib import ExitStack
from typing import Any, Final

from benchmarks.memory import Peak
from benchmarks.support import partitioned
from benchmarks.support.figures import emit, say
from benchmarks.support.paced import PEOPLE, Paced, people
from benchmarks.support.processes import end_on_sigterm
from benchmarks.support.stage import APP, Stage, stage
from benchmarks.support.system import System
from benchmarks.support.systems import Layout, running
from producers import Publisher
from worker.core.model import AppSettings

PARTS: Final = ("partitions", "channel")
MEMBERS: Final = 10_000_000
QUICK_MEMBERS: Final = 1_000_000
#: One member in so many has a device.
DEVICE_EVERY: Final = 5
#: Members that one statement writes.
_CHUNK: Final = 1_000_000
_HUGE: Final = "huge"
#: Megabytes that the message may add to the peak of a worker, and times of the calm p99.
MEMORY_BAR: Final = 50.0
P99_BAR: Final = 1.5
#: Seconds that the message may take for each 100,000 devices, and besides.
_SLOWEST: Final = 60.0
#: Direct messages that the simulator's record has room for.
_DIRECT_MESSAGES: Final = 200_000
#: Direct messages that may be on their way at once, a second's worth.
_ON_THEIR_WAY: Final = 20


def huge(place: Stage, members: int) -> None:
    """Writes the channel, its members and their devices into the database."""
    place.sql(f"INSERT INTO carillon.channels (app, id, name) VALUES ('{APP}', '{_HUGE}', 'Huge')")
    provider = place.provider.id
    for first in range(0, members, _CHUNK):
        last = min(members, first + _CHUNK) - 1
        numbers = f"generate_series({first}, {last})"
        place.sql(
            "INSERT INTO carillon.members (app, channel, user_id, at, present)"
            f" SELECT '{APP}', '{_HUGE}', 'user-' || lpad(n::text, 8, '0'), 1, true FROM {numbers} n",
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
            f" SELECT '{APP}', 'a' || substr(md5(n::text) || md5('x' || n::text), 2),"
            f" 'user-' || lpad(n::text, 8, '0'), {provider}, 1, true FROM {numbers} n WHERE n % {DEVICE_EVERY} = 0",
        )
        say(f"{last + 1:,} members written")
    place.sql("VACUUM ANALYZE carillon.members", "VACUUM ANALYZE carillon.devices")


def channel(options: argparse.Namespace) -> dict[str, Any]:
    """One message to the channel, beside paced direct messages."""
    devices = -(-options.members // DEVICE_EVERY)
    with ExitStack() as stack:
        app = AppSettings(APP, member_cap=None)
        place = stack.enter_context(stage(app, record="compact", recorded=devices + _DIRECT_MESSAGES))
        people(place)
        huge(place, options.members)
        layout = Layout(options.processes, 8)
        system = stack.enter_context(running(place, "carillon_http2", layout))
        paced = Paced(place)
        paced.start()
        try:
            system.wait(lambda: system.accepted() > PEOPLE, "the first direct messages")
            calm = time.time()
            time.sleep(options.seconds)
            peaks = [Peak(pid) for pid in system.groups["worker"]]
            before = _look(peaks)
            began = time.time()
            _publish(place)
            took = _delivered(system, paced, devices, began)
            ended = time.time()
            after = _look(peaks)
        finally:
            paced.stop()
        wanted = devices + paced.published()
        system.wait(lambda: system.accepted() >= wanted and system.idle(), "an idle system")
        if system.accepted() != wanted:
            raise RuntimeError(f"{system.accepted() - wanted} pushes more than there are devices")
        phases = [("calm", calm, began), ("meanwhile", began, ended)]
        taken = paced.taken(phases)
    added = max(late - early for early, late in zip(before, after, strict=True))
    times = round(taken["meanwhile"]["p99"] / taken["calm"]["p99"], 2)
    return {
        "members": options.members,
        "devices": devices,
        "seconds": round(took, 1),
        "pushes_per_second": round(devices / took),
        "peak_mb": {"before": [round(one, 1) for one in before], "after": [round(one, 1) for one in after]},
        "added_mb": round(added, 1),
        "direct_messages": taken,
        "p99_times_calm": times,
        "bars": {"memory": added <= MEMORY_BAR, "direct_messages": times <= P99_BAR},
    }


def _publish(place: Stage) -> None:
    event = {
        "v": 1,
        "type": "message.new",
        "id": f"huge-{time.monotonic_ns()}",
        "app": APP,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "channel": {"id": _HUGE},
        "message": {"id": "m-huge", "text": "the bells toll at noon"},
        "sender": {"id": "somebody", "name": "Somebody"},
    }
    with Publisher(place.urls.redis) as publisher:
        publisher.publish(event)


def _look(peaks: list[Peak]) -> list[float]:
    for peak in peaks:
        peak.look()
    return [peak.megabytes for peak in peaks]


def _delivered(system: System, paced: Paced, devices: int, began: float) -> float:
    """Seconds until the devices of the channel were accepted, but as many as there may be direct messages on their way."""
    before, ends = system.accepted() - paced.published(), began + _SLOWEST * (1 + devices / 100_000)
    while system.accepted() - paced.published() - before < devices - _ON_THEIR_WAY:
        if time.time() > ends:
            raise TimeoutError(f"{devices:,} devices: not within {ends - began:.0f} s")
        system.children.check()
        time.sleep(0.2)
    return time.time() - began


def main() -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MEMBERS:,} members")
    parser.add_argument("--members", type=int, help=f"of the channel (default: {MEMBERS:,})")
    parser.add_argument("--seconds", type=float, default=20.0, help="of calm before the message (%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--partitions", type=int, nargs="+", default=(1, 2, 4), help="numbers of partitions (1 2 4)")
    parser.add_argument("--servers", type=int, nargs="+", default=(1, 3), help="numbers of Valkey servers (1 3)")
    parser.add_argument("--repeats", type=int, help="systems of each variant (default: 3; 1 with --quick)")
    parser.add_argument("--rounds", type=int, default=3, help="of messages in each system (%(default)s)")
    parser.add_argument("--scale", type=float, help="part of a round's messages (default: 1; 0.25 with --quick)")
    parser.add_argument(
        "--rest", type=float, default=partitioned.REST, help="seconds before a system is idle (%(default)s)"
    )
    parser.add_argument("--idle", type=float, default=partitioned.IDLE, help="seconds of an idle system (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="worker processes (%(default)s)")
    options = parser.parse_args()
    options.members = options.members or (QUICK_MEMBERS if options.quick else MEMBERS)
    end_on_sigterm()
    result: dict[str, Any] = {}
    if "partitions" in options.parts:
        variants = [(partitions, servers) for servers in options.servers for partitions in options.partitions]
        repeats, scale = (
            options.repeats or (1 if options.quick else 3),
            options.scale or (0.25 if options.quick else 1.0),
        )
        lengths = {"rest": options.rest, "idle": options.idle}
        result["partitions"] = partitioned.measure(
            variants, repeats, options.rounds, scale, processes=options.processes, **lengths
        )
    if "channel" in options.parts:
        result["channel"] = channel(options)
    emit(result, as_json=options.json)


if __name__ == "__main__":
    main()
