"""A URL that cannot be used is refused by a sentence that repeats no part of it: the password may be any of them."""

import pytest

from config.settings import SettingsError, load
from producers import AsyncPublisher, Publisher
from producers.urls import Address, fault_of_postgres, fault_of_redis, parse

GOOD_REDIS = [
    "redis://localhost",
    "redis://localhost:6379/",
    "redis://127.0.0.1:6379/15",
    "redis://[::1]:6379/0",
    "redis://:p%40ss@host/0",
    "rediss://user:p%2Fw%3A@redis.example:6380/1?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
    "unix:///run/redis/redis.sock",
    "unix://u:p%2Fw%3A@/run/redis/redis.sock?db=3",
    "redis+sentinel://a:26379,b,[::1]:26379/0?service=bell",
    "rediss+sentinel://u:p%40@a/3?service=bell&sentinel_user=s&sentinel_password=q%26&ssl_ca_certs=/ca.pem",
    "redis+cluster://a:1",
    "rediss+cluster://u:p%40@a,b:7000/0?ssl_ca_certs=/ca.pem",
]
GOOD_POSTGRES = [
    "postgresql://localhost",
    "postgres://u:p%40@h:5432/d",
    "postgresql://u@a:5432,b:5433/d?target_session_attrs=read-write",
    "postgresql://carillon@/d?host=%2Frun%2Fpostgres",
    "postgresql://u@[fe80::1]:5432/d?sslmode=verify-full&options=-c%20geqo%3Doff&application_name=x",
    "postgresql:///d",
]
#: A password as somebody generates it, in all the ways in which it breaks the URL.
SECRETS = [
    "Sup3r/S3cret",
    "Sup3r#S3cret",
    "Sup3r?S3cret",
    "Sup3r%S3cret",
    "Sup3r@S3cret",
    "Sup3r S3cret",
    "S3cret/",
    "/S3cret",
]
BAD_REDIS = [
    "unix://h/run/redis.sock",
    "unix:///",
    "unix:///run/redis.sock?virtual_host=1",
    "unix://u:p/w@/run/redis.sock",
    "redis+socket:///run/redis.sock",
    "redis+unix:///run/redis.sock",
    "sentinel://a:26379/0",
    "redis+sentinel://a:1/0",
    "redis+sentinel://a:1/x?service=bell",
    "redis+sentinel://a:1/0?service=",
    "redis+sentinel://a,,b/0?service=bell",
    "redis+sentinel://a/0?service=bell&master=x",
    "redis+cluster://a:1/2",
    "redis+cluster://a:1/x",
    "redis+cluster://a:1?service=bell",
    "redis+cluster://",
    "redis://a:1,b:2/0",
    "redis://a:70000",
    "redis://a:zero",
    "redis://a/zero",
    "redis://a?bogus=1",
    "redis://a?db=1",
    "redis://a?timeout=3",
    "redis:/a",
    "a",
]
BAD_POSTGRES = [
    "mysql://a/b",
    "postgresql://h/d?schema=foo",
    "postgresql://h:70000/d",
    "postgresql://h:x/d",
    "postgresql:h",
]


@pytest.mark.parametrize("url", GOOD_REDIS)
def test_a_good_url_of_redis(url: str) -> None:
    assert fault_of_redis(url) is None


@pytest.mark.parametrize("url", GOOD_POSTGRES)
def test_a_good_url_of_postgres(url: str) -> None:
    assert fault_of_postgres(url) is None


