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
        pytest.param(RuntimeError("no\nmore"), "RuntimeError: no", id="something else"),
        pytest.param(RuntimeError(), "RuntimeError", id="something that says nothing"),
    ],
)
def test_a_fault_is_told_in_a_sentence(fault: Exception, said: str) -> None:
    told = sentence(fault)
    assert said in told
    assert "\n" not in told


def test_a_fault_shows_no_password_and_sends_the_terminal_nothing() -> None:
    line = first_line(RuntimeError("redis://user:Sup3rS3cret@host \x1b[31mred\x9b2J" + "x" * 999))
    assert "Sup3rS3cret" not in line and "\x1b" not in line and "\x9b" not in line and len(line) < 310
