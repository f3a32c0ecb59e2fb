"""`carillon import`: moves a running product's devices, members, mutes and preferences in."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from config import credentials
from worker.cli._faults import fail
from worker.cli._moments import moment, rfc3339
from worker.cli._options import DAY, App, Json, duration
from worker.cli._paths import given_path
from worker.cli._session import app_named, provider_named, refuse, say, session
from worker.cli._terminal import echo

if TYPE_CHECKING:
    from worker.cli._importing import Files, State
    from worker.process.runtime import Runtime

EPILOG = "Example: carillon import export.jsonl --app chat   docs/moving-in.md says what a line is."
#: Seconds that `at` may be ahead, as in the contract.
_AHEAD: Final = 300
_LOOK: Final = 0.1
#: Reasons that are shown, and seconds between two words about how far it came.
_SHOWN, _PROGRESS = 5, 2.0


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl", help="An event without id, app and at on each line.")],
    app: App = None,
    provider: Annotated[str | None, typer.Option("--provider", "-p", help="Of devices whose line names none.")] = None,
    at: Annotated[
        str | None,
        typer.Option(help="When the export was made: newer events win over it. Default: when the file was written."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="From the beginning, whatever was imported before.")] = False,
    wait: Annotated[float, duration(0, DAY, "Seconds to wait at the end until workers have applied it.")] = 60,
    as_json: Json = False,
) -> None:
    """Import devices, members, channels, mutes, preferences and quiet times. Nobody gets a push because of it.

    Lines that cannot be taken are listed in FILE.jsonl.refused with their reasons, and the exit code is 2. Its position
    is in FILE.jsonl.import: after a stop the same command goes on there. A line that is imported twice counts once.
    """
    from producers import Publisher, PublishError
    from worker.cli._importing import Files, Importer, Pace, write_state
    from worker.pipeline.registrations import read_call
    from worker.process.by_hand import by_hand

    files = Files.beside(given_path(file))
    with session() as runtime:
        settings = app_named(runtime, app)
        if provider is not None:
            provider = provider_named(runtime, settings.name, provider).name
        try:
            state = _state(files, settings.name, at, again=again)
            if state.done:
                refuse(f"{file} was imported already ({_counts(state)}); --again imports it once more")
            write_state(files, state)
        except OSError as fault:
            refuse(f"{fault.filename}: {fault.strerror}")
        pace, over = Pace(settings), _over_rate(runtime, settings.name)
        if pace.rate is not None and not as_json:
            text = f"at most {pace.rate:,.0f} devices a second, for registration_rate of app {settings.name!r} is"
            echo(f"{text} {settings.registration_rate}; without one it is faster: carillon app set", err=True)
        began = time.time()
        try:
            with Publisher(runtime.urls.redis, credentials=credentials.known(runtime.urls.redis)) as publisher:
                importer = Importer(
                    files,
                    state,
                    publisher,
                    pace,
                    check=lambda event, document: read_call("0-0", event, document, runtime.apps),
                    provider=provider,
                    progress=(lambda _: None) if as_json else _Progress(),
                )
                importer.run()
        except PublishError as fault:
            fail(f"{fault}. {_counts(state)} so far; the same command goes on")
        finally:
            with by_hand(runtime) as hand:
                detail = {"published": state.published, "refused": state.refused, "lines": state.line}
                hand.record("events imported", app=settings.name, target=files.lines.name, detail=detail)
        applied = _applied(runtime, state, wait)
        outcome = _outcome(runtime, files, state, began, applied=applied)
        outcome["over_rate"] = _over_rate(runtime, settings.name) - over
    say(outcome, _text(outcome, state), as_json=as_json)
    raise typer.Exit(2 if state.refused else 0 if applied and not outcome["dead_letters"] else 1)


def _state(files: "Files", app: str, at: str | None, *, again: bool) -> "State":
    from worker.cli._importing import State, fingerprint, read_state

    size, digest = fingerprint(files.lines)
    try:
        known = None if again else read_state(files)
    except ValueError:
        refuse(f"{files.state}: does not say how far an import came; --again begins from the beginning")
    if known is not None:
        if (known.size, known.digest) != (size, digest):
            refuse(f"{files.lines} has changed since its import began; --again imports it from the beginning")
        if known.app != app:
            refuse(f"{files.lines} is being imported into app {known.app!r}; --again imports it from the beginning")
        return known
    now = datetime.now(UTC)
    of_file = datetime.fromtimestamp(files.lines.stat().st_mtime, UTC)
    made = min(of_file, now) if at is None else moment(at, now, "--at")
    if made > now + timedelta(seconds=_AHEAD):
        refuse("--at: is in the future; an export from there would win over every event until then")
    return State(app, size, digest, made)


def _applied(runtime: "Runtime", state: "State", wait: float) -> bool:
    """Whether workers have taken the last event, within so many seconds."""
    ends = time.monotonic() + wait
    of = runtime.keyspace.of_app(state.app)
    last = _last_of_spread(runtime, state.app) if state.entry and runtime.keyspace.layout.is_spread(state.app) else {}
    while (state.entry and of.redis.xrange(of.names.inlet, state.entry, state.entry)) or _untaken(runtime, last):
        if time.monotonic() > ends:
            return False
        time.sleep(_LOOK)
    return True


def _last_of_spread(runtime: "Runtime", app: str) -> dict[str, str]:
    """The last entries of the streams that a spread app's events are on."""
    found: dict[str, str] = {}
    for of in runtime.keyspace.all_of(app):
        stream = of.names.stream_for(app)
        newest: Any = of.redis.xrevrange(stream, count=1)
        for id, _ in newest:
            found[stream] = id.decode()
    return found