@pytest.mark.parametrize("secret", SECRETS)
def test_a_password_that_breaks_the_url_is_named_by_its_kind_and_shown_nowhere(secret: str) -> None:
    urls = {
        "CARILLON_REDIS_URL": f"redis://u:{secret}@host/0",
        "CARILLON_POSTGRES_URL": f"postgresql://u:{secret}@host/d",
    }
    with pytest.raises(SettingsError) as caught:
        load(urls)
    text = str(caught.value)
    assert text.count("percent-encoded") == 2
    assert "S3cret" not in text
    assert "Sup3r" not in text
    for kind in (Publisher, AsyncPublisher):
        with pytest.raises(ValueError, match="percent-encoded") as refused:
            kind(urls["CARILLON_REDIS_URL"])
        assert "S3cret" not in str(refused.value)
        assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "variable"),
    [*((url, "CARILLON_REDIS_URL") for url in BAD_REDIS), *((url, "CARILLON_POSTGRES_URL") for url in BAD_POSTGRES)],
)
def test_what_no_part_of_carillon_could_use_is_refused_at_once(url: str, variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load({variable: url})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://u:p@h/", "no other broker will do"),
        ("sqs://", "no other broker will do"),
        ("confluentkafka://h", "no other broker will do"),
        ("sqla+postgresql://h/d", "CARILLON_POSTGRES_URL names"),
        ("postgresql://u@h/d", "CARILLON_POSTGRES_URL names"),
        ("redis-sentinel://h", "Sentinels are named as redis+sentinel://"),
        ("redis+sentinel://h", "the name of the service is missing"),
        ("redis-cluster://h", "is named by some of its nodes, as redis+cluster://"),
        ("redis+cluster://h/1", "a Redis Cluster has database 0 alone"),
        ("redis+cluster://", "a host is missing"),
        ("redis://a,b", "several hosts are those of Sentinels or of a cluster"),
        ("redis+socket:///r.sock", "named as unix:///run"),
        ("valkeys://h", "a Valkey is named as a Redis is"),
        ("'redis://h'", "quotes or blanks around it"),
        ("redis://h\n", "quotes or blanks around it"),
        ("REDIS://h", "a URL beginning with redis://"),
        ("127.0.0.1:6379", "a URL beginning with redis:// or rediss:// is needed"),
    ],
)
def test_what_is_not_supported_is_called_by_its_name(url: str, said: str) -> None:
    assert said in (fault_of_redis(url) or "")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg2://u@h/d", "without the name of a driver"),
        ("jdbc:postgresql://h/d", "without the name of a driver"),
        ("mysql://h/d", "other databases are not yet"),
        ("redis://h", "CARILLON_REDIS_URL names"),
        ('"postgresql://h/d"', "quotes or blanks around it"),
        ("POSTGRESQL://h/d", "a URL beginning with postgresql://"),
    ],
)
def test_what_is_no_postgres_is_called_by_its_name(url: str, said: str) -> None:
    assert said in (fault_of_postgres(url) or "")


def test_the_parts_of_a_url_are_known_and_its_passwords_shown_nowhere() -> None:
    url = parse(
        "rediss+sentinel://u:p%40@a:1,[::1]/3?service=bell&sentinel_user=s&sentinel_password=q%26&ssl_ca_certs=/c a".replace(
            " ", "%20"
        )
    )
    assert (url.kind, url.tls, url.service, url.db) == ("sentinel", True, "bell", 3)
    assert url.hosts == (Address("a", 1), Address("::1", 26379))
    assert (url.user, url.password, url.sentinel_user, url.sentinel_password) == ("u", "p@", "s", "q&")
    assert url.of(Address("::1", 7)) == "rediss://u:p%40@[::1]:7/3?ssl_ca_certs=%2Fc%20a"
    assert url.of_sentinel(Address("a", 1)) == "rediss://s:q%26@a:1?ssl_ca_certs=%2Fc%20a"
    assert "p@" not in repr(url) and "q&" not in repr(url)
    one = parse("redis://:w@h")
    assert (one.kind, one.hosts, one.user, one.password, one.db) == ("single", (Address("h", 6379),), None, "w", 0)
    socket = parse("unix://u:p@/run/r%20s?db=2")
    assert (socket.kind, socket.path, socket.db, socket.user, socket.hosts) == ("socket", "/run/r s", 2, "u", ())
    with pytest.raises(ValueError, match="percent-encoded") as refused:
        parse("redis+cluster://u:S3c/ret@h")
    assert "S3c" not in str(refused.value)


def test_the_outbox_s_url_is_looked_at_too() -> None:
    with pytest.raises(SettingsError, match="CARILLON_OUTBOX_URL"):
        load({"CARILLON_OUTBOX_URL": "postgresql://u:S3c/ret@h/d"})
