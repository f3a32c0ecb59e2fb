"""Each app's registration rate, counted in the transaction that applies registrations: a repeated try is not counted twice."""

from collections.abc import Mapping, Sequence

from worker.core.rate import Bucket
from worker.database.postgres import Connection

#: App -> registrations a second, and the size of a burst.
Limits = Mapping[str, tuple[int, int]]


def admitted(db: Connection, calls: Sequence[tuple[str, int]], limits: Limits) -> list[bool]:
    """For each (app, ms at which it was published), in the order of the stream, whether its app's rate allows it.

    The time is the stream's, but not later than Postgres' time: a backlog of a time without workers is not a flood.
    """
    limited = sorted({app for app, _ in calls} & limits.keys())
    if not limited:
        return [True] * len(calls)
    rows = db.execute(
        "SELECT n.at, b.app, b.tokens, b.at FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS at) n"
        " LEFT JOIN carillon.registration_buckets b ON b.app = ANY(%s)",
        (limited,),
    ).fetchall()
    clock = rows[0][0]
    buckets = {app: Bucket(left, at) for _, app, left, at in rows if app is not None}
    answers = []
    for app, at in calls:
        if app not in limits:
            answers.append(True)
            continue
        rate, burst = limits[app]
        buckets[app], allowed = buckets.get(app, Bucket(burst, at)).take(at, rate=rate, burst=burst, clock=clock)
        answers.append(allowed)
    db.execute(
        "INSERT INTO carillon.registration_buckets (app, tokens, at)"
        " SELECT * FROM unnest(%s::text[], %s::float8[], %s::bigint[])"
        " ON CONFLICT (app) DO UPDATE SET tokens = excluded.tokens, at = excluded.at",
        (limited, [buckets[app].left for app in limited], [buckets[app].at for app in limited]),
    )
    return answers
