"""S13: a push certificate is read with its topics, hosts and expiry, refused in clear words, and leaves no file."""

import os
import ssl
import tempfile
from contextlib import suppress
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.apns.push_certificates import NOW, Key, der, p12, push_certificate, topic_list, utf8
from worker.core.der import DerError, strings
from worker.providers.apns.certificate import Certificate, CertificateError, CertificateExpired, load, tls_context

BUNDLE = "io.team.App"
UNIVERSAL = {BUNDLE: "app", BUNDLE + ".voip": "voip", BUNDLE + ".complication": "complication"}
OLD_EXPORT = Path(__file__).parent / "push-rc2.p12"


def protected(cipher: pkcs12.PBES, digest: hashes.HashAlgorithm) -> ser.KeySerializationEncryption:
    builder = ser.PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2048)
    return builder.key_cert_algorithm(cipher).hmac_hash(digest).build(b"secret")


def universal() -> Certificate:
    return load(p12(push_certificate(topics=topic_list(UNIVERSAL))), None, now=NOW)


def test_the_topics_of_a_universal_certificate_come_from_its_extension() -> None:
    certificate = universal()
    assert certificate.topics == tuple(UNIVERSAL), "the kinds beside the topics are none"
    assert certificate.uid == BUNDLE
    assert certificate.environments == {"production", "sandbox"}
    assert certificate.days_left(NOW) == 365


@pytest.mark.parametrize(
    ("made", "topics", "environments"),
    [
        pytest.param({"marks": ("sandbox",)}, (BUNDLE,), {"sandbox"}, id="an old development certificate"),
        pytest.param({"marks": ("production",)}, (BUNDLE,), {"production"}, id="an old production certificate"),
        pytest.param(
            {"marks": ("production",), "uid": BUNDLE + ".voip", "voip_topics": utf8(BUNDLE + ".voip")},
            (BUNDLE + ".voip",),
            {"production"},
            id="a VoIP certificate",
        ),
        pytest.param(
            {"marks": (), "topics": topic_list({BUNDLE: "app"})},
            (BUNDLE,),
            {"production", "sandbox"},
            id="a topic list without marks",
        ),
        pytest.param(
            {"topics": topic_list({f"io.team.{n}": "app" for n in range(30)}), "uid": None},
            tuple(f"io.team.{n}" for n in range(30)),
            {"production", "sandbox"},
            id="a list longer than one length byte, and no UID",
        ),
    ],
)
def test_marks_say_which_hosts_and_lists_say_which_topics(
    made: dict[str, object], topics: tuple[str, ...], environments: set[str]
) -> None:
    certificate = load(p12(push_certificate(**made)), None, now=NOW)  # type: ignore[arg-type]
    assert certificate.topics == topics
    assert certificate.environments == environments


@pytest.mark.parametrize(
    "protection",
    [
        pytest.param(protected(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC, hashes.SHA1()), id="3DES, SHA-1"),
        pytest.param(protected(pkcs12.PBES.PBESv2SHA256AndAES256CBC, hashes.SHA256()), id="AES-256, SHA-256"),
    ],
)
def test_a_password_protected_file_opens_with_its_password_only(protection: ser.KeySerializationEncryption) -> None:
    document = p12(push_certificate(), protection)
    assert load(document, "secret", now=NOW).uid == BUNDLE
    with pytest.raises(CertificateError, match="wrong password"):
        load(document, "Secret", now=NOW)
    with pytest.raises(CertificateError, match="a password is needed"):
        load(document, None, now=NOW)


def test_an_export_with_the_forty_bit_cipher_of_old_opens() -> None:
    certificate = load(OLD_EXPORT.read_bytes(), "old-export", now=NOW)
    assert certificate.topics == (BUNDLE, BUNDLE + ".voip")


def test_the_chain_beside_the_certificate_is_kept() -> None:
    issuer, _ = push_certificate()
    certificate = load(p12(push_certificate(), chain=[issuer]), None, now=NOW)
    assert certificate.chain_pem.count(b"BEGIN CERTIFICATE") == 2


def bundle(key: Key, first: x509.Certificate, *others: x509.Certificate) -> bytes:
    return pkcs12.serialize_key_and_certificates(b"x", key, first, list(others), ser.NoEncryption())


def test_of_several_certificates_of_one_key_the_right_one_is_taken_whatever_their_order() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    long, _ = push_certificate(key=key, days=300)
    short, _ = push_certificate(key=key, days=10)
    expired, _ = push_certificate(key=key, days=-5)
    signing, _ = push_certificate(key=key, marks=(), days=900)
    issuer, _ = push_certificate(marks=(), days=2_000)
    everything = (long, short, expired, signing, issuer)
    for order in permutations(everything[:4]):
        found = load(bundle(key, *order, issuer), None, now=NOW)
        assert found.expires_at == long.not_valid_after_utc
        leaf, *chain = x509.load_pem_x509_certificates(found.chain_pem)
        assert (leaf, chain) == (long, [issuer])
    other, _ = push_certificate(key=key, uid="io.team.Other", days=50)
    assert load(bundle(key, long, other), None, now=NOW, topic="io.team.Other").uid == "io.team.Other"
    with pytest.raises(CertificateExpired, match="expired on"):
        load(bundle(key, signing, expired), None, now=NOW)


