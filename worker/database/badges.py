"""Which devices an event that clears badges concerns."""

from collections.abc import Sequence

from worker.core.badges import Cleared, Clearing, cleared
from worker.database.device_writes import Begun
from worker.database.long_tokens import TOKEN
from worker.database.postgres import Connection


def clearings(db: Connection, asked: Sequence[Clearing]) -> list[Cleared]:
    """The devices of each event, in one query for all."""
    if not asked:
        return []
    owners = sorted({(one.app, one.user) for one in asked})
    rows = db.execute(
        f"SELECT d.app, d.user_id, d.id, {TOKEN} FROM unnest(%s::text[], %s::text[]) AS k (app, user_id)"
        " JOIN carillon.devices d USING (app, user_id) WHERE d.active AND d.purpose = 'alert' ORDER BY d.id".encode(),
        [list(column) for column in zip(*owners, strict=True)],
    )
    owned: dict[tuple[str, str], list[tuple[int, str]]] = {owner: [] for owner in owners}
    for app, user, id, token in rows:
        owned[app, user].append((id, token))
    return [cleared(one, owned[one.app, one.user]) for one in asked]


def beginning(one: Begun) -> Cleared:
    """The count of a device with a new owner or none starts at 0. It gets no push for that."""
    return Cleared("", one.app, [one.device], [one.device], one.place)
