"""S12, S13, S14: keys and certificates are checked when they come in, kept encrypted, and shown to nobody."""

import dataclasses
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec

from tests.integration.cli.conftest import TOPIC, Cli, apn, rows
from tests.unit.apns.push_certificates import NOW, p12, push_certificate, utf8
from worker.providers.apns.settings import P12, ApnsSettings, Key

DAYS = (datetime.now(UTC) - NOW).days + 300
PASSWORD = ser.BestAvailableEncryption(b"secret")


@pytest.fixture
def app(cli: Cli) -> Cli:
    cli.ok("app", "create", "chat")
    return cli


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "Push.p12"
    file.write_bytes(p12(push_certificate(uid=TOPIC, days=DAYS), PASSWORD))
    return file


def test_S14_the_flags_store_a_key(app, key_file, registry):
    said = app.ok(*apn(key_file))
    assert "stored: provider 'apns' of app 'chat'" in said
    assert "carillon doctor" in said
    [stored] = registry.providers().values()
    assert stored.settings.credential == Key("DEF123GHIJ", "ABC123DEFG", key_file.read_text())
    assert (stored.settings.topic, stored.environment, stored.settings.host) == (
        TOPIC,
        "production",
        "api.push.apple.com",
    )


def test_S13_a_certificate_knows_its_bundle_id_and_environment(app, certificate, registry):
    app.ok("push", "apn", "-c", certificate, "--p12-password", "secret", "--environment", "sandbox")
    [stored] = registry.providers().values()
    assert (stored.name, stored.settings.topic, stored.environment) == ("apns-sandbox", TOPIC, "sandbox")
    assert stored.settings.credential == P12(certificate.read_bytes(), "secret")


def test_S12_one_app_may_have_many_providers(app, key_file, certificate):
    app.ok(*apn(key_file))
    app.ok("push", "apn", "-c", certificate, "--p12-password", "secret", "--name", "old", "--environment", "production")
    shown = app.json("push", "list")
    assert [(one["name"], one["kind"], one["expires"] is None) for one in shown] == [
        ("apns", "key", True),
        ("old", "certificate", False),
    ]
    assert "io.team.App" in app.ok("push", "list", "--app", "chat")


def test_credentials_are_encrypted_at_rest_and_never_shown(app, key_file, certificate):
    app.ok(*apn(key_file))
    app.ok("push", "apn", "-c", certificate, "--p12-password", "secret", "--name", "old", "--environment", "production")
    secrets = [key_file.read_text().splitlines()[1], "secret"]
    at_rest = repr(rows(app, "providers"))
    shown = app.ok("push", "list") + app.ok("app", "show", "chat") + app.ok("push", "list", "--json")
    for secret in secrets:
        assert secret not in at_rest
        assert secret not in shown.replace("secrets", "")


def broken(folder: Path, content: bytes, name: str = "File") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def other_curve() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())


def of_apple() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())


APPLE = of_apple()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(other_curve(), "P-256", id="another curve"),
        pytest.param(b"-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----", "damaged", id="cut off"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nx", "a certificate where the private key", id="a certificate"),
        pytest.param(b"0\x82\x01\x00", "--p12-cert", id="a .p12"),
        pytest.param(b"hello", "no PEM text", id="any file"),
        pytest.param(APPLE.replace(b"\n", rb"\n"), "became the two characters", id="line breaks spelt out"),
        pytest.param(b64encode(APPLE), "base64 of the whole file", id="base64 of the file"),
        pytest.param(
            b"".join(APPLE.splitlines()[1:-1]), "without its lines BEGIN and END", id="the middle of the file"
        ),
        pytest.param(b64decode(b"".join(APPLE.splitlines()[1:-1])), "a key in DER", id="DER"),
        pytest.param(b"x" * 300_000, "too large", id="a large file"),
    ],
)
def test_a_wrong_key_file_is_refused_with_where_the_right_one_is(app, tmp_path, content, said):
    text = app.refused(*apn(broken(tmp_path, content)))
    assert said in text
    assert any(
        where in text for where in ("--p12-cert", "developer.apple.com", "too large", "openssl", "put real ones")
    )
    assert rows(app, "providers") == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        pytest.param(["-k", "short"], "AuthKey_<key id>.p8", id="key id"),
        pytest.param(["-t", "team"], "Membership details", id="team id"),
        pytest.param(["-b", "not a bundle"], "Xcode", id="bundle id"),
        pytest.param(["-b", "DEF123GHIJ.io.team.App"], "leave out the team before it: io.team.App", id="app id"),
        pytest.param(["-b", "io.team.App.voip"], "voip pushes; Carillon sends alerts", id="VoIP"),
        pytest.param(
            ["-b", "io.team.App.push-type.liveactivity"], "give the app's own: io.team.App", id="Live Activity"
        ),
        pytest.param(["-b", "com.apple.mgmt.External.1"], "topic of an MDM certificate", id="MDM"),
        pytest.param(["-t", "ABC123DEFG"], "the same as the key id", id="team id is key id"),
        pytest.param(["--host", "https://localhost:1/3"], "is a URL; leave out https://", id="a URL for a host"),
        pytest.param(["--host", "localhost:2197"], "has a port in it; give that with --port", id="a port in a host"),
        pytest.param(["--host", "[::1]:2197"], "with --port: ::1", id="a port behind an address of IPv6"),
        pytest.param(["--host", "localhost/3"], "has a path", id="a path in a host"),
        pytest.param(["--host", "[::1"], "is not a name or an address", id="half a bracket"),
        pytest.param(["--environment", "staging"], "production, sandbox", id="environment"),
        pytest.param(["--app", "chta"], "known: chat", id="app"),
        pytest.param(["--name", "a b"], "such as apns-sandbox", id="name"),
        pytest.param(["-a", "/nowhere/Key.p8"], "cannot be read", id="no file"),
        pytest.param(["-c", "x.p12"], "not both", id="two kinds"),
        pytest.param(["--p12-password", "x"], "belongs to --p12-cert", id="a password without its file"),
        pytest.param(["--ca", "/dev/null"], "is not the PEM text of a certificate", id="no ca"),
    ],
)
def test_a_wrong_word_is_refused_and_changes_nothing(app, key_file, flags, said):
    assert said in app.refused(*apn(key_file), *flags)
    assert rows(app, "providers") == []


