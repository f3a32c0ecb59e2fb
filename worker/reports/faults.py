"""What a fault of an engine means for its operator, in a sentence. It knows the libraries' faults by name and imports none."""

import re
from typing import Final

from config.redaction import redact
from producers.urls import CLUSTER

MIGRATE: Final = "the database's schema is not up to date: run carillon migrate"
_URL: Final = "CARILLON_POSTGRES_URL"
_REDIS: Final = "is it running, is CARILLON_REDIS_URL right?"
_POSTGRES: Final = f"is it running, is {_URL} right?"
_REPLICA: Final = "this Redis is a read-only replica: CARILLON_REDIS_URL must name the primary"
_READ_ONLY: Final = f"this Postgres is read-only, as a replica is: {_URL} must name the primary"
#: Beginnings of SQLSTATEs with a sentence of their own.
_STATES: Final = {"42P01": MIGRATE, "42703": MIGRATE, "42883": MIGRATE, "3F000": MIGRATE, "25006": _READ_ONLY}
_CLUSTER_FAULTS: Final = {
    "MovedError",
    "AskError",
    "ClusterDownError",
    "ClusterCrossSlotError",
    "CrossSlotTransactionError",
}
#: What to do about a line that has these words.
_REDIS_ADVICE: Final = (
    ("NOREPLICAS", "it takes no writes until enough of its replicas follow: see min-replicas-to-write"),
    ("MISCONF", "it takes no writes until it can write to its disk: see its log, and the room there"),
    ("max number of clients", "raise maxclients, or stop what else holds connections"),
    ("index is out of range", "this Redis has no database of that number, see the end of CARILLON_REDIS_URL"),
    ("CERTIFICATE_VERIFY_FAILED", "see ssl_ca_certs in CARILLON_REDIS_URL, and the host's name in it"),
    ("WRONG_VERSION_NUMBER", "the server speaks no TLS at this port: redis:// in place of rediss://, or another port"),
    ("No such file", "see the socket or the ssl_… files that CARILLON_REDIS_URL names"),
    ("Permission denied", "this user may not open the socket or a file that CARILLON_REDIS_URL names: see its group"),
)
#: A server's words for no connection left; it has no SQLSTATE for a client that is still connecting.
_NO_CONNECTION_LEFT: Final = ("too many clients", "too many connections", "connection slots are reserved")
#: The rights to grant on a kind of object.
_GRANTS: Final = {
    "database": "GRANT CREATE ON DATABASE {}",
    "schema": "GRANT USAGE ON SCHEMA {}",
    "table": "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA carillon",
    "sequence": "GRANT USAGE ON ALL SEQUENCES IN SCHEMA carillon",
}
#: Longest line of an engine's own words.
_LONGEST: Final = 300


def sentence(fault: BaseException, *, postgres: str = _URL) -> str:
    """What happened, in the engine's own first line without passwords, and what to do about it.

    `postgres`: the variable that names the Postgres that was asked.
    """
    fault = _cause(fault)
    libraries = {kind.__module__.partition(".")[0] for kind in type(fault).__mro__}
    if libraries & {"psycopg", "psycopg_pool"}:
        return _postgres(fault).replace(_URL, postgres)
    if "redis" in libraries:
        return _redis(fault)
    return f"{type(fault).__name__}: {first_line(fault)}" if str(fault) else type(fault).__name__


def first_line(fault: BaseException) -> str:
    """The first line of what a fault says, fit to be shown: without passwords and control characters."""
    lines = str(fault).strip().splitlines()
    line = "".join(c if c.isprintable() else "?" for c in redact(lines[0])) if lines else type(fault).__name__
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _postgres(fault: BaseException) -> str:
    state = getattr(fault, "sqlstate", None) or ""
    if state in _STATES:
        return _STATES[state]
    line = first_line(fault)
    if "certificate verify failed" in line:
        return f"{line}: see sslrootcert in {_URL}, and the host's name in it"
    if state == "42501":
        return f"{line}: the role of {_URL} lacks a right{_grant(line)}; docs/security.md has the GRANT lines"
    if any(words in line for words in _NO_CONNECTION_LEFT):
        return f"{line}: raise max_connections, or lower CARILLON_POSTGRES_POOL or the number of workers"
    return f"{line}: {_POSTGRES}" if not state or state.startswith(("08", "28", "3D", "57")) else line


def _grant(line: str) -> str:
    """The statement that corrects what this line says, if it is known."""
    found = re.search(r"permission denied for (\w+) (\S+)", line)
    if found is None or found[1] not in _GRANTS:
        return ""
    return f", which {_GRANTS[found[1]].format(found[2])} TO that role gives"


def _redis(fault: BaseException) -> str:
    kind, line = type(fault).__name__, first_line(fault).rstrip(".")
    if line.lower().startswith("unknown command"):
        return f"{line.partition(',')[0]}: it was renamed away, or this server has none; docs/environments.md says what is needed"
    if kind in _CLUSTER_FAULTS or line.startswith(("MOVED ", "CLUSTERDOWN ", "CROSSSLOT ")):
        return CLUSTER
    if kind == "ReadOnlyError" or line.startswith("READONLY "):
        return _REPLICA
    if kind == "NoPermissionError" or line.startswith("NOPERM"):
        return f"{line}: its user lacks a right; docs/security.md has the ACL lines"
    if kind == "OutOfMemoryError":
        return "Redis is full (maxmemory): it takes nothing new until something is done"
    return f"{line}: {next((advice for words, advice in _REDIS_ADVICE if words in line), _REDIS)}"


def _cause(fault: BaseException) -> BaseException:
    """What Celery's broker library, or our pool, wraps up in an error of its own."""
    while True:
        wraps = type(fault).__module__.partition(".")[0] in ("kombu", "worker")
        inner = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
        if not wraps or inner is None:
            return fault
        fault = inner
