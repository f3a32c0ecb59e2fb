"""Makes grafana.json, the dashboard for Grafana: python config/monitoring/make_dashboard.py

It needs grafana-foundation-sdk, Grafana's own builders. Import the file in Grafana (Dashboards, New, Import), and choose
the data source there.
"""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, VisibilityMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableHide

FILE: Final = Path(__file__).with_name("grafana.json")
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${source}")
_APP: Final = 'app=~"$app"'
_HEIGHT: Final = 8
#: Of the 24 columns of a row.
_HALF: Final = 12
_SIXTH: Final = 4


class Graph(NamedTuple):
    title: str
    unit: str
    #: PromQL -> the legend.
    queries: dict[str, str]
    description: str = ""


class Number(NamedTuple):
    title: str
    unit: str
    query: str


def quantile(of: str, metric: str) -> str:
    rate = f"sum by (le, kind) (rate({metric}_bucket[$__rate_interval]))"
    return f"histogram_quantile({of}, {rate})"


def rate(metric: str, *by: str, where: str = _APP) -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{{{where}}}[$__rate_interval]))"


NOW: Final = (
    Number("Critical conditions", "short", 'count(carillon_condition{severity="critical"}) or vector(0)'),
    Number("Oldest that waits", "s", 'max(carillon_backlog_oldest_seconds{state=~"stream|ready"}) or vector(0)'),
    Number("Notifications that wait", "short", 'sum(carillon_backlog_notifications{state!="scheduled"}) or vector(0)'),
    Number("Somebody leads", "bool_yes_no", "carillon_leader"),
    Number("Workers", "short", "sum(carillon_workers)"),
    Number("Dead letters, last hour", "short", "carillon_dead_letters_last_hour"),
)
ROWS: Final[dict[str, tuple[Graph, ...]]] = {
    "Pushes": (
        Graph("Events taken", "cps", {rate("carillon_events_total", "type", "outcome"): "{{type}} {{outcome}}"}),
        Graph(
            "Outcomes of notifications",
            "cps",
            {rate("carillon_notifications_total", "kind", "outcome"): "{{kind}} {{outcome}}"},
        ),
        Graph(
            "Not accepted, by reason",
            "cps",
            {
                rate(
                    "carillon_notifications_total", "outcome", "reason", where=f'{_APP},outcome!="accepted"'
                ): "{{outcome}} {{reason}}"
            },
        ),
        Graph("Members", "cps", {rate("carillon_members_total", "decision", "reason"): "{{decision}} {{reason}}"}),
        Graph(
            "Tried again, held back, limited",
            "cps",
            {
                rate("carillon_notification_retries_total", "kind", "reason"): "again: {{kind}} {{reason}}",
                rate("carillon_notifications_held_back_total", "kind", "reason"): "held back: {{kind}} {{reason}}",
                rate("carillon_notifications_limited_total", "kind", "limit"): "limited: {{kind}} {{limit}}",
            },
        ),
        Graph("Changes of devices", "cps", {rate("carillon_device_changes_total", "change"): "{{change}}"}),
    ),
    "Latency": (
        Graph(
            "From publishing to the provider's acceptance",
            "s",
            {
                quantile(of, "carillon_publish_to_accept_seconds"): f"{{{{kind}}}} p{of[2:]}"
                for of in ("0.50", "0.95", "0.99")
            },
        ),
        Graph(
            "The provider's answer",
            "s",
            {
                quantile(of, "carillon_provider_answer_seconds"): f"{{{{kind}}}} p{of[2:]}"
                for of in ("0.50", "0.95", "0.99")
            },
        ),
    ),
    "Backlog": (
        Graph(
            "Age of the oldest",
            "s",
            {f"max by (lane, state) (carillon_backlog_oldest_seconds{{{_APP}}})": "{{lane}} {{state}}"},
            "`stream` and `ready` wait for a worker; `held` waits for a provider, `due` for its time.",
        ),
        Graph(
            "Notifications that wait",
            "short",
            {f"sum by (lane, state) (carillon_backlog_notifications{{{_APP}}})": "{{lane}} {{state}}"},
        ),
        Graph(
            "Messages that wait",
            "short",
            {f"sum by (lane, state) (carillon_backlog_messages{{{_APP}}})": "{{lane}} {{state}}"},
        ),
        Graph("Bytes that wait", "bytes", {f"sum by (app) (carillon_backlog_bytes{{{_APP}}})": "{{app}}"}),
        Graph("Outbox", "short", {"carillon_outbox_waiting_rows": "waiting", "carillon_outbox_failed_rows": "failed"}),
        Graph("Outbox: age of the oldest row", "s", {"carillon_outbox_oldest_seconds": "age"}),
    ),
    "What is wrong": (
        Graph(
            "Conditions",
            "short",
            {"count by (name, severity) (carillon_condition) or vector(0)": "{{severity}} {{name}}"},
        ),
        Graph(
            "Providers that get nothing, or less",
            "short",
            {
                "count by (app, provider, reason) (carillon_provider_stopped) or vector(0)": "{{app}}/{{provider}} {{reason}}"
            },
        ),
    ),
    "Engines": (
        Graph(
            "Memory of Redis",
            "bytes",
            {
                "carillon_redis_memory_bytes": "used",
                "carillon_redis_memory_limit_bytes > 0 or carillon_redis_memory_bytes": "limit",
            },
        ),
        Graph("Parts that could be read", "bool_yes_no", {"carillon_scrape_part_up": "{{part}}"}),
    ),
    "Processes": (
        Graph("Memory", "bytes", {'process_resident_memory_bytes{job="carillon-processes"}': "{{instance}}"}),
        Graph(
            "CPU",
            "percentunit",
            {'rate(process_cpu_seconds_total{job="carillon-processes"}[$__rate_interval])': "{{instance}}"},
        ),
        Graph("Connections to providers", "short", {"sum by (kind) (carillon_sender_connections)": "{{kind}}"}),
        Graph("Requests in flight", "short", {"sum by (kind) (carillon_sender_requests_in_flight)": "{{kind}}"}),
        Graph(
            "Task threads",
            "short",
            {"sum by (state) (carillon_task_threads)": "{{state}}", "sum(carillon_task_threads_limit)": "limit"},
        ),
        Graph(
            "Delay of the event loop, and of the engines",
            "s",
            {
                "max by (kind) (carillon_event_loop_delay_seconds)": "loop of {{kind}}",
                "max by (engine) (carillon_engine_answer_seconds)": "{{engine}}",
            },
        ),
    ),
}


