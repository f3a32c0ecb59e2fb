"""Every metric that Carillon exports: its name, type, labels and meaning. docs/metrics.md shows this list.

Names and units are as Prometheus recommends (https://prometheus.io/docs/practices/naming/). A label's values are bounded: apps by
`CARILLON_METRICS_APPS`, all others by the code. None is ever an id, a token or a text of somebody's.
"""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Family:
    #: As it is exported; a histogram's three names begin with it.
    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


# fmt: off

# Of one process: `worker/metrics/own.py`.
PROCESS_INFO: Final = Family("carillon_process_info", "gauge", "1; which part of the system this process is.", ("part",))
BUILD_INFO: Final = Family("carillon_build_info", "gauge", "1; the release, and Python's.", ("version", "python"))
SENDER_CONNECTIONS: Final = Family(
    "carillon_sender_connections", "gauge", "Open HTTP/2 connections of this process to push services.", ("kind",),
)
SENDER_STREAMS: Final = Family(
    "carillon_sender_streams", "gauge", "Open HTTP/2 streams on these: requests that wait for an answer.", ("kind",),
)
SENDER_IN_FLIGHT: Final = Family(
    "carillon_sender_requests_in_flight", "gauge", "Requests that the sender has and that are not answered yet.", ("kind",),
)
SENDER_REQUESTS: Final = Family(
    "carillon_sender_requests_total", "counter",
    "Requests that the sender is done with: `answered`, `not_sent`, or `unknown` (written, and then no answer).",
    ("kind", "result"),
)
SENDER_BATCHES: Final = Family("carillon_sender_batches_total", "counter", "Batches that the sender began.", ("kind",))
LOOP_DELAY: Final = Family(
    "carillon_event_loop_delay_seconds", "gauge", "How late the sender's event loop last was, or is now.", ("kind",),
)
TASK_THREADS: Final = Family(
    "carillon_task_threads", "gauge", "Task threads that work, and that wait for a silent provider.", ("state",),
)
TASK_THREADS_LIMIT: Final = Family("carillon_task_threads_limit", "gauge", "Task threads that may work at once.")
RECORDER_BATCHES: Final = Family(
    "carillon_recorder_batches", "gauge", "Batches in flight whose acceptances are being recorded.",
)
LEADS: Final = Family("carillon_process_leads", "gauge", "1 while this process leads the intake.")
POSTGRES_CONNECTIONS: Final = Family(
    "carillon_postgres_connections", "gauge", "Connections of this process's pool to Postgres.", ("state",),
)
POSTGRES_WAITS: Final = Family(
    "carillon_postgres_pool_waits_total", "counter", "Times that a thread had to wait for a connection of the pool.",
)
POSTGRES_WAITED: Final = Family(
    "carillon_postgres_pool_waited_seconds_total", "counter", "Seconds that threads waited for a connection of the pool.",
)
ENGINE_UP: Final = Family("carillon_engine_up", "gauge", "1 if the engine answered this process just now.", ("engine",))
ENGINE_SECONDS: Final = Family(
    "carillon_engine_answer_seconds", "gauge", "Seconds that it took, connection included.", ("engine",),
)

# fmt: on

#: By name.
FAMILIES: Final = {one.name: one for one in list(globals().values()) if isinstance(one, Family)}
