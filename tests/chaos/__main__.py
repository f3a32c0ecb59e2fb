"""`python -m tests.chaos`: breaks the system while it works, and draws up the account."""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import get_args

from tests.chaos import report
from tests.chaos.faults import FAULTS, faults_of
from tests.chaos.run import Options, run
from tests.chaos.system import Engine
from tests.chaos.verdict import judge


def main() -> int:
    # Without bytecode a worker that begins again compiles what it imports, and every bar of time is missed.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seconds",
        type=float,
        default=75.0,
        help="of faults; from 240 on each comes alone first, from 600 on they last long",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fault", action="append", default=[], choices=sorted(FAULTS), help="only these; repeatable")
    parser.add_argument("--rate", type=float, default=12.0, help="messages a second")
    parser.add_argument("--scale", type=float, default=0.02, help="part of 100,000 in bursts and the largest channel")
    parser.add_argument("--kill-every", type=float, default=2.5, help="seconds between two kills in a mix")
    parser.add_argument("--lasting", action="store_true", help="faults last as in a run of 600 seconds or more")
    parser.add_argument(
        "--redis",
        choices=get_args(Engine),
        default="single",
        help="one server, three primaries with a replica each, or a primary with two replicas and three Sentinels",
    )
    parser.add_argument("--partitions", type=int, default=1, help="each has an app of its own")
    parser.add_argument(
        "--spread", action="store_true", help="there is one app, and its channels are in all partitions"
    )
    parser.add_argument(
        "--pooler", action="store_true", help="workers reach Postgres through PgBouncer, transaction mode"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--report", action="store_true", help="write the run into docs/reliability.md")
    parser.add_argument("--keep", action="store_true", help="leave the logs where they are")
    given = parser.parse_args()
    if impossible := set(given.fault) - set(faults_of(given.redis)):
        parser.error(f"not with --redis {given.redis}: {', '.join(sorted(impossible))}")
    if given.spread and given.partitions == 1:
        parser.error("--spread: needs several --partitions")
    options = Options(
        given.seconds,
        given.seed,
        tuple(given.fault),
        rate=given.rate,
        scale=given.scale,
        kill_every=given.kill_every,
        lasting=given.lasting,
        pooler=given.pooler,
        engine=given.redis,
        partitions=given.partitions,
        spread=given.spread,
    )
    directory = Path(tempfile.mkdtemp(prefix="carillon-chaos-"))
    # The database runs as another user where we are root.
    directory.chmod(0o711)
    try:
        found = run(options, directory, _say)
        verdict = judge(found)
    finally:
        if given.keep:
            sys.stderr.write(f"logs in {directory / 'logs'}\n")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.write((report.as_json if given.json else report.as_text)(found, verdict) + "\n")
    if given.report:
        report.write(found, verdict)
    return 0 if verdict.good else 1


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
