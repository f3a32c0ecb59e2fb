"""Options that many commands have, with what the shell completes them to. Completion starts no engine and never complains."""

import math
from contextlib import suppress
from typing import Annotated, Any, Final

import typer

#: The longest that a command waits, in seconds; and the largest id that Postgres gives.
DAY: Final = 86_400
LARGEST_ID: Final = 2**63 - 1
#: Names that the shell is offered at most.
_MOST: Final = 200


def duration(least: float, most: float, text: str, *, hidden: bool = False) -> Any:
    """An option that is a number within bounds. NaN is within none, which the bounds of an option do not notice."""
    return typer.Option(min=least, max=most, help=text, callback=_number, hidden=hidden)


def _number(value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise typer.BadParameter("expected a number")
    return value


def apps(incomplete: str) -> list[str]:
    """Names of apps."""
    return _found("SELECT name FROM carillon.apps ORDER BY name LIMIT %s", _MOST, incomplete=incomplete)


def providers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of providers, of the app that was given before."""
    return _found(
        "SELECT DISTINCT name FROM carillon.providers WHERE removed_at IS NULL AND app = coalesce(%s, app)"
        " ORDER BY name LIMIT %s",
        ctx.params.get("app"),
        _MOST,
        incomplete=incomplete,
    )


def template_kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """Kinds of message that there are templates for."""
    return _of_templates("kind", ctx, incomplete)


def template_locales(ctx: typer.Context, incomplete: str) -> list[str]:
    """Languages that there are templates for."""
    return _of_templates("locale", ctx, incomplete)


def _of_templates(column: str, ctx: typer.Context, incomplete: str) -> list[str]:
    return _found(
        f"SELECT DISTINCT t.{column} FROM carillon.templates t JOIN carillon.providers p ON p.id = t.provider_id"
        f" WHERE p.app = coalesce(%s, p.app) AND t.{column} <> '' ORDER BY 1 LIMIT %s",
        ctx.params.get("app"),
        _MOST,
        incomplete=incomplete,
    )


def _found(statement: str, *arguments: Any, incomplete: str) -> list[str]:
    with suppress(Exception):
        from config.settings import get_settings
        from worker.database import postgres
        from worker.embedded import running

        settings = get_settings()
        embedded = None if settings.postgres_url else running(settings.data_dir)
        url = settings.postgres_url or (embedded and embedded.postgres)
        if url:
            with postgres.connect(url, connect_timeout=2, autocommit=True) as db:
                rows = db.execute(statement.encode(), arguments).fetchall()
            return [name for (name,) in rows if name.startswith(incomplete)]
    return []


App = Annotated[str | None, typer.Option(help="The app; may be left out where there is only one.", autocompletion=apps)]
OnlyApp = Annotated[str | None, typer.Option("--app", "-a", help="Only this app's.", autocompletion=apps)]
AppName = Annotated[str, typer.Argument(help="The app's name, as events name it.", autocompletion=apps)]
ProviderName = Annotated[str, typer.Argument(help="The provider's name.", autocompletion=providers)]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
Wait = Annotated[float, duration(0, 60, "Seconds to wait until workers have applied it.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")]
