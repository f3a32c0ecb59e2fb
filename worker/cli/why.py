"""`carillon why`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from worker.cli._story import Story

EPILOG = "Example: carillon why evt-1 --app demo --user han"
#: Names shown of a longer list.
_SHOWN: Final = 12


def why(
    event: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event's id, as it was published.")],
    app: Annotated[str, typer.Option(help="The app.")],
    user: Annotated[str | None, typer.Option(help="Only this user.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, complete.")] = False,
) -> None:
    """Say what became of a message: who rang, on which devices, and why nobody else did. Exit code 1: nothing is known."""
    from config.settings import get_settings
    from worker.cli._story import Story, read
    from worker.embedded import engines
    from worker.runtime import Runtime

    settings = get_settings()
    with engines(settings) as urls:
        runtime = Runtime(settings, urls)
        try:
            while runtime.ledger.flush(runtime.journal):
                pass
            parts = runtime.ledger.of_event(app, event)
            letters = [] if parts else runtime.ledger.dead_letters(1000)
        finally:
            runtime.close()
    story = read(parts) if parts else Story()
    if as_json:
        typer.echo(json.dumps({"app": app, "event": event, "known": bool(parts)} | story.as_json()))
        raise typer.Exit(0 if parts else 1)
    if not parts:
        errors = [
            stored.letter.error for stored in letters if (stored.letter.app, stored.letter.event_id) == (app, event)
        ]
        sys.exit(f"carillon: {_unknown(app, event, errors)}")
    for line in _lines(story, user):
        typer.echo(line)


def _unknown(app: str, event: str, errors: list[str]) -> str:
    if errors:
        return f"event {event!r} of app {app!r} was set aside: {errors[0]}\nSee: carillon dead-letters"
    return (
        f"nothing is known of event {event!r} of app {app!r}: it was never published under this id, has not been taken yet,"
        " or is older than CARILLON_MESSAGE_RETENTION_DAYS"
    )


def _lines(story: "Story", user: str | None) -> list[str]:
    if user is None:
        return [*_head(story), *_rings(story, _SHOWN), *_silent(story)]
    mine = story.only(user)
    if mine.rings:
        return _rings(mine, _SHOWN)
    if mine.skipped:
        return [f"{user} did not ring: {_words(mine.skipped[user])}"]
    if story.whole is not None:
        return _head(story)
    if story.counted:
        counted = "; ".join(f"{n:,} {_words(reason)}" for reason, n in story.counted.items())
        return [f"{user} is not named: not a member then, or one of those who were only counted ({counted})"]
    return [f"{user} was not considered: not a member of the channel when the message was expanded"]


def _head(story: "Story") -> list[str]:
    from worker.cli._reasons import MESSAGES

    if story.whole is not None:
        return [f"nobody rang: {MESSAGES.get(story.whole, story.whole)} ({story.whole})"]
    silent = story.considered - len(story.rings)
    return [f"{story.considered:,} members were considered: {len(story.rings):,} ring, {silent:,} do not"]


def _rings(story: "Story", limit: int) -> list[str]:
    from worker.cli._story import told

    lines = []
    for user, devices in list(story.rings.items())[:limit]:
        lines.append(f"  {user} rings")
        lines += [f"    device {id}: {told(outcomes)}" for id, outcomes in sorted(devices.items())]
        if not devices:
            lines.append("    on its way")
    if len(story.rings) > limit:
        lines.append(f"  … and {len(story.rings) - limit:,} more ring; --user names one, --json names all")
    return lines


def _silent(story: "Story") -> list[str]:
    lines = []
    for reason, users in story.by_reason().items():
        more = f" … and {len(users) - _SHOWN:,} more" if len(users) > _SHOWN else ""
        lines.append(f"  {len(users):,} do not, {_words(reason)}:")
        lines.append(f"    {', '.join(users[:_SHOWN])}{more}")
    for reason, n in story.counted.items():
        lines.append(f"  {n:,} further members do not, counted without a look at each: {_words(reason)}")
    return lines


def _words(reason: str) -> str:
    from worker.cli._reasons import MEMBERS

    return f"{MEMBERS.get(reason, reason)} ({reason})"