def test_a_key_in_utf_16_as_notepad_writes_it_is_taken(app, tmp_path, registry):
    app.ok(*apn(broken(tmp_path, APPLE.decode().encode("utf-16"))))
    [provider] = registry.providers().values()
    assert provider.settings.credential.pem.strip() == APPLE.decode().strip()


def test_the_key_id_in_a_files_name_is_believed_rather_than_another(app, key_file, tmp_path):
    named = tmp_path / "AuthKey_AAAAAAAAAA.p8"
    named.write_bytes(key_file.read_bytes())
    assert "its key id is AAAAAAAAAA" in app.refused(*apn(named))
    assert rows(app, "providers") == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda pem: b"\xef\xbb\xbf" + pem, id="a BOM"),
        pytest.param(lambda pem: "# f\u00fcr Zw\u00f6lf\n".encode() + pem, id="an umlaut"),
        pytest.param(lambda pem: "# f\u00fcr".encode("latin-1") + b"\n" + pem, id="an umlaut of Latin 1"),
        pytest.param(lambda pem: pem.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(lambda pem: pem.decode().encode("utf-16"), id="UTF-16"),
        pytest.param(lambda pem: pem + b"\n# and another\n" + pem, id="a chain"),
    ],
)
def test_a_ca_in_any_editors_spelling_is_taken(app, key_file, tmp_path, registry, content):
    pem = push_certificate()[0].public_bytes(ser.Encoding.PEM)
    (tmp_path / "ca.pem").write_bytes(content(pem))
    app.ok(*apn(key_file), "--ca", tmp_path / "ca.pem")
    [stored] = registry.providers().values()
    assert stored.settings.ca.replace("\r", "").startswith(pem.decode().strip())


def test_an_address_of_IPv6_is_stored_without_its_brackets(app, key_file, registry):
    app.ok(*apn(key_file), "--host", "[::1]")
    assert [one.settings.host for one in registry.providers().values()] == ["::1"]


@pytest.mark.parametrize(
    ("made", "flags", "said"),
    [
        pytest.param({}, ["--p12-password", "wrong"], "wrong password", id="password"),
        pytest.param({}, [], "--p12-password: needed", id="no password where nobody can be asked"),
        pytest.param({"days": -1}, ["--p12-password", "secret"], "expired on", id="expired"),
        pytest.param({"begins": DAYS - 1}, ["--p12-password", "secret"], "set the clock (NTP)", id="a slow clock"),
        pytest.param({"marks": ()}, ["--p12-password", "secret"], "not a push certificate", id="no marks"),
        pytest.param(
            {"uid": f"{TOPIC}.voip", "voip_topics": utf8(f"{TOPIC}.voip")},
            ["--p12-password", "secret", "--environment", "production"],
            "voip pushes; Carillon sends alerts",
            id="VoIP",
        ),
        pytest.param(
            {"uid": "com.apple.mgmt.External.1"},
            ["--p12-password", "secret", "--environment", "production"],
            "topic of an MDM certificate",
            id="MDM",
        ),
        pytest.param(
            {"uid": "com.apple.mgmt.External.1", "marks": ()},
            ["--p12-password", "secret", "--environment", "production"],
            "not a push certificate",
            id="MDM as Apple issues it",
        ),
        pytest.param(
            {"marks": ("sandbox",)},
            ["--p12-password", "secret", "--environment", "production"],
            "is for sandbox, not for production",
            id="environment",
        ),
        pytest.param(
            {},
            ["--p12-password", "secret", "-b", "io.other.App"],
            "is for io.team.App, not for io.other.App",
            id="topic",
        ),
    ],
)
def test_a_wrong_certificate_is_refused_and_changes_nothing(app, tmp_path, made, flags, said):
    file = broken(tmp_path, p12(push_certificate(**{"uid": TOPIC, "days": DAYS} | made), PASSWORD))
    assert said in app.refused("push", "apn", "-c", file, *flags)
    assert rows(app, "providers") == []


