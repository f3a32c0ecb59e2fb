"""`carillon publish`."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import producers
from config import credentials
from producers.compose import Words, composed
from producers.feed import Source, Tally, feed, lines_of, opened
from worker.cli._faults import refuse
from worker.cli._nobody import Messages
from worker.cli._options import duration
from worker.cli._paths import given_path
from worker.cli._secret_options import warn_of_password
from worker.cli._terminal import echo, json_text, prose, shown
from worker.embedded import Urls
from worker.process.host import at_terminal

_MESSAGE = "One message, instead of a file"
EPILOG = "Bad lines are named by number and field while the good ones go through: exit code 2. Redis away: exit code 1."


def _word(meaning: str) -> Any:
    return typer.Option(help=meaning, rich_help_panel=_MESSAGE)


def publish(
    file: Annotated[str | None, typer.Argument(help="JSON lines, one event a line; - is standard input.")] = None,
    app: Annotated[str | None, _word("The app.")] = None,
    channel: Annotated[str | None, _word("Id of the channel.")] = None,
    sender: Annotated[str | None, _word("User id of the sender.")] = None,
    text: Annotated[str | None, _word("The text.")] = None,
    channel_name: Annotated[str | None, _word("The channel's name, for the title.")] = None,
    sender_name: Annotated[str | None, _word("The sender's name, for the title.")] = None,
    mention: Annotated[list[str] | None, _word("A mentioned user; may be repeated.")] = None,
    mention_everyone: Annotated[bool, _word("Every member counts as mentioned.")] = False,
    recipient: Annotated[list[str] | None, _word("A user instead of the channel's members; may be repeated.")] = None,
    parent: Annotated[str | None, _word("Id of the thread's root message.")] = None,
    parent_sender: Annotated[str | None, _word("Who wrote that root message.")] = None,
    kind: Annotated[str | None, _word("Kind of message; default: regular.")] = None,
    data: Annotated[str | None, _word("A JSON object that is handed to the app.")] = None,
    skip_push: Annotated[bool, _word("No push for this message.")] = False,
    event_id: Annotated[str | None, typer.Option("--id", help="Idempotency key.", rich_help_panel=_MESSAGE)] = None,
    message_id: Annotated[str | None, _word("Id of the message.")] = None,
    redis_url: Annotated[
        str | None,
        typer.Option(
            help="Without a password, which others would see. Default: CARILLON_REDIS_URL, else the embedded one."
        ),
    ] = None,
    timeout: Annotated[float, duration(0.1, 3_600, "Seconds to wait for Redis.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Publish events: JSON lines from a file or standard input, or one message made of flags."""
    warn_of_password("--redis-url", redis_url, "CARILLON_REDIS_URL")
    words = Words(
        app=app,
        channel=channel,
        sender=sender,
        text=text,
        id=event_id,
        message_id=message_id,
        channel_name=channel_name,
        sender_name=sender_name,
        parent=parent,
        parent_sender=parent_sender,
        kind=kind,
        data=data,
        mention=mention or (),
        mention_everyone=mention_everyone,
        recipient=recipient or (),
        skip_push=skip_push,
    )
    messages = Messages()
    warnings: list[str] = []
    try:
        source = (
            opened(file if file == "-" else str(given_path(file)))
            if file is not None
            else lines_of(composed(words, datetime.now(UTC)))
        )
        with source, _engines(redis_url) as urls:
            with (
                producers.Publisher(
                    urls.redis, timeout=timeout, credentials=credentials.known(urls.redis)
                ) as publisher,
                _progress(file, source, shown=file is not None and not as_json) as progress,
            ):
                tally = feed(source, publisher, _refused, progress, messages.add)
            if urls.postgres:
                warnings = messages.warnings(urls.postgres)
                if tally.accepted:
                    _record(urls, app, tally, file)
    except OSError as fault:
        refuse(f"{file}: cannot be read: {fault.strerror or fault}")
    except ValueError as fault:
        refuse(fault)
    if tally.stopped:
        prose(f"carillon: {tally.stopped}", err=True)
    echo(json_text(tally.summary() | {"warnings": warnings}) if as_json else shown(tally.text(), lines=True))
    for warning in warnings:
        prose(f"carillon: warning: {warning}", err=True)
    if file is None and tally.events and not as_json:
        prose(f"what becomes of it: carillon why {tally.events[0]} --app {app}")
    raise typer.Exit(tally.exit_code)


def _record(urls: Urls, app: str | None, tally: Tally, file: str | None) -> None:
    """Adds it to the audit log. Published it is, whatever Postgres says."""
    import psycopg

    from worker.database import postgres
    from worker.reports import acts
    from worker.reports.faults import sentence

    detail = {"accepted": tally.accepted, "refused": tally.refused}
    target = tally.events[0] if file is None else "standard input" if file == "-" else Path(file).name
    try:
        with postgres.connect(urls.postgres, connect_timeout=2, autocommit=True) as db:
            acts.record(db, acts.made("events published", app=app, target=target, detail=detail))
    except psycopg.Error as fault:
        prose(f"carillon: warning: not in the audit log: {sentence(fault)}", err=True)


def _refused(number: int, fault: Exception) -> None:
    prose(shown(f"line {number}: {fault}"), err=True)


@contextmanager
def _engines(given: str | None) -> Iterator[Urls]:
    """Redis, and Postgres where it is known too, for the warnings; empty where it is not."""
    from config.settings import get_settings
    from worker.cli._engines import in_use

    if given:
        yield Urls(given, "")
        return
    settings = get_settings()
    if settings.redis_url and not settings.postgres_url:  # a machine that only publishes
        yield Urls(settings.redis_url, "")
        return
    with in_use() as urls:
        yield urls


@contextmanager
def _progress(file: str | None, source: Source, *, shown: bool) -> Iterator[Callable[[Tally], None]]:
    """Shows a bar on a terminal: of bytes where the input has a size, else of events."""
    if not (shown and at_terminal(sys.stderr)):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    total = None if file == "-" else os.fstat(source.fileno()).st_size
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("0 accepted", total=total)
        yield lambda tally: bar.update(task, completed=tally.read, description=str(tally))
