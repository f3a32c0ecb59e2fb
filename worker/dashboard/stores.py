"""What pages read from: Postgres and Redis with short limits, so that a page comes also when they are slow or away."""

from config.secrets import generate_key
from worker.database.postgres import Pool, open_pool, open_reading_pool
from worker.database.registry import Registry
from worker.process.partitions import once
from worker.process.runtime import Runtime
from worker.providers import kinds
from worker.state.redis import Redis, connect


class Stores(Runtime):
    """The stores of `Runtime` on connections of the dashboard's own. They change nothing in Postgres and open no credential.

    Acts use those of `acting`.
    """

    @once
    def pool(self) -> Pool:
        return open_reading_pool(self.urls.postgres, size=4)

    @once
    def redis(self) -> Redis:
        return connect(self.urls.redis, timeout=1, retries=0)

    @once
    def acting(self) -> "Acting":
        return Acting(self.settings, self.urls)

    @once
    def may_change(self) -> bool:
        """Whether acts may change rows, and read the documents of dead letters: not as the role that only reads."""
        with self.acting.pool.connection() as db:
            [(may,)] = db.execute("SELECT has_table_privilege('carillon.dead_letters', 'DELETE')").fetchall()
        return bool(may)

    @once
    def registry(self) -> Registry:
        return Registry(self.pool, (generate_key(),), kinds)

    def renew(self) -> None:
        """From now on all is read from the partitions that there are now."""
        new = self.keyspace.renewed()
        if new is not self.keyspace:
            vars(self)["keyspace"] = new
            vars(self).pop("partitions", None)
        if "acting" in vars(self):
            self.acting.renew()

    def close(self) -> None:
        if "acting" in vars(self):
            self.acting.close()
        super().close()


class Acting(Stores):
    """The same, for what an operator changes: as the role that may."""

    @once
    def pool(self) -> Pool:
        return open_pool(self.settings.dashboard_acts_url or self.urls.postgres, size=2)
