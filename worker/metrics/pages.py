"""What the HTTP server answers: metrics in Prometheus' text form, and what probes ask."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from worker.metrics.http import Answer, Page

#: By name: why something does not work, None where it does.
Checks = Callable[[], Mapping[str, str | None]]


def metrics(registry: CollectorRegistry) -> Page:
    return lambda: Answer(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


def checks(ask: Checks) -> Page:
    """200 if everything works, else 503; a line for each check."""

    def page() -> Answer:
        found = ask()
        lines = [f"{name}: {fault or 'ok'}\n" for name, fault in found.items()]
        status = HTTPStatus.SERVICE_UNAVAILABLE if any(found.values()) else HTTPStatus.OK
        return Answer("".join(lines).encode(), status)

    return page
