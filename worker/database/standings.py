"""Reads for a batch, in one query, how devices, users and channels are related now. Decides nothing."""

from collections.abc import Sequence
from typing import NamedTuple

from worker.core.again import Standing
from worker.database.devices import OWNED
from worker.database.postgres import Pool


class Question(NamedTuple):
    """The ids of one job: device, user, and the message's channel and sender, '' if it has none."""

    device: int
    user: str
    channel: str
    sender: str


class Standings:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def read(self, app: str, questions: Sequence[Question]) -> list[Standing]:
        """One answer for each question, in the same order."""
        if not questions:
            return []
        with self._pool.connection() as db:
            rows = db.execute(
                (
                    f"SELECT EXISTS (SELECT FROM carillon.devices d WHERE d.id = q.device AND d.user_id = q.user_id AND {OWNED}),"
                    " EXISTS (SELECT FROM carillon.members m WHERE m.app = %s AND m.channel = q.channel"
                    " AND m.user_id = q.user_id AND m.present),"
                    " EXISTS (SELECT FROM carillon.mutes m WHERE m.app = %s AND m.user_id = q.user_id"
                    " AND m.target = q.sender AND m.muted),"
                    " coalesce((SELECT c.push FROM carillon.channels c WHERE c.app = %s AND c.id = q.channel), true)"
                    " FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[])"
                    " WITH ORDINALITY AS q (device, user_id, channel, sender, n) ORDER BY q.n"
                ).encode(),
                (app, app, app, *map(list, zip(*questions, strict=True))),
            ).fetchall()
        return [Standing(*row) for row in rows]
