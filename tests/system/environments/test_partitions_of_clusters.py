"""The number of partitions is changed in a cluster: each old and new one may be on another node."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from producers.partitions import Layout, tags
from tests.valkey import Cluster
from worker.state.layout import CLOSED
from worker.state.redis import connect
from worker.state.repartition import Copy, clients, close_rest, forget

pytestmark = pytest.mark.slow

APPS = [f"app-{n}" for n in range(40)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("clustered"), stack)


@pytest.mark.parametrize(("before", "after"), [(4, 16), (16, 1)])
def test_each_app_s_keys_go_to_the_node_of_its_partition(cluster: Cluster, before: int, after: int) -> None:
    cluster.rest()
    old, new = Layout(before, tags(before, before)), Layout(before + 1, tags(after, before + 1))
    with connect(cluster.url) as any_slot:
        client_of = clients(any_slot)
        for app in APPS:
            prefix = old.prefix(old.partition_of(app))
            client = client_of(prefix)
            client.hset(f"{prefix}badge:{app}", "7", "3")
            id: Any = client.xadd(old.stream(app), {"event": f'{{"app":"{app}","id":"e"}}'})
            client.hset(f"{prefix}open", f"{id.decode()}~{old.partition_of(app)}", "1")
        close_rest(old, client_of)
        copied = Copy(old, new, client_of, {}).run()
        assert (copied.entries, copied.unread, copied.apps) == (len(APPS), 0, set(APPS))
        forget(old, client_of)
        for app in APPS:
            prefix = new.prefix(new.partition_of(app))
            assert client_of(prefix).hget(f"{prefix}badge:{app}", "7") == b"3"
            [name] = [one.after for one in copied.renames if one.app == app]
            assert client_of(prefix).hget(f"{prefix}open", name) == b"1"
            assert client_of(prefix).xrange(new.stream(app), name.partition("~")[0], name.partition("~")[0])
            before_prefix = old.prefix(old.partition_of(app))
            assert client_of(before_prefix).keys(f"{before_prefix}*") == [old.stream(app).encode()]
            assert client_of(before_prefix).get(old.stream(app)) == CLOSED.encode()
