"""What `carillon bench` says: the costs, the arithmetic, and what the load needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker.bench.measure import Point
from worker.core.capacity import FULL, Cost, Costs, Load, Need, need
from worker.embedded.machine import Machine

_NAMES: Final = {"apns": "APNs", "fcm": "FCM", "web": "Web Push"}
#: Cores that others may use before the figures cannot be trusted.
_CALM: Final = 0.2


@dataclass(frozen=True)
class Answer:
    """All that was found."""

    machine: Machine
    load: Load
    costs: Costs
    points: Sequence[Point]
    need: Need

    def lines(self) -> Iterator[str]:
        """For people, a sentence or a row each."""
        yield ""
        yield "Costs, µs of CPU:                  worker    Redis  Postgres"
        for label, cost in self._rows():
            yield f"  {label:30} {cost.worker:8,.1f} {cost.redis:8,.1f}  {cost.postgres:8,.1f}"
        yield ""
        yield from self._arithmetic()
        yield ""
        yield from self._needs()

    def _rows(self) -> list[tuple[str, Cost]]:
        costs = self.costs
        pushes = [(f"a push over {_NAMES[kind]}", cost) for kind, cost in costs.push.items()]
        return [
            ("an event without a message", costs.event),
            ("a message", costs.message),
            ("a member who is looked at", costs.member),
            ("a message with pushes, besides", costs.pushed),
            *pushes,
        ]

    def _arithmetic(self) -> Iterator[str]:
        load, found = self.load, self.need
        pushes = " + ".join(f"{count:,.4g} {_NAMES[kind]}" for kind, count in load.pushes.items()) or "none"
        yield (
            f"One message of the load: {load.receivers:,.4g} members besides the sender, pushes: {pushes}. It costs"
            f" {found.cost.worker:,.0f} µs of worker, {found.cost.redis:,.0f} µs of Redis and"
            f" {found.cost.postgres:,.0f} µs of Postgres."
        )
        yield (
            f"{load.messages_per_second:,.0f} messages a second, {load.pushes_per_second:,.0f} pushes a second:"
            f" {found.busy.worker:,.2f} cores of worker, {found.busy.redis:,.2f} of Redis,"
            f" {found.busy.postgres:,.2f} of Postgres. Planned are {FULL:.0%} of a core."
        )

    def _needs(self) -> Iterator[str]:
        found = self.need
        yield f"Worker processes, each with a core: {found.worker_processes:,}"
        if found.redis_nodes is None:
            yield (
                f"Redis nodes: no number is enough. An app lies in one partition, and the busiest of {self.load.apps:,} apps"
                f" has {found.busiest_app:.1%} of the traffic: with what lies beside it that is more than one node bears."
                " Divide the busiest apps into several."
            )
        else:
            yield (
                f"Redis nodes, each with a core for commands: {found.redis_nodes:,}, with {found.partitions:,} partitions;"
                f" the fullest node has {found.fullest_node:.0%} of the traffic"
            )
        yield f"Postgres cores, of one server: {found.postgres_cores:,}"
        others = max(point.others for point in self.points)
        if others > _CALM:
            yield (
                f"Others used up to {others:.1f} cores of this machine meanwhile, so the costs are too high:"
                " measure again when it is calm."
            )

    def as_json(self) -> dict[str, Any]:
        """All of it; costs are in microseconds."""
        found = self.need
        return {
            "machine": self.machine._asdict(),
            "load": {
                **self.load._asdict(),
                "kinds": dict(self.load.kinds),
                "pushes_per_second": round(self.load.pushes_per_second, 3),
            },
            "costs": {
                "event": _rounded(self.costs.event),
                "message": _rounded(self.costs.message),
                "member": _rounded(self.costs.member),
                "pushed": _rounded(self.costs.pushed),
                "push": {kind: _rounded(cost) for kind, cost in self.costs.push.items()},
            },
            "points": [point.as_json() for point in self.points],
            "cost_of_a_message": _rounded(found.cost),
            "busy_cores": {name: round(value, 4) for name, value in found.busy._asdict().items()},
            "planned_share": FULL,
            "worker_processes": found.worker_processes,
            "redis_nodes": found.redis_nodes,
            "partitions": found.partitions,
            "postgres_cores": found.postgres_cores,
            "busiest_app": round(found.busiest_app, 4),
            "fullest_node": round(found.fullest_node, 4),
        }


def answered(machine: Machine, load: Load, costs: Costs, points: Sequence[Point]) -> Answer:
    return Answer(machine, load, costs, points, need(load, costs))


def _rounded(cost: Cost) -> dict[str, float]:
    return {name: round(value, 2) for name, value in cost._asdict().items()}
