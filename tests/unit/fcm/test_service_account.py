"""A key file is checked at once, and each mistake is said in words, with what to do."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.fcm.key_files import EMAIL, KEY_ID, PROJECT, account, document, key_file, pem, rsa_key
from worker.providers.base import SettingsError
from worker.providers.fcm.service_account import LARGEST, read
from worker.providers.fcm.settings import FcmSettings, check_channel, check_display, check_host

PEM = pem(rsa_key())
PUBLIC_MARK = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"


def test_a_key_file_is_read() -> None:
    found = read(key_file())
    assert (found.project, found.email, found.key_id, found.key) == (PROJECT, EMAIL, KEY_ID, PEM)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + key_file(), id="with a byte order mark"),
        pytest.param(key_file(private_key=PEM.replace("\n", "\\n")), id="line breaks that became two characters"),
        pytest.param(key_file(private_key=PEM.replace("\n", "\r\n")), id="line breaks of Windows"),
        pytest.param(b"\n  " + key_file() + b"\n", id="blanks around it"),
        pytest.param(key_file(token_uri=None, universe_domain=None), id="an old file, without a universe"),
    ],
)
def test_what_happens_to_files_on_the_way_is_mended(content: bytes) -> None:
    found = read(content)
    assert found.project == PROJECT and "\\n" not in found.key


def test_an_old_project_of_a_companys_domain_is_taken() -> None:
    assert read(key_file(project_id="example.com:team-chat")).project == "example.com:team-chat"


GOOGLE_SERVICES = {"project_info": {"project_id": PROJECT}, "client": [], "configuration_version": "1"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(json.dumps(GOOGLE_SERVICES).encode(), "google-services.json", id="the Android app's file"),
        pytest.param(b'<?xml version="1.0"?><plist version="1.0"></plist>', "GoogleService-Info.plist", id="the iOS app's"),
        pytest.param(b'{"apiKey": "AIza", "messagingSenderId": "1"}', "of a web app", id="a web app's configuration"),
        pytest.param(b'{"installed": {"client_id": "1"}}', "an OAuth client", id="an OAuth client"),
        pytest.param(b"AAAAabcdefg:" + b"A" * 140, "legacy API", id="a legacy server key"),
        pytest.param(b"AIza" + b"A" * 35, "legacy API", id="an older legacy server key"),
        pytest.param(PEM.encode(), "PEM key alone", id="the key without its file"),
        pytest.param(b"", "empty", id="an empty file"),
        pytest.param(b"[]", "no object", id="a list"),
        pytest.param(key_file()[:400], "cut off", id="a cut file"),
        pytest.param(b"[" * 30_000, "not JSON", id="deep nonsense"),
        pytest.param(b" " * (LARGEST + 1), "too many", id="a large file"),
        pytest.param("{}".encode("utf-16"), "UTF-8", id="UTF-16"),
        pytest.param(b'{"type": "service_account", "type": "x"}', "'type' stands twice", id="a name twice"),
        pytest.param(key_file(type="external_account"), "type: 'external_account'", id="an external account"),
        pytest.param(key_file(type="authorized_user"), "type: 'authorized_user'", id="a person's own"),
        pytest.param(key_file(type=None), "type: missing", id="no type"),
        pytest.param(key_file(type=7), "type: missing", id="a type that is no text"),
        pytest.param(key_file(project_id=None), "project_id: missing", id="no project"),
        pytest.param(key_file(project_id="../../evil"), "project_id: '../../evil'", id="a path for a project"),
        pytest.param(key_file(project_id="Team Chat"), "project_id: 'Team Chat'", id="a name for a project"),
        pytest.param(key_file(client_email="someone"), "client_email: 'someone'", id="no address"),
        pytest.param(key_file(client_email=None), "client_email: missing", id="no e-mail"),
        pytest.param(key_file(private_key_id="a b"), "private_key_id: 'a b'", id="an odd key id"),
        pytest.param(key_file(private_key_id=None), "private_key_id: missing", id="no key id"),
        pytest.param(key_file(private_key=None), "private_key: missing", id="no key"),
        pytest.param(key_file(private_key="secret words"), "no PEM text", id="no PEM"),
        pytest.param(key_file(private_key=PEM[:300] + "\n-----END PRIVATE KEY-----\n"), "damaged or cut off", id="a cut key"),
        pytest.param(key_file(private_key=pem(rsa_key(), b"x")), "encrypted", id="an encrypted key"),
        pytest.param(key_file(private_key=pem(ec.generate_private_key(ec.SECP256R1()))), "push apn", id="Apple's key"),
        pytest.param(key_file(private_key=pem(rsa_key(1024))), "1024 bits", id="a short key"),
        pytest.param(key_file(private_key=PUBLIC_MARK), "a public key", id="a public key"),
        pytest.param(key_file(token_uri="https://evil.example/token"), "token_uri: only", id="another token endpoint"),
        pytest.param(key_file(token_uri=7), "token_uri: only", id="a token endpoint that is no text"),
        pytest.param(key_file(universe_domain="evil.example"), "universe_domain: only", id="another universe"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_in_words_with_what_to_do(content: bytes, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(content)
    said = str(refused.value)
    assert words in said and "Firebase console" in said and "\n" not in said
    assert not any(line in said for line in PEM.splitlines()[1:-1]) and "secret words" not in said


def test_no_word_of_a_long_value_is_shown() -> None:
    with pytest.raises(SettingsError, match="a text of 1,") as refused:
        read(key_file(client_email=PEM))
    assert "PRIVATE" not in str(refused.value)


def test_an_account_shows_no_key() -> None:
    settings = FcmSettings(account(), "app", ca="-----CA-----")
    assert "PRIVATE" not in repr(settings) and "CA-----" not in repr(settings)


@pytest.mark.parametrize("display", ["App", "", "both"])
def test_a_display_is_app_or_system(display: str) -> None:
    with pytest.raises(SettingsError, match=r"^display: .*docs/fcm\.md"):
        check_display(display)
    assert [check_display(one) for one in ("app", "system")] == ["app", "system"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(FcmSettings(account(), "app", "messages"), "belongs to the display system", id="with app"),
        pytest.param(FcmSettings(account(), "system", "ä"), "visible ASCII", id="beyond ASCII"),
        pytest.param(FcmSettings(account(), "system", ""), "visible ASCII", id="empty"),
    ],
)
def test_a_channel_is_one_that_an_app_can_have(settings: FcmSettings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_channel(settings)
    check_channel(FcmSettings(account(), "system", "messages of all"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(FcmSettings(account(), "app", port=8443), "of a simulator", id="another port of Google's"),
        pytest.param(FcmSettings(account(), "app", ca="PEM"), "of a simulator", id="another CA for Google"),
        pytest.param(FcmSettings(account(), "app", host="evil.example"), "ca: ", id="another host that public CAs vouch for"),
        pytest.param(FcmSettings(account(), "app", host="a/b", ca="PEM"), "host: 'a/b'", id="a path"),
    ],
)  # fmt: skip
def test_only_a_simulator_is_another_host(settings: FcmSettings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_host(settings)
    check_host(FcmSettings(account(), "app"))
    check_host(FcmSettings(account(), "app", host="localhost", port=8443, ca="PEM"))


def test_tokens_come_from_google_or_from_the_simulator_and_from_nowhere_that_a_file_names() -> None:
    assert FcmSettings(account(), "app").token_url == document()["token_uri"]
    assert FcmSettings(account(), "app", host="localhost", port=8443).token_url == "https://localhost:8443/token"
