"""Redis and Postgres over TLS: every client verifies the server's certificate and name, and talks to no one else."""

import asyncio
import gc
import json
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import OperationalError as KombuError
from psycopg import OperationalError
from redis import RedisError

from config.celeryconfig import celery_config
from config.settings import Settings
from producers import AsyncPublisher, Publisher, PublishError
from tests.integration.outbox.relays import badge
from tests.integration.security.tls import Front, tcp
from tests.valkey import Valkey
from worker.database.outbox import Outbox
from worker.database.postgres import open_pool
from worker.simulator.certificates import Identity
from worker.state.redis import connect


def rediss(port: int, identity: Identity | None) -> str:
    trust = "" if identity is None else f"?ssl_ca_certs={quote(str(identity.ca), safe='')}"
    return f"rediss://localhost:{port}/0{trust}"


def verified(port: int, identity: Identity, postgres_url: str) -> str:
    database = urlsplit(postgres_url).path
    return f"postgresql://carillon@localhost:{port}{database}?sslmode=verify-full&sslrootcert={identity.ca}"


def by_thread(url: str) -> None:
    with Publisher(url, timeout=10) as publisher:
        publisher.publish(badge(1))


def by_asyncio(url: str) -> None:
    async def publish() -> None:
        async with AsyncPublisher(url, timeout=10) as publisher:
            await publisher.publish(badge(1))

    asyncio.run(publish())


def by_worker(url: str) -> None:
    with connect(url) as client:
        client.xadd("carillon:events", {"event": badge(1)})


def by_celery(url: str) -> None:
    app = Celery("tls", set_as_current=False)
    app.conf.update(celery_config(Settings(), url))
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=2)
        queue: Any = connection.SimpleQueue("tls", serializer="json")
        queue.put({"hello": 1})
        message = queue.get(timeout=5)
        assert message.payload == {"hello": 1}
        message.ack()
        queue.close()


CLIENTS = [
    pytest.param(by_thread, id="Publisher"),
    pytest.param(by_asyncio, id="AsyncPublisher"),
    pytest.param(by_worker, id="worker"),
    pytest.param(by_celery, id="Celery"),
]
#: Each library has its own words for a server that is not trusted.
DISTRUST = (PublishError, RedisError, KombuError)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_talks_to_a_redis_it_can_verify(
    client: Callable[[str], None], identity: Identity, redis_front: Front
) -> None:
    client(rediss(redis_front.port, identity))
    assert redis_front.secured > 0
    assert redis_front.refused == 0


def test_a_loop_that_ends_with_its_publisher_leaves_no_socket_open(identity: Identity, valkey: Valkey) -> None:
    with Front(identity, tcp(valkey.port), lingers=0.3) as front:
        by_asyncio(rediss(front.port, identity))
        # What was left open warns here, and pytest makes an error of it.
        gc.collect()


def test_a_publisher_closes_within_a_second_although_the_server_does_not(identity: Identity, valkey: Valkey) -> None:
    async def publish(url: str) -> float:
        publisher = AsyncPublisher(url, timeout=10)
        await publisher.publish(badge(1))
        began = time.monotonic()
        await publisher.close()
        took = time.monotonic() - began
        # The dialogue goes on behind it, so the loop stays for its end.
        await asyncio.sleep(3)
        return took

    with Front(identity, tcp(valkey.port), lingers=3) as front:
        assert 0.9 < asyncio.run(publish(rediss(front.port, identity))) < 2.5


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_does_not_talk_to_a_redis_of_an_unknown_authority(
    client: Callable[[str], None], redis_front: Front, stranger: Identity
) -> None:
    with pytest.raises(DISTRUST, match=r"[Cc]ertificate"):
        client(rediss(redis_front.port, stranger))
    assert redis_front.secured == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_without_an_authority_of_its_own_a_client_trusts_the_system_s(
    client: Callable[[str], None], redis_front: Front
) -> None:
    with pytest.raises(DISTRUST, match=r"[Cc]ertificate"):
        client(rediss(redis_front.port, None))
    assert redis_front.secured == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_a_certificate_for_another_host_is_refused(
    client: Callable[[str], None], misnamed: Identity, valkey: Valkey
) -> None:
    with Front(misnamed, tcp(valkey.port)) as front:
        with pytest.raises(DISTRUST, match=r"[Cc]ertificate"):
            client(rediss(front.port, misnamed))
        assert _entries(valkey) == 0


def _entries(valkey: Valkey) -> int:
    with connect(valkey.url) as client:
        return int(client.xlen("carillon:events"))


def pooled(url: str) -> None:
    pool = open_pool(url, size=1)
    try:
        with pool.connection(timeout=5) as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
    finally:
        pool.close()


def outbox(url: str) -> None:
    table = Outbox(url)
    try:
        assert table.state(0).waiting == 0
    finally:
        table.close()


@pytest.mark.parametrize("client", [pytest.param(pooled, id="pool"), pytest.param(outbox, id="outbox")])
def test_postgres_is_verified_in_full(
    client: Callable[[str], None], identity: Identity, postgres_front: Front, postgres_url: str
) -> None:
    client(verified(postgres_front.port, identity, postgres_url))
    assert (postgres_front.secured, postgres_front.refused) == (1, 0)


def test_a_postgres_of_an_unknown_authority_is_refused(
    stranger: Identity, postgres_front: Front, postgres_url: str
) -> None:
    with pytest.raises(OperationalError, match="certificate verify failed"):
        outbox(verified(postgres_front.port, stranger, postgres_url))


@pytest.mark.parametrize(
    ("url", "tls"),
    [
        pytest.param("redis://h/0", None, id="none without rediss"),
        pytest.param("rediss://h/0", {"ssl_cert_reqs": "required"}, id="verified unless said otherwise"),
        pytest.param(
            "rediss://u:p%40@h/0?ssl_ca_certs=%2Fca.pem&ssl_check_hostname=false",
            {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
            id="as the URL says",
        ),
    ],
)
def test_celery_s_broker_reads_tls_from_the_url(url: str, tls: dict[str, Any] | None) -> None:
    conf = celery_config(Settings(), url)
    assert conf["broker_use_ssl"] == tls
    with Connection(conf["broker_url"]) as connection:  # for where Celery asks the URL alone
        said = None if tls is None else tls | {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        assert (connection.ssl or None) == said
    assert json.dumps(conf["broker_use_ssl"])