def test_what_is_missing_is_named_where_nobody_can_be_asked(app, key_file):
    assert "--auth-key: needed" in app.refused("push", "apn")
    assert "--team-id: needed" in app.refused("push", "apn", "-a", key_file)


def test_storing_again_replaces_the_credential_and_keeps_the_id(app, key_file, tmp_path, registry):
    app.ok(*apn(key_file))
    before = registry.providers()
    (again := tmp_path / "again.p8").write_text(key_file.read_text() + "\n")
    app.ok(*apn(again))
    after = registry.providers()
    assert before.keys() == after.keys()
    assert before != after


def test_a_provider_with_devices_is_not_turned_to_another_bundle_id(app, key_file, registry):
    app.ok(*apn(key_file))
    [id] = registry.providers()
    with registry._pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active)"
            " VALUES ('chat', 'ab', 'han', %s, 0, true)",
            (id,),
        )
    said = app.refused(*apn(key_file), "-b", "io.other.App")
    assert "has 1 device that" in said and "--name" in said
    assert registry.providers()[id].settings.topic == TOPIC


def test_removing_wipes_the_credential_and_storing_again_brings_the_devices_back(app, key_file, registry):
    app.ok(*apn(key_file))
    [id] = registry.providers()
    assert "--yes" in app.refused("push", "remove", "apns")
    assert app.json("push", "remove", "apns", "--yes") == {"removed": "apns", "app": "chat"}
    assert registry.providers() == {}
    assert rows(app, "providers")[0][7] == b""
    assert "has no provider" in app.refused("push", "remove", "apns", "--yes")
    app.ok(*apn(key_file))
    assert list(registry.providers()) == [id]


def test_rotation_makes_the_old_key_superfluous(app, key_file, certificate, registry):
    app.ok(*apn(key_file))
    app.ok("push", "apn", "-c", certificate, "--p12-password", "secret", "--name", "old", "--environment", "production")
    before = registry.providers()
    app.keys.insert(0, Fernet.generate_key().decode())
    assert app.json("secrets", "rotate") == {"rotated": 2, "devices": 0, "unreadable_devices": 0}
    del app.keys[1]
    assert [one["name"] for one in app.json("push", "list")] == ["apns", "old"]
    from worker.database.registry import Registry
    from worker.providers import kinds

    assert Registry(registry._pool, app.keys, kinds).providers() == before


def test_a_rotation_that_cannot_read_a_row_changes_none(app, key_file):
    app.ok(*apn(key_file))
    app.ok(*apn(key_file), "--name", "second")
    before = rows(app, "providers")
    app.keys[:] = [Fernet.generate_key().decode()]
    said = app.refused("secrets", "rotate")
    assert "provider 'apns' of app 'chat'" in said and "add the key it was stored with" in said
    assert rows(app, "providers") == before


def test_the_environment_is_never_guessed(app, key_file, certificate, tmp_path, registry):
    key = [*apn(key_file)[:-2]]
    assert "--environment: needed (production (App Store, TestFlight) or sandbox (Xcode))" in app.refused(*key)
    assert "--environment: needed" in app.refused("push", "apn", "-c", certificate, "--p12-password", "secret")
    one = broken(tmp_path, p12(push_certificate(uid=TOPIC, days=DAYS, marks=("sandbox",)), PASSWORD))
    app.ok("push", "apn", "-c", one, "--p12-password", "secret")  # this one says it
    assert [stored.environment for stored in registry.providers().values()] == ["sandbox"]


def test_replacing_says_so_and_keeps_what_was_not_named(app, key_file, registry, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(push_certificate()[0].public_bytes(ser.Encoding.PEM))
    assert app.json(*apn(key_file), "--host", "localhost", "--port", 2197, "--ca", ca)["replaced"] is False
    [before] = registry.providers().values()
    other = tmp_path / "AuthKey_ZZZ123DEFG.p8"
    other.write_text(key_file.read_text())
    said = app.ok("push", "apn", "--name", "apns", "-a", other)
    assert "replaced: provider 'apns' of app 'chat'" in said
    assert "kept as they were: host localhost:2197, its CA" in said
    [after] = registry.providers().values()
    renewed = dataclasses.replace(before.settings.credential, key_id="ZZZ123DEFG")
    assert after.settings == dataclasses.replace(before.settings, credential=renewed)
    app.ok("push", "apn", "--name", "apns", "--port", 443)  # the credential stays too
    [moved] = registry.providers().values()
    assert moved.settings == dataclasses.replace(after.settings, port=443)
    app.ok("push", "apn", "--name", "apns", "--host", "api.push.apple.com")  # back to Apple, whose CA is public
    [last] = registry.providers().values()
    assert last.settings == ApnsSettings(TOPIC, after.settings.credential)
