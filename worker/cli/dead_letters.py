"""`carillon dead-letters`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from config.redaction import without_subscription
from worker.cli._faults import refuse
from worker.cli._groups import group
from worker.cli._moments import rfc3339
from worker.cli._options import LARGEST_ID, Json, apps
from worker.cli._terminal import echo, json_shown, json_text, shown

if TYPE_CHECKING:
    from worker.database.ledger import Ledger, Selection, StoredLetter
    from worker.process.runtime import Runtime

_JSON = typer.Option("--json", help="One JSON object a line.")
_LIMIT = typer.Option(min=1, max=10_000, help="The newest so many.")

dead_letters = group("Look at documents that could not be processed.", bare=True)


_App = Annotated[
    str | None,
    typer.Option("--app", help="Only this app's; '' is those whose app is not known.", autocompletion=apps),
]
_All = Annotated[bool, typer.Option("--all", help="All of them, or all that --app and --before name.")]
_Before = Annotated[
    str | None, typer.Option("--before", help="Only those from before: 30m, 2h, 7d ago, or 2026-11-21T20:00Z.")
]
_Id = Annotated[int | None, typer.Argument(metavar="[ID]", min=1, max=LARGEST_ID, show_default=False)]


@dead_letters.callback()
def _root(
    context: typer.Context,
    limit: Annotated[int, _LIMIT] = 20,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Look at documents that could not be processed, and their errors. Without a command: list them."""
    if context.invoked_subcommand is None:
        _list(limit, as_json)


@dead_letters.command("list")
def _list(limit: Annotated[int, _LIMIT] = 20, as_json: Annotated[bool, _JSON] = False, app: _App = None) -> None:
    """List dead letters, the newest first. Shows errors, no documents."""
    with _ledger() as ledger:
        letters = ledger.dead_letters(limit, app)
    for letter in letters:
        echo(json_text(_summary(letter)) if as_json else shown(_line(letter)))
    if not letters and not as_json:
        echo("there are no dead letters")


@dead_letters.command("show")
def _show(
    id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID)], as_json: Annotated[bool, _JSON] = False
) -> None:
    """Show one with its document, which may hold a message's text or a device's token. A subscription is left out."""
    with _ledger() as ledger:
        letter = ledger.dead_letter(id)
    if letter is None:
        refuse(f"there is no dead letter {id}")
    document = without_subscription(letter.letter.document.decode(errors="replace"))
    if as_json:
        echo(json_text(_summary(letter) | {"document": document}))
        return
    for name, value in _summary(letter).items():
        echo(shown(f"{name:<9} {'-' if value is None else value}"))
    echo(f"\n{_indented(document)}")


@dead_letters.command("retry", epilog="Example: carillon dead-letters retry 12, or: retry --app chat --before 1h")
def _retry(
    id: _Id = None,
    app: _App = None,
    before: _Before = None,
    every: _All = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many at once, the oldest.")] = 1_000,
    as_json: Json = False,
) -> None:
    """Publish one or many again once the cause is corrected: an app created, a provider named, a fault fixed."""
    from worker.cli._session import say
    from worker.process import dead_letters as by_hand
    from worker.reports.words import counted

    which = _selection(id, app, before, every)
    with _runtime() as runtime:
        if which is None:
            assert id is not None
            if not by_hand.retry(runtime, _known(runtime.ledger, id)):
                refuse(f"of {id} only the beginning was kept: it was too large for an event")
            say({"published": 1, "left": 0, "kept": 0}, f"{id} is published once more", as_json=as_json)
            return
        done = by_hand.retry_selected(runtime, which, limit)
    text = f"{counted(done.published, 'is', 'are')} published once more; {counted(done.left, 'is', 'are')} left"
    text += f", {done.kept:,} of them cannot be published" if done.kept else ""
    say({"published": done.published, "left": done.left, "kept": done.kept}, text, as_json=as_json)


@dead_letters.command("drop", epilog="Example: carillon dead-letters drop 12, or: drop --app chat --before 7d")
def _drop(id: _Id = None, app: _App = None, before: _Before = None, every: _All = False, as_json: Json = False) -> None:
    """Forget one for good, or many."""
    from worker.cli._session import say
    from worker.process import dead_letters as by_hand
    from worker.reports.words import counted

    which = _selection(id, app, before, every)
    with _runtime() as runtime:
        if which is None:
            assert id is not None
            by_hand.drop(runtime, _known(runtime.ledger, id))
            say({"dropped": 1}, f"{id} is dropped", as_json=as_json)
            return
        dropped = by_hand.drop_selected(runtime, which)
    say({"dropped": dropped}, f"{counted(dropped, 'is', 'are')} dropped", as_json=as_json)


def _selection(id: int | None, app: str | None, before: str | None, every: bool) -> "Selection | None":
    """Which letters are meant; None: the one of that id."""
    from worker.cli._moments import moment
    from worker.database.ledger import Selection

    if id is not None:
        if app is not None or before is not None or every:
            refuse("give an ID, or --all, --app and --before")
        return None
    if app is None and before is None and not every:
        refuse("which? An ID, --app, --before, or --all")
    at = None if before is None else moment(before, datetime.now(UTC), "--before").timestamp()
    return Selection(app, at)


def _known(ledger: "Ledger", id: int) -> "StoredLetter":
    letter = ledger.dead_letter(id)
    if letter is None:
        refuse(f"there is no dead letter {id}")
    return letter


@contextmanager
def _ledger() -> "Iterator[Ledger]":
    with _runtime() as runtime:
        yield runtime.ledger


@contextmanager
def _runtime() -> "Iterator[Runtime]":
    from worker.cli._session import session

    with session() as runtime:
        yield runtime


def _summary(stored: "StoredLetter") -> dict[str, Any]:
    letter = stored.letter
    return {
        "id": stored.id,
        "at": rfc3339(stored.at),
        "app": letter.app,
        "event": letter.event_id,
        "entry": letter.entry,
        "bytes": stored.size,
        "error": letter.error,
    }


def _line(stored: "StoredLetter") -> str:
    letter = stored.letter
    return f"{stored.id:>5}  {rfc3339(stored.at)}  {letter.app or '-'}/{letter.event_id or '-'}  {letter.error}"


def _indented(document: str) -> str:
    try:
        return json_shown(json.dumps(json.loads(document), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        return document
