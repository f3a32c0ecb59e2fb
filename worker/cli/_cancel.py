"""`carillon push cancel`: ends a targeted push before its time."""

from typing import Annotated, Final

import typer

from worker.cli._options import App, Json
from worker.cli._session import app_named, refuse, say, session
from worker.database import lookups
from worker.process.by_hand import by_hand
from worker.state import scheduled

EPILOG: Final = "Example: carillon push cancel push-1f0c --app chat"


def cancel(
    id: Annotated[str, typer.Argument(metavar="ID", help="The push's id, as push send and push scheduled show it.")],
    app: App = None,
    as_json: Json = False,
) -> None:
    """Cancel a push that waits for its time. Exit code 2: it does not wait, because it began, is over or never existed."""
    with session() as runtime:
        name = app_named(runtime, app).name
        with runtime.pool.connection() as db:
            recorded = lookups.recorded(db, name, id)
        if recorded is None:
            refuse(f"no push {id!r} of app {name!r} is known; carillon push scheduled lists those that wait")
        of = runtime.of_app(name)
        with by_hand(runtime) as hand:
            hand.record("push cancelled", app=name, target=id)
            if not scheduled.cancel(of.partition, of.journal, name, id, recorded[0]):
                refuse(
                    f"{id} does not wait for its time any more; carillon why {id} --app {name} says what became of it"
                )
    say({"app": name, "cancelled": id}, f"cancelled: {id} of app {name!r} is sent to nobody", as_json=as_json)
