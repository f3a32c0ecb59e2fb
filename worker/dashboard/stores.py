"""What pages read from: Postgres and Redis with short limits, so that a page comes also when they are slow or away."""

from config.secrets import generate_key
from worker.database.postgres import Pool, open_pool, open_reading_pool
from worker.database.registry import Registry
from worker.process.runtime import Runtime, once
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
    def registry(self) -> Registry:
        return Registry(self.pool, (generate_key(),), kinds)

    def close(self) -> None:
        if "acting" in vars(self):
            self.acting.close()
        super().close()


class Acting(Stores):
    """The same, for what an operator changes."""

    @once
    def pool(self) -> Pool:
        return open_pool(self.urls.postgres, size=2)
