"""The URL of the broker of Celery, and the configuration that follows from it."""

import pytest

from config.broker import broker, fault_of_broker
from config.celeryconfig import celery_config
from config.settings import Settings, SettingsError, get_settings, load


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost/0",
        "rediss://u:p@h:6379/1?ssl_ca_certs=/ca.pem",
        "unix:///run/redis.sock?db=2",
        "redis+sentinel://a,b,c/0?service=main",
        "amqp://guest:guest@localhost:5672/",
        "amqp://h",
        "amqp://u:p%40@[::1]:5672/chat",
        "amqps://u:p@h/%2F?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
    ],
)
def test_these_can_be_brokers(url: str) -> None:
    assert fault_of_broker(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqp://", "one host is needed"),
        ("amqp://a:1,b:2/v", "one host is needed"),
        ("amqp://h/a/b", "percent-encoded, as %2F"),
        ("amqp://h/v?ssl_ca_certs=/ca.pem", "amqps:// takes"),
        ("amqps://h/v?verify=no", "1 options behind ? are not known"),
        ("amqp://u:p@ss@h/", "percent-encoded"),
        ("amqp://h:99999/", "the port is a number"),
        ("sqs://", "no other broker will do"),
        ("redis+cluster://a,b", "cannot be Celery's broker"),
    ],
)
def test_these_are_refused_in_words(url: str, said: str) -> None:
    assert said in str(fault_of_broker(url))


def test_a_refusal_repeats_no_password() -> None:
    with pytest.raises(SettingsError) as fault:
        load({"CARILLON_BROKER_URL": "amqp://u:very-secret@h/a/b"})
    assert "CARILLON_BROKER_URL" in str(fault.value)
    assert "very-secret" not in str(fault.value)


def test_rabbitmq_s_certificate_and_name_are_verified() -> None:
    said = broker("amqps://u:p@h:5671/v?ssl_ca_certs=/ca.pem")
    assert said["broker_url"] == "amqp://u:p@h:5671/v"
    assert said["broker_use_ssl"] == {"ca_certs": "/ca.pem", "server_hostname": "h"}
    assert broker("amqp://h/")["broker_use_ssl"] is None


@pytest.mark.parametrize("queues", ["quorum", "classic"])
def test_the_kind_of_queue_is_what_the_settings_say(queues: str) -> None:
    settings = load({"CARILLON_BROKER_URL": "amqp://h/", "CARILLON_BROKER_QUEUES": queues})
    conf = celery_config(settings, "redis://localhost/0")
    assert conf["task_default_queue_type"] == conf["task_create_missing_queue_type"] == queues
    assert "global_keyprefix" not in conf["broker_transport_options"]


def test_without_a_setting_the_journal_s_redis_is_the_broker() -> None:
    conf = celery_config(Settings(), "redis://localhost/0")
    assert conf["broker_url"] == "redis://localhost/0"
    assert conf["broker_transport_options"]["global_keyprefix"] == "carillon:"


def test_sentinels_are_asked_with_their_own_password() -> None:
    url = "rediss+sentinel://u:p%40@a:1,b/2?service=main&sentinel_password=s&ssl_ca_certs=/ca.pem"
    conf = celery_config(load({"CARILLON_BROKER_URL": url}), "redis://localhost/0")
    assert conf["broker_url"] == "sentinel://u:p%40@a:1/2;sentinel://u:p%40@b:26379/2"
    options = conf["broker_transport_options"]
    assert (options["master_name"], options["global_keyprefix"]) == ("main", "carillon:")
    asked = options["sentinel_kwargs"]
    assert (asked["password"], asked["ssl"], asked["ssl_ca_certs"]) == ("s", True, "/ca.pem")
    assert conf["broker_use_ssl"] == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize(
    ("given", "asks"),
    [
        pytest.param({"redis_url": "redis://h", "redis_credentials": "m:f"}, True, id="the journal's Redis"),
        pytest.param(
            {"redis_url": "rediss+sentinel://a:1,b:2/0?service=n", "redis_credentials": "m:f"}, True, id="Sentinels"
        ),
        pytest.param(
            {"redis_url": "redis://h", "broker_url": "redis://b", "redis_credentials": "m:f"}, False, id="not of it"
        ),
        pytest.param(
            {"redis_url": "redis://h", "broker_url": "redis://b", "broker_credentials": "m:f"}, True, id="its own"
        ),
        pytest.param(
            {"redis_url": "redis://h", "broker_url": "redis+sentinel://a:1/0?service=n", "broker_credentials": "m:f"},
            True,
            id="Sentinels of its own",
        ),
        pytest.param(
            {"redis_url": "redis://h", "broker_url": "amqp://h", "redis_credentials": "m:f"}, False, id="AMQP"
        ),
    ],
)
def test_celery_asks_a_function_for_the_password_of_its_broker(given: dict[str, str], asks: bool) -> None:
    conf = celery_config(Settings(**given), given["redis_url"])  # type: ignore[arg-type]
    urls = conf["broker_url"].split(";")
    assert [
        one.endswith("?credential_provider=worker.process.broker_credentials.BrokerCredentials") for one in urls
    ] == [asks] * len(urls)


def test_a_function_for_rabbitmq_or_for_no_broker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARILLON_BROKER_CREDENTIALS", "os:getcwd")
    get_settings.cache_clear()
    try:
        with pytest.raises(SettingsError, match="there is no broker of its own: give its URL too"):
            get_settings()
        monkeypatch.setenv("CARILLON_BROKER_URL", "amqp://guest@rabbit/")
        with pytest.raises(SettingsError, match="RabbitMQ needs a fixed password"):
            get_settings()
    finally:
        get_settings.cache_clear()
