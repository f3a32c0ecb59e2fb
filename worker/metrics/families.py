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
LEADS: Final = Family("carillon_process_leads", "gauge", "1 while this process leads the intake of a partition.")
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

# Of the shared state: `worker/metrics/tallied.py` (counters) and `worker/metrics/state.py` (what is now).
EVENTS: Final = Family(
    "carillon_events_total", "counter", "Events that the intake took, by what became of them.", ("app", "type", "outcome"),
)
MESSAGES: Final = Family("carillon_messages_expanded_total", "counter", "Messages that were expanded.", ("app",))
MESSAGES_SKIPPED: Final = Family(
    "carillon_messages_skipped_total", "counter", "Messages that were skipped as a whole.", ("app", "reason"),
)
MEMBERS: Final = Family(
    "carillon_members_total", "counter",
    "Candidates about whom the rules decided: `pushed`, or `skipped` for a reason.", ("app", "decision", "reason"),
)
MADE: Final = Family(
    "carillon_notifications_made_total", "counter", "Notifications that were made, one for each device.", ("app",),
)
NOTIFICATIONS: Final = Family(
    "carillon_notifications_total", "counter",
    "Notifications with their final outcome: `accepted` by the provider, `dropped`, or `retired` (its device is gone).",
    ("app", "kind", "outcome", "reason"),
)
RETRIES: Final = Family(
    "carillon_notification_retries_total", "counter", "Tries that are repeated later.", ("app", "kind", "reason"),
)
HELD: Final = Family(
    "carillon_notifications_held_back_total", "counter", "Notifications that were held back because their way is stopped.",
    ("app", "kind", "reason"),
)
LIMITED: Final = Family(
    "carillon_notifications_limited_total", "counter", "Notifications that had to wait for a rate limit or a cooldown.",
    ("app", "kind", "limit"),
)
DEVICES: Final = Family(
    "carillon_device_changes_total", "counter", "Changes of devices: `registered`, `retired`, `restored` and others.",
    ("app", "change"),
)
OTHER: Final = Family(
    "carillon_occurrences_total", "counter", "Every further counter of docs/reference/counters.md, by its name.",
    ("app", "what"),
)
ANSWER_SECONDS: Final = Family(
    "carillon_provider_answer_seconds", "histogram", "Seconds from a request to the provider's answer.", ("kind", "lane"),
)
ACCEPT_SECONDS: Final = Family(
    "carillon_publish_to_accept_seconds", "histogram",
    "Seconds from the publishing of an event to the provider's acceptance of a notification.", ("kind", "lane"),
)
BACKLOG_MESSAGES: Final = Family(
    "carillon_backlog_messages", "gauge",
    "Messages that wait, by where: `stream`, `ready`, `leased`, `due`, `held` (its way is stopped), `scheduled`.",
    ("app", "lane", "state"),
)
BACKLOG_BATCHES: Final = Family(
    "carillon_backlog_batches", "gauge", "Batches of notifications that wait.", ("app", "lane", "state"),
)
BACKLOG_NOTIFICATIONS: Final = Family(
    "carillon_backlog_notifications", "gauge", "Notifications in these batches; an estimate where there are many.",
    ("app", "lane", "state"),
)
BACKLOG_BYTES: Final = Family(
    "carillon_backlog_bytes", "gauge", "Bytes of documents that wait; an estimate where there are many.",
    ("app", "lane", "state"),
)
BACKLOG_OLDEST: Final = Family(
    "carillon_backlog_oldest_seconds", "gauge", "Age of the oldest that waits, since it was published.",
    ("app", "lane", "state"),
)
PROVIDERS: Final = Family("carillon_providers", "gauge", "Providers that are set up.", ("kind",))
APPS: Final = Family("carillon_apps", "gauge", "Apps that are set up.")
STOPPED: Final = Family(
    "carillon_provider_stopped", "gauge",
    "1 for each provider, or some of its origins, whose circuit breaker is open, that is paused, or that is over its quota;"
    " `reason` is the name of the condition.",
    ("app", "provider", "kind", "scope", "reason"),
)
PROVIDER_WAITING: Final = Family(
    "carillon_provider_waiting_notifications", "gauge", "Notifications that wait for a provider because of that.",
    ("app", "provider", "kind"),
)
CREDENTIAL: Final = Family(
    "carillon_credential_expiry_seconds", "gauge", "Seconds until the credential ends; negative: it has ended.",
    ("app", "provider", "kind"),
)
CONDITION: Final = Family(
    "carillon_condition", "gauge", "1 for each condition that there is now, as `carillon health` says it.",
    ("name", "severity", "app", "provider"),
)
DEAD_LETTERS: Final = Family("carillon_dead_letters", "gauge", "Dead letters that are kept, counted up to 100,000.")
DEAD_LETTERS_LATE: Final = Family("carillon_dead_letters_last_hour", "gauge", "Dead letters of the last hour.")
LEADER: Final = Family("carillon_leader", "gauge", "1 if some process leads the intake of each partition, else 0.")
WORKERS: Final = Family("carillon_workers", "gauge", "Workers that gave a sign of life recently.", ("lane",))
BEAT: Final = Family("carillon_beat_ticks", "gauge", "1 if beat sends ticks, else 0.")
REDIS_USED: Final = Family("carillon_redis_memory_bytes", "gauge", "Memory that Redis uses.")
REDIS_LIMIT: Final = Family("carillon_redis_memory_limit_bytes", "gauge", "Redis' `maxmemory`; 0: no limit.")
OUTBOX_ROWS: Final = Family("carillon_outbox_waiting_rows", "gauge", "Rows of the outbox that wait for the relay.")
OUTBOX_FAILED: Final = Family("carillon_outbox_failed_rows", "gauge", "Rows of the outbox that cannot be published.")
OUTBOX_OLDEST: Final = Family("carillon_outbox_oldest_seconds", "gauge", "Age of the oldest row that waits.")
PART_UP: Final = Family(
    "carillon_scrape_part_up", "gauge", "1 if this part of the shared state could be read for this scrape.", ("part",),
)
SCRAPE_SECONDS: Final = Family("carillon_scrape_read_seconds", "gauge", "Seconds that reading the shared state took.")

# fmt: on

#: By name.
FAMILIES: Final = {one.name: one for one in list(globals().values()) if isinstance(one, Family)}
