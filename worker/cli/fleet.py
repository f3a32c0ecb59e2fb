"""`carillon fleet`: whose database this is."""

from typing import Annotated

import typer

from worker.cli._session import say, session
from worker.process.by_hand import by_hand


def fleet(
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Make the database that of CARILLON_FLEET, so that pushes go out again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Say which fleet this is, which one the database belongs to, and whether pushes go out.

    Set CARILLON_FLEET to another name in each environment. carillon migrate records it in a database that has none. If the two
    differ the database is a copy: it pushes only to the users that app set --only-to names.
    """
    from worker.core.fleet import is_foreign
    from worker.database import fleet as stored

    with session() as runtime:
        own = runtime.settings.fleet
        with by_hand(runtime) as hand, hand.runtime.pool.connection() as db:
            recorded = stored.recorded(db)
            if take_over:
                stored.take_over(db, own)
                hand.record("database taken over", detail={"before": {"fleet": recorded}, "after": {"fleet": own}})
                recorded = own
    foreign = is_foreign(recorded, own)
    outcome = {"fleet": own or None, "database": recorded or None, "pushes": not foreign}
    named = repr(recorded) if recorded else "no fleet in particular"
    here = f"CARILLON_FLEET is {own!r}" if own else "CARILLON_FLEET is not set"
    what = (
        "pushes go to nobody but those whom app set --only-to names; if it is yours: carillon fleet --take-over"
        if foreign
        else "pushes go out"
    )
    say(outcome, f"the database belongs to {named}, {here}: {what}", as_json=as_json)
