"""`python -m producers`: publish or print the JSON Schema, with nothing installed but what producers need."""

import argparse
import json
import os
import sys
from dataclasses import fields
from datetime import UTC, datetime

import producers
from producers.compose import Words, composed
from producers.feed import Source, feed, lines_of, opened
from producers.json_schema import text


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code; 2 says that something was refused, 1 that Redis did not take it."""
    given = _parser().parse_args(arguments)
    code: int = given.run(given)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m producers", description="Publish events to Carillon.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("schema", help="print the JSON Schema of an event").set_defaults(run=_schema)
    publish = commands.add_parser("publish", help="publish JSON lines, or one message from flags")
    publish.set_defaults(run=_publish)
    publish.add_argument("file", nargs="?", help="JSON lines, one event a line; - is standard input")
    url = os.environ.get("CARILLON_REDIS_URL")
    publish.add_argument("--redis-url", default=url, help="where Redis is; with a password in it: CARILLON_REDIS_URL")
    publish.add_argument("--timeout", type=float, default=5.0, help="seconds to wait for Redis (%(default)s)")
    publish.add_argument("--json", action="store_true", help="print the outcome as one JSON object")
    message = publish.add_argument_group("one message, instead of a file")
    for flag in ("app", "channel", "sender", "text"):
        message.add_argument(f"--{flag}")
    message.add_argument("--channel-name", help="for the title")
    message.add_argument("--sender-name", help="for the title")
    message.add_argument("--id", help="idempotency key of the event; default: made up")
    message.add_argument("--message-id", help="default: made up")
    message.add_argument("--parent", help="id of the thread's root message")
    message.add_argument("--parent-sender", help="who wrote that root message")
    message.add_argument("--kind", help="default: regular")
    message.add_argument("--data", help="a JSON object that is handed to the app")
    message.add_argument("--mention", action="append", default=[], help="a mentioned user; may be repeated")
    message.add_argument("--mention-everyone", action="store_true", help="every member counts as mentioned")
    message.add_argument("--recipient", action="append", default=[], help="instead of the members; may be repeated")
    message.add_argument("--skip-push", action="store_true", help="no push for this message")
    return parser


def _schema(_given: argparse.Namespace) -> int:
    sys.stdout.write(text())
    return 0


def _publish(given: argparse.Namespace) -> int:
    if not given.redis_url:
        return _failed("--redis-url or CARILLON_REDIS_URL is needed")
    if "@" in given.redis_url and given.redis_url != os.environ.get("CARILLON_REDIS_URL"):
        _say("--redis-url: the command line shows its password to every user of this machine: use CARILLON_REDIS_URL")
    try:
        with _source(given) as source, producers.Publisher(given.redis_url, timeout=given.timeout) as publisher:
            tally = feed(source, publisher, lambda number, fault: _say(f"line {number}: {fault}"))
    except (OSError, ValueError) as fault:
        return _failed(str(fault))
    if tally.stopped:
        _say(tally.stopped)
    sys.stdout.write((json.dumps(tally.summary()) if given.json else tally.text()) + "\n")
    return tally.exit_code


def _source(given: argparse.Namespace) -> Source:
    if given.file is not None:
        return opened(given.file)
    words = Words(**{field.name: getattr(given, field.name) for field in fields(Words)})
    return lines_of(composed(words, datetime.now(UTC)))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _failed(line: str) -> int:
    _say(f"python -m producers: {line}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