def made() -> str:
    """The dashboard as Grafana imports it."""
    board = (
        dashboard.Dashboard("Carillon")
        .uid("carillon")
        .tags(["carillon", "push"])
        .refresh("30s")
        .time("now-3h", "now")
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
        .with_variable(
            dashboard.QueryVariable("app")
            .label("App")
            .datasource(_SOURCE)
            .query("label_values(carillon_messages_expanded_total, app)")
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .hide(VariableHide.DONT_HIDE)
        )
        .with_row(dashboard.Row("Now"))
    )
    for number in NOW:
        board = board.with_panel(_number(number))
    for title, graphs in ROWS.items():
        board = board.with_row(dashboard.Row(title))
        for graph in graphs:
            board = board.with_panel(_graph(graph))
    document: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(board.build()))
    for place, panel in enumerate(document["panels"], 1):
        panel["id"] = place
        # The SDK writes null, which Grafana's panels do not expect.
        panel["options"] = panel.get("options") or {}
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _number(number: Number) -> stat.Panel:
    return (
        stat.Panel()
        .title(number.title)
        .unit(number.unit)
        .datasource(_SOURCE)
        .height(_SIXTH)
        .span(_SIXTH)
        .with_target(_query(number.query, "", "A"))
    )


def _graph(graph: Graph) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(graph.title)
        .description(graph.description)
        .unit(graph.unit)
        .min(0)
        .datasource(_SOURCE)
        .height(_HEIGHT)
        .span(_HALF)
        .fill_opacity(10)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
    )
    for letter, (query, legend) in zip("ABCDE", graph.queries.items(), strict=False):
        panel = panel.with_target(_query(query, legend, letter))
    return panel


def _query(query: str, legend: str, letter: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query).legend_format(legend).ref_id(letter).range()


if __name__ == "__main__":
    FILE.write_text(made(), encoding="utf-8")
