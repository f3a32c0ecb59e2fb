"""How many devices an app or a provider has, as far as that can be counted at once."""

from typing import Final, NamedTuple

from worker.database.postgres import Connection

#: Devices of an app that are looked at.
MOST: Final = 50_000


class Count(NamedTuple):
    devices: int
    users: int
    #: There are more: only so many were looked at.
    more: bool = False


def of_app(db: Connection, app: str) -> dict[int, Count]:
    """The active devices of each provider, by its id, among the first `MOST` of the app."""
    rows = db.execute(
        "SELECT provider_id, count(*), count(DISTINCT user_id), sum(count(*)) OVER ()::bigint FROM ("
        "SELECT provider_id, user_id FROM carillon.devices WHERE app = %s AND active ORDER BY id LIMIT %s"
        ") AS looked GROUP BY provider_id",
        (app, MOST),
    ).fetchall()
    return {id: Count(devices, users, looked == MOST) for id, devices, users, looked in rows}


def of_provider(db: Connection, app: str, provider: int) -> Count:
    """The active devices of one provider."""
    return of_app(db, app).get(provider, Count(0, 0))