def _untaken(runtime: "Runtime", last: Mapping[str, str]) -> bool:
    """Whether a leader is not behind one of these entries yet."""
    if not last:
        return False
    from worker.core.entry import id_key
    from worker.database import cursors

    with runtime.pool.connection() as db:
        taken = cursors.taken(db)
    return any(id_key(taken.get(stream, ("0-0", None))[0]) < id_key(id) for stream, id in last.items())


def _over_rate(runtime: "Runtime", app: str) -> int:
    return int(runtime.of_app(app).journal.counts(app).get("devices.over_rate", 0))


def _outcome(runtime: "Runtime", files: "Files", state: "State", began: float, *, applied: bool) -> dict[str, Any]:
    with runtime.pool.connection() as db:
        row = db.execute(
            b"SELECT count(*) FROM carillon.dead_letters"
            b" WHERE app = %s AND starts_with(event_id, %s) AND at >= to_timestamp(%s)",
            (state.app, state.id, began),
        ).fetchone()
    return {
        "app": state.app,
        "at": rfc3339(state.at),
        "published": state.published,
        "refused": state.refused,
        "reasons": state.reasons,
        "refused_file": str(files.refused) if state.refused else None,
        "dead_letters": 0 if row is None else row[0],
        "applied": applied,
    }


def _text(outcome: dict[str, Any], state: "State") -> str:
    lines = [f"imported into app {state.app!r} as of {outcome['at']}: {_counts(state)}"]
    most = sorted(state.reasons.items(), key=lambda one: -one[1])[:_SHOWN]
    lines += [f"  {n:,} refused: {reason}" for reason, n in most]
    if outcome["refused_file"]:
        lines.append(
            f"refused lines and why: {Path(outcome['refused_file'])}; correct them, and import them as another file"
        )
    if outcome["dead_letters"]:
        lines.append(
            f"{outcome['dead_letters']:,} were dead-lettered by workers: carillon dead-letters list --app {state.app}"
        )
    if outcome["over_rate"]:
        lines.append(
            f"{outcome['over_rate']:,} registrations of the app came over its rate meanwhile, of the import or of people;"
            " import once more with --again"
        )
    lines.append("applied" if outcome["applied"] else "not applied yet: it is once workers run (carillon health)")
    return "\n".join(lines)


def _counts(state: "State") -> str:
    published = ", ".join(f"{n:,} {kind}" for kind, n in state.published.items()) or "nothing"
    return f"{published}; {state.refused:,} refused"


class _Progress:
    """Says how far it came, every now and then."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, state: "State") -> None:
        if (now := time.monotonic()) >= self._next:
            self._next = now + _PROGRESS
            share = state.offset * 100 // state.size if state.size else 100
            echo(f"{share} %: line {state.line:,}, {_counts(state)}", err=True)
