"""Faults of the engines in words: the cause, what to do, and no password."""

import psycopg
import pytest
import redis
from kombu.exceptions import OperationalError

from worker.reports.faults import first_line, sentence


def wrapped(inner: Exception) -> Exception:
    outer = OperationalError(str(inner))
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(
            psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "x"\nmore'),
            'failed: FATAL:  password authentication failed for user "x": is it running, is CARILLON_POSTGRES_URL right?',
            id="Postgres' own words",
        ),
        pytest.param(psycopg.errors.UndefinedTable("relation"), "run carillon migrate", id="no schema"),
        pytest.param(psycopg.errors.InvalidSchemaName("schema"), "run carillon migrate", id="no schema at all"),
        pytest.param(
            psycopg.errors.InsufficientPrivilege("permission denied for schema carillon"),
            "permission denied for schema carillon: the role of CARILLON_POSTGRES_URL lacks a right",
            id="a missing right",
        ),
        pytest.param(psycopg.errors.ReadOnlySqlTransaction("x"), "must name the primary", id="a replica of Postgres"),
        pytest.param(
            psycopg.errors.DivisionByZero("division by zero"), "division by zero", id="whatever else it has to say"
        ),
        pytest.param(
            redis.ConnectionError("Error 111 connecting"), "Error 111 connecting: is it running", id="no Redis"
        ),
        pytest.param(wrapped(redis.ConnectionError("Error 111")), "Error 111: is it running", id="as kombu wraps it"),
        pytest.param(redis.exceptions.MovedError("4676 127.0.0.1:7001"), "a Redis Cluster", id="a cluster"),
        pytest.param(redis.ResponseError("MOVED 4676 127.0.0.1:7001"), "a Redis Cluster", id="a cluster, in words"),
        pytest.param(redis.exceptions.ReadOnlyError("x"), "read-only replica", id="a replica of Redis"),
        pytest.param(redis.exceptions.NoPermissionError("NOPERM no info"), "docs/security.md", id="an ACL"),
        pytest.param(
            redis.ConnectionError(
                "Error 1 connecting to h:1. [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed."
            ),
            "failed: see ssl_ca_certs in CARILLON_REDIS_URL",
            id="another authority of Redis",
        ),
        pytest.param(
            redis.ConnectionError(
                "Error 1 connecting to h:1. [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)."
            ),
            "the server speaks no TLS at this port",
            id="a port without TLS",
        ),
        pytest.param(
            redis.ConnectionError("Error 13 connecting to unix socket: /run/redis.sock. Permission denied."),
            "Permission denied: this user may not open the socket",
            id="a socket of another group",
        ),
        pytest.param(
            redis.AuthenticationError("Authentication required."), "required: is it running", id="one full stop"
        ),
        pytest.param(
            psycopg.OperationalError("connection failed: SSL error: certificate verify failed"),
            "failed: see sslrootcert in CARILLON_POSTGRES_URL",
            id="another authority of Postgres",
        ),
        pytest.param(
            psycopg.errors.InsufficientPrivilege("permission denied for table apps"),
            "which GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA carillon TO that role gives",
            id="a missing right, and its remedy",
        ),
        pytest.param(RuntimeError("no\nmore"), "RuntimeError: no", id="something else"),
        pytest.param(RuntimeError(), "RuntimeError", id="something that says nothing"),
    ],
)
def test_a_fault_is_one_sentence(fault: Exception, said: str) -> None:
    text = sentence(fault)
    assert said in text
    assert "\n" not in text


def test_a_fault_shows_no_password_and_sends_the_terminal_nothing() -> None:
    line = first_line(RuntimeError("redis://user:Sup3rS3cret@host \x1b[31mred\x9b2J" + "x" * 999))
    assert "Sup3rS3cret" not in line and "\x1b" not in line and "\x9b" not in line and len(line) < 310


def test_the_url_that_was_asked_is_named() -> None:
    said = sentence(psycopg.errors.ReadOnlySqlTransaction("x"), postgres="the outbox's URL")
    assert said.endswith("the outbox's URL must name the primary")
