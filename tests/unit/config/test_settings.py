"""Settings: read whole, every fault at once, nothing secret shown."""

from pathlib import Path

import pytest

from config.secrets import generate_key, secret_keys
from config.settings import Settings, SettingsError, load, variable


def test_an_empty_environment_means_embedded_engines() -> None:
    settings = load({"HOME": "/root", "PATH": "/bin"})
    assert settings.embedded
    assert settings == Settings()


def test_every_fault_is_named_at_once_with_what_is_known() -> None:
    with pytest.raises(SettingsError) as caught:
        load(
            {
                "CARILLON_REDISURL": "x",
                "CARILLON_MAX_OPEN": "many",
                "CARILLON_LOG_FORMAT": "xml",
                "CARILLON_REDIS_URL": "h",
            }
        )
    text = str(caught.value)
    for name in (
        "CARILLON_REDISURL: no such setting",
        "CARILLON_MAX_OPEN",
        "CARILLON_LOG_FORMAT",
        "CARILLON_REDIS_URL",
    ):
        assert name in text
    assert all(variable(field) in text for field in Settings.model_fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("CARILLON_REDIS_URL", "http://:hunter2@host", id="another scheme for Redis"),
        pytest.param("CARILLON_POSTGRES_URL", "mysql://u:hunter2@host/db", id="another database"),
        pytest.param("CARILLON_INTAKE_BATCH", "0", id="a batch of nothing"),
        pytest.param("CARILLON_APNS_TIMEOUT", "-1", id="a negative time"),
        pytest.param("CARILLON_VISIBILITY_TIMEOUT", "1", id="a visibility timeout below any task"),
        pytest.param("CARILLON_APNS_TRANSPORT", "carrier pigeon", id="an unknown transport"),
        pytest.param("CARILLON_APNS_PROXY", "https://me:hunter2@proxy:3128", id="a proxy of another kind"),
        pytest.param("CARILLON_APNS_PROXY", "http://me:hunter2@[proxy", id="a proxy's URL that cannot be read"),
        pytest.param("CARILLON_APNS_PROXY", "http://me:hunter2@proxy:port", id="a proxy's port that is none"),
        pytest.param("CARILLON_APNS_IDLE", "5", id="connections that come and go"),
    ],
)
def test_a_wrong_value_is_refused_without_being_repeated(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        load({name: value})
    assert "hunter2" not in str(caught.value)


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load({"CARILLON_REDIS_URL": "", "CARILLON_MAX_OPEN": ""}) == Settings()


def test_a_log_level_may_be_written_small() -> None:
    assert load({"CARILLON_LOG_LEVEL": "debug"}).log_level == "DEBUG"


def test_settings_show_no_secret() -> None:
    key = generate_key()
    environ = {"REDIS_URL": "redis://:hunter2@h", "POSTGRES_URL": "postgresql://u:hunter2@h/d", "SECRET_KEYS": key}
    environ |= dict.fromkeys(("APNS_PROXY", "WEB_PROXY"), "http://me:hunter2@proxy.example.org:3128")
    shown = repr(load({f"CARILLON_{name}": value for name, value in environ.items()}))
    assert "hunter2" not in shown
    assert key not in shown


def test_embedded_keys_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    first = secret_keys(settings)
    file = settings.data_dir / "secret.keys"
    assert secret_keys(settings) == first
    assert len(first) == 1
    assert file.stat().st_mode & 0o777 == 0o600


def test_several_keys_are_given_newest_first() -> None:
    new, old = generate_key(), generate_key()
    assert secret_keys(load({"CARILLON_SECRET_KEYS": f"{new}, {old}"})) == (new, old)


def test_a_database_of_ones_own_needs_keys_of_ones_own() -> None:
    with pytest.raises(SettingsError, match="carillon secret-key"):
        secret_keys(load({"CARILLON_POSTGRES_URL": "postgresql://h/d"}))


@pytest.mark.parametrize("text", [pytest.param("c2hvcnQ=", id="too short"), pytest.param("%%%", id="not base64")])
def test_a_broken_key_is_refused_by_its_number_and_not_shown(text: str) -> None:
    with pytest.raises(SettingsError, match="key 2 is not") as caught:
        secret_keys(load({"CARILLON_SECRET_KEYS": f"{generate_key()},{text}"}))
    assert text not in str(caught.value)


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (file := tmp_path / "url").write_text("redis://:hunter2@h/0\n")
    settings = load({"CARILLON_REDIS_URL_FILE": str(file), "CARILLON_SECRET_KEYS_FILE": ""})
    assert settings.redis_url == "redis://:hunter2@h/0"
    assert settings.secret_keys is None


def test_a_file_of_a_secret_that_cannot_be_used_is_refused_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://:hunter2@h/0")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError) as caught:
        load(
            {
                "CARILLON_REDIS_URL_FILE": str(tmp_path / "url"),
                "CARILLON_POSTGRES_URL_FILE": str(tmp_path / "none"),
                "CARILLON_SECRET_KEYS_FILE": str(tmp_path / "binary"),
                "CARILLON_OUTBOX_URL_FILE": str(tmp_path / "url"),
                "CARILLON_OUTBOX_URL": "postgresql://h/d",
                "CARILLON_MAX_OPEN_FILE": "x",
            }
        )
    for said in ("CARILLON_REDIS_URL: ", "none cannot be read", "it is no text", "not both", "MAX_OPEN_FILE: no such"):
        assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
