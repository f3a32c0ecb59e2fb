"""Users of Redis with the rules of a release that knew no partitions: where there are several, they read what is missing."""

from collections.abc import Iterator
from typing import Any

import pytest

from config.seldom import Seldom
from config.settings import Settings
from tests.integration.security.acl import url_of, users
from tests.valkey import Valkey
from worker.core.errors import UnfitError
from worker.dashboard.app import Dashboard
from worker.dashboard.stores import Stores
from worker.embedded import Urls
from worker.process.pulse import Pulse
from worker.state import layout
from worker.state.redis import Forbidden, connect

BEAT, DASHBOARD = "carillon-beat", "carillon-dashboard"


@pytest.fixture
def admin(valkey: Valkey) -> Iterator[Any]:
    """Of a server with four partitions and these users."""
    with connect(valkey.url) as client:
        made: Any = client
        layout.agree(made, 4)
        for name in (BEAT, DASHBOARD):
            rules = [one for one in users()[name] if "{" not in one and "carillon:layout" not in one]
            made.execute_command("ACL", "SETUSER", name, *rules)
        yield made


def test_beat_says_which_right_is_missing(valkey: Valkey, admin: Any, caplog: pytest.LogCaptureFixture) -> None:
    Pulse(url_of(valkey.url, BEAT))()
    assert "pulse not written: this user of Redis may not read carillon:layout" in caplog.text
    admin.execute_command("ACL", "SETUSER", BEAT, "(%R~carillon:layout -@all +get)")
    caplog.clear()
    Seldom.last.clear()
    Pulse(url_of(valkey.url, BEAT))()
    assert "docs/security.md" in caplog.text


def test_the_dashboard_says_which_right_is_missing(valkey: Valkey, admin: Any, postgres_url: str) -> None:
    stores = Stores(Settings(), Urls(url_of(valkey.url, DASHBOARD), postgres_url))
    try:
        with pytest.raises(UnfitError, match="may not read carillon:layout") as unread:
            _ = stores.fleet.redis.hgetall(stores.fleet.keys.WORKERS())
        admin.execute_command("ACL", "SETUSER", DASHBOARD, "%R~carillon:layout")
        with pytest.raises(Forbidden) as missing:
            stores.fleet.redis.hgetall(stores.fleet.keys.WORKERS())
    finally:
        stores.close()
    page = Dashboard.__new__(Dashboard)
    assert "may not read carillon:layout" in page._sentence(unread.value)
    assert "it has the rules of an earlier release" in page._sentence(missing.value)
