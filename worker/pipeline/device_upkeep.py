"""What the tick does for devices: retires stale ones and deletes old rows, in bounded steps."""

from collections.abc import Sequence

from worker.database.device_upkeep import prune_history, upkeep
from worker.database.postgres import Pool
from worker.state.partition import Keyspace


class Upkeep:
    def __init__(self, pool: Pool, keyspace: Keyspace) -> None:
        self._pool, self._keyspace = pool, keyspace

    def prune(self, days: int, *, bite: int = 20_000) -> dict[str, int]:
        """Checks the next `bite` devices: retires those stale by their app's `stale_days`, deletes those inactive for `days`.

        Until then a retired device can be restored, and a late write that is older than an unregistration is recognised.
        Returns how much was deleted; of the history, how many days.
        """
        redis, walk = self._keyspace.fleet.redis, self._keyspace.fleet.keys.DEVICES_WALK()
        after = int(redis.get(walk) or 0)
        done = upkeep(self._pool, after, days, bite)
        redis.set(walk, done.last or 0)
        for app, n in done.stale.items():
            of = self._keyspace.of_app(app)
            of.redis.hincrby(of.keys.COUNTS(app), "devices.stale", n)
        for app, ids in done.forgotten.items():
            self._forget_badges(app, ids)
        old = prune_history(self._pool)
        return {"stale": sum(done.stale.values()), "forgotten": sum(map(len, done.forgotten.values())), "history": old}

    def _forget_badges(self, app: str, ids: Sequence[int]) -> None:
        of = self._keyspace.of_app(app)
        with of.redis.pipeline(transaction=False) as pipe:
            for at in range(0, len(ids), 1000):
                for key in (of.keys.BADGE(app), of.keys.CLEARED(app)):
                    pipe.hdel(key, *map(str, ids[at : at + 1000]))
            pipe.execute()
