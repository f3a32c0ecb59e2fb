"""`carillon dead-letters`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producers.events import FIELD, STREAM
from worker.cli._terminal import echo, json_shown, json_text, shown

if TYPE_CHECKING:
    from worker.runtime import Runtime
    from worker.stores.ledger import Ledger, StoredLetter

_JSON = typer.Option("--json", help="One JSON object a line.")
_LIMIT = typer.Option(min=1, max=10_000, help="The newest so many.")

dead_letters = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)


@dead_letters.callback()
def _root(
    context: typer.Context,
    limit: Annotated[int, _LIMIT] = 20,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Look at what could not be processed and was set aside: documents with their errors. Without a command: list them."""
    if context.invoked_subcommand is None:
        _list(limit, as_json)


@dead_letters.command("list")
def _list(limit: Annotated[int, _LIMIT] = 20, as_json: Annotated[bool, _JSON] = False) -> None:
    """List what was set aside, the newest first. Shows errors, no documents."""
    with _ledger() as ledger:
        letters = ledger.dead_letters(limit)
    for letter in letters:
        echo(json_text(_summary(letter)) if as_json else shown(_line(letter)))
    if not letters and not as_json:
        echo("nothing was set aside")


@dead_letters.command("show")
def _show(id: Annotated[int, typer.Argument(metavar="ID")], as_json: Annotated[bool, _JSON] = False) -> None:
    """Show one with its document, which may hold a message's text or a device's token."""
    with _ledger() as ledger:
        letter = ledger.dead_letter(id)
    if letter is None:
        sys.exit(f"carillon: there is no dead letter {id}")
    document = letter.letter.document.decode(errors="replace")
    if as_json:
        echo(json_text(_summary(letter) | {"document": document}))
        return
    for name, value in _summary(letter).items():
        echo(shown(f"{name:<9} {'-' if value is None else value}"))
    echo(f"\n{_indented(document)}")


@dead_letters.command("retry", epilog="Example: carillon dead-letters retry 12")
def _retry(id: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Publish one once more, after what was wrong is mended: an app created, a provider named, a fault fixed."""
    with _runtime() as runtime:
        letter = _known(runtime.ledger, id).letter
        if letter.app is not None and letter.event_id is not None:
            runtime.ledger.forget_message(letter.app, letter.event_id)
        runtime.redis.xadd(STREAM, {FIELD: letter.document})
        runtime.ledger.drop_letter(id)
    echo(f"{id} is published once more")


@dead_letters.command("drop", epilog="Example: carillon dead-letters drop 12")
def _drop(id: Annotated[int, typer.Argument(metavar="ID")]) -> None:
    """Forget one for good."""
    with _ledger() as ledger:
        _known(ledger, id)
        ledger.drop_letter(id)
    echo(f"{id} is dropped")


def _known(ledger: "Ledger", id: int) -> "StoredLetter":
    letter = ledger.dead_letter(id)
    if letter is None:
        echo(f"carillon: there is no dead letter {id}", err=True)
        raise typer.Exit(2)
    return letter


@contextmanager
def _ledger() -> "Iterator[Ledger]":
    with _runtime() as runtime:
        yield runtime.ledger


@contextmanager
def _runtime() -> "Iterator[Runtime]":
    from worker.cli._desk import desk

    with desk() as runtime:
        yield runtime


def _summary(stored: "StoredLetter") -> dict[str, Any]:
    letter = stored.letter
    at = datetime.fromtimestamp(stored.at, UTC).isoformat(timespec="seconds")
    return {
        "id": stored.id,
        "at": at,
        "app": letter.app,
        "event": letter.event_id,
        "entry": letter.entry,
        "error": letter.error,
    }


def _line(stored: "StoredLetter") -> str:
    letter = stored.letter
    at = datetime.fromtimestamp(stored.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{stored.id:>5}  {at}  {letter.app or '-'}/{letter.event_id or '-'}  {letter.error}"


def _indented(document: str) -> str:
    try:
        return json_shown(json.dumps(json.loads(document), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        return document
