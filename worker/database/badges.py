"""Which devices an event that clears badges is about."""

from collections.abc import Sequence
from typing import NamedTuple

from worker.database.device_writes import Begun
from worker.database.postgres import Connection
from worker.state.journal import Cleared


class Clearing(NamedTuple):
    """As it was published: where the user saw the messages, in every form of the token (None: anywhere)."""

    entry: str
    app: str
    user: str
    tokens: Sequence[str] | None
    #: Whether the user's other devices are cleared too.
    others: bool
    place: int


def clearings(db: Connection, asked: Sequence[Clearing]) -> list[Cleared]:
    """The devices of each, one query for all. The device on which the user saw it is cleared and not told."""
    if not asked:
        return []
    owners = sorted({(one.app, one.user) for one in asked})
    rows = db.execute(
        "SELECT d.app, d.user_id, d.id, d.token FROM unnest(%s::text[], %s::text[]) AS k (app, user_id)"
        " JOIN carillon.devices d USING (app, user_id) WHERE d.active ORDER BY d.id",
        [list(column) for column in zip(*owners, strict=True)],
    )
    owned: dict[tuple[str, str], list[tuple[int, str]]] = {owner: [] for owner in owners}
    for app, user, id, token in rows:
        owned[app, user].append((id, token))
    return [_cleared(one, owned[one.app, one.user]) for one in asked]


def beginning(one: Begun) -> Cleared:
    """A device that begins anew counts from there; it is told nothing, for nobody or somebody else has it."""
    return Cleared("", one.app, [one.device], [one.device], one.place)


def _cleared(one: Clearing, owned: Sequence[tuple[int, str]]) -> Cleared:
    here = {id for id, token in owned if token in (one.tokens or ())}
    devices = [id for id, _ in owned if one.others or id in here]
    return Cleared(one.entry, one.app, devices, here, one.place)