def test_a_push_certificate_with_another_identitys_key_is_explained() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signing, _ = push_certificate(key=key, marks=())
    push, _ = push_certificate()
    with pytest.raises(CertificateError, match="several identities"):
        load(bundle(key, signing, push), None, now=NOW)
    another, _ = push_certificate(key=key, marks=(), days=10)
    with pytest.raises(CertificateError, match="nor is any other of the 2 in the file"):
        load(bundle(key, signing, another), None, now=NOW)


def test_what_openssl_will_not_use_is_a_fault_in_words() -> None:
    certificate = load(p12(push_certificate()), None, now=NOW)
    strange = load(p12(push_certificate()), None, now=NOW)
    with pytest.raises(CertificateError, match=r"OpenSSL will not use it \(key values mismatch"):
        tls_context(certificate=replace(certificate, key_pem=strange.key_pem))


def test_a_server_without_a_subject_alternative_name_is_not_known_by_its_common_name() -> None:
    assert not tls_context().hostname_checks_common_name


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        pytest.param(b"", "not a .p12", id="an empty file"),
        pytest.param(b"junk" * 100, "not a .p12", id="junk"),
        pytest.param(p12(push_certificate())[:400], "not a .p12", id="cut off"),
        pytest.param(b"-----BEGIN CERTIFICATE-----", "PEM", id="PEM"),
        pytest.param(p12(push_certificate(days=-1)), "expired on 2026-11-20", id="expired"),
        pytest.param(p12(push_certificate(marks=())), "not a push certificate", id="a certificate for something else"),
        pytest.param(p12(push_certificate(topics=b"\x30\x05ab")), "topics cannot be read", id="a broken topic list"),
        pytest.param(
            pkcs12.serialize_key_and_certificates(None, None, push_certificate()[0], None, ser.NoEncryption()),
            "no certificate together with its private key",
            id="no key",
        ),
        pytest.param(
            pkcs12.serialize_key_and_certificates(None, push_certificate()[1], None, None, ser.NoEncryption()),
            "no certificate together with its private key",
            id="no certificate",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(document: bytes, fault: str) -> None:
    with pytest.raises(CertificateError, match=fault):
        load(document, None, now=NOW)


def test_a_topic_or_host_that_the_certificate_is_not_for_is_refused_before_apns_does() -> None:
    certificate = load(p12(push_certificate(marks=("sandbox",))), None, now=NOW)
    certificate.check(BUNDLE, "sandbox")
    with pytest.raises(CertificateError, match=r"not for io\.other"):
        certificate.check("io.other", "sandbox")
    with pytest.raises(CertificateError, match="not for production"):
        certificate.check(BUNDLE, "production")


def test_a_certificate_shows_no_key() -> None:
    assert "PRIVATE" not in repr(universal())
    assert "BEGIN" not in repr(universal())


@pytest.mark.parametrize("in_memory", [True, False], ids=["a file in memory", "a file on disk"])
def test_the_context_presents_the_certificate_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_memory: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    context = tls_context(certificate=universal())
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_ca_that_is_none_says_so() -> None:
    with pytest.raises(CertificateError, match="ca: not the PEM text"):
        tls_context(ca="nonsense")


def test_a_server_sees_the_client_certificate_in_the_handshake() -> None:
    pair = push_certificate(topics=topic_list(UNIVERSAL))
    client_context = tls_context(certificate=load(p12(pair), None, now=NOW))
    # Whom the client trusts is not the question here; which certificate it shows is.
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.set_alpn_protocols(["h2"])
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(cadata=pair[0].public_bytes(ser.Encoding.PEM).decode())
    own = universal()
    with tempfile.NamedTemporaryFile() as file:
        file.write(own.chain_pem + own.key_pem)
        file.flush()
        server.load_cert_chain(file.name)
    assert handshake(client_context, server) == ("h2", pair[0].public_bytes(ser.Encoding.DER))


def handshake(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> tuple[str | None, bytes | None]:
    """Both ends over memory: the protocol agreed on and the client's certificate as the server got it."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(down, up, server_hostname="localhost")
    server = server_context.wrap_bio(up, down, server_side=True)
    waiting = [client, server]
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    return server.selected_alpn_protocol(), server.getpeercert(binary_form=True)


def test_strings_come_out_with_their_depth() -> None:
    document = der(0x30, utf8("a") + der(0x30, utf8("b")) + der(0x16, b"c") + b"\x05\x00")
    assert list(strings(document)) == [(1, "a"), (2, "b"), (1, "c")]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    with suppress(DerError):
        assert all(isinstance(text, str) for _, text in strings(document))
