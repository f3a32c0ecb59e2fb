"""How many workers, Redis nodes and Postgres cores a load needs. Arithmetic over measured costs, and no measurement.

The model is linear. A message costs something by itself, for each member who is looked at, once more if anybody gets a push,
and for each push by the kind of its provider. The costs are CPU time in the workers, in Redis and in Postgres.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from producers.partitions import MOST, hash_of

#: Share of a core, a node or a worker that is planned for. The rest is for peaks and for a neighbour that is away.
FULL: Final = 0.6
#: Partitions for each Redis node where there are several: with fewer the fullest node has much more than its share.
PARTITIONS_PER_NODE: Final = 4
_SECOND: Final = 1e6


class Cost(NamedTuple):
    """Microseconds of CPU."""

    worker: float
    redis: float
    postgres: float

    def plus(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: "Cost") -> "Cost":
        """Never below 0: a difference of two measured costs may be."""
        return Cost(*(max(0.0, a - b) for a, b in zip(self, other, strict=True)))

    def times(self, count: float) -> "Cost":
        return Cost(*(one * count for one in self))

    @property
    def all(self) -> float:
        """Of the workers and both engines."""
        return sum(self)


NOTHING: Final = Cost(0.0, 0.0, 0.0)


class Costs(NamedTuple):
    """What things cost. `event` is one that no message follows, such as a new member; only the leader of a partition pays it."""

    event: Cost
    message: Cost
    member: Cost
    #: Of a message that anybody gets a push for, besides its pushes.
    pushed: Cost
    #: By kind of provider.
    push: Mapping[str, Cost]

    def of_message(self, members: float, pushes: Mapping[str, float]) -> Cost:
        """Of one message: members besides the sender, and pushes by kind."""
        cost = self.message.plus(self.member.times(members))
        if sum(pushes.values()):
            cost = cost.plus(self.pushed.times(min(1.0, sum(pushes.values()))))
        for kind, count in pushes.items():
            cost = cost.plus(self.push[kind].times(count))
        return cost


class Measured(NamedTuple):
    """Messages of one kind: what one cost, its members besides the sender, and its pushes."""

    cost: Cost
    members: float
    pushes: float


def solved(
    event: Cost, silent: tuple[Measured, Measured], direct: Measured, channels: Mapping[str, Measured], base: str
) -> Costs:
    """The costs that explain what was measured.

    `silent`: messages without a push to few members and to many; `direct`: one push by the kind `base` to one member; `channels`:
    by kind, a push to each of many members.
    """
    few, many = silent
    member = many.cost.minus(few.cost).times(1 / (many.members - few.members))
    message = few.cost.minus(member.times(few.members))
    of_base = channels[base]
    # Both have the share of a message that is pushed, so it is not in the difference.
    push = (
        of_base.cost.minus(direct.cost)
        .minus(member.times(of_base.members - direct.members))
        .times(1 / (of_base.pushes - direct.pushes))
    )
    without = message.plus(member.times(direct.members)).plus(push.times(direct.pushes))
    pushed = direct.cost.minus(without)
    by_kind = {
        kind: one.cost.minus(message.plus(member.times(one.members)).plus(pushed)).times(1 / one.pushes)
        for kind, one in channels.items()
    }
    return Costs(event, message, member, pushed, by_kind)


class Load(NamedTuple):
    """What is to be carried at the peak."""

    messages_per_second: float
    #: Of a message's channel, the sender included.
    members: float
    #: Devices of a member that get a push, on average.
    devices: float
    apps: int
    #: Share of the pushes by kind; they add up to 1.
    kinds: Mapping[str, float]
    #: Events a second that no message follows.
    events_per_second: float = 0.0
    #: Whether all apps have as much traffic. Otherwise the n-th has 1/n of what the busiest has (Zipf).
    even: bool = False

    @property
    def receivers(self) -> float:
        """Members besides the sender."""
        return max(0.0, self.members - 1)

    @property
    def pushes(self) -> dict[str, float]:
        """Of one message, by kind."""
        return {kind: share * self.receivers * self.devices for kind, share in self.kinds.items() if share}

    @property
    def shares(self) -> list[float]:
        """Of the traffic, by app, the busiest first."""
        return [1 / self.apps] * self.apps if self.even else zipf(self.apps)

    @property
    def pushes_per_second(self) -> float:
        return sum(self.pushes.values()) * self.messages_per_second


class Need(NamedTuple):
    """What a load needs."""

    #: Of one message.
    cost: Cost
    #: Cores that are busy at the load, by where.
    busy: Cost
    worker_processes: int
    postgres_cores: int
    #: None: no number of nodes is enough. The busiest app alone is too much for one, or the apps are too few to spread.
    redis_nodes: int | None
    partitions: int
    #: Share of the load that is the busiest app's, and that of the fullest node.
    busiest_app: float
    fullest_node: float


def need(load: Load, costs: Costs) -> Need:
    """How much of each is needed, so that nothing is fuller than `FULL`."""
    cost = costs.of_message(load.receivers, load.pushes)
    busy = cost.times(load.messages_per_second).plus(costs.event.times(load.events_per_second)).times(1 / _SECOND)
    shares = load.shares
    nodes, fullest = _nodes(busy.redis, shares)
    leaders = _leaders(load, costs, shares)
    partitions = max(leaders, _partitions(nodes or 1))
    return Need(
        cost,
        busy,
        max(1, math.ceil(busy.worker / FULL)),
        max(1, math.ceil(busy.postgres / FULL)),
        nodes,
        partitions,
        shares[0],
        fullest,
    )


def zipf(apps: int) -> list[float]:
    """Shares of the traffic of so many apps, the busiest first: the n-th has 1/n of what the first has."""
    weights = [1 / n for n in range(1, apps + 1)]
    whole = sum(weights)
    return [weight / whole for weight in weights]


def of_partitions(shares: Sequence[float], partitions: int) -> list[float]:
    """The share of each partition: an app lies whole in one, by the hash of its name."""
    found = [0.0] * partitions
    for number, share in enumerate(shares):
        found[hash_of(f"app-{number}") % partitions] += share
    return found


def of_nodes(shares: Sequence[float], partitions: int, nodes: int) -> list[float]:
    """The share of each node: the partitions lie on them in equal ranges."""
    found = [0.0] * nodes
    for partition, share in enumerate(of_partitions(shares, partitions)):
        found[partition * nodes // partitions] += share
    return found


def _nodes(cores: float, shares: Sequence[float]) -> tuple[int | None, float]:
    """The fewest nodes of which the fullest is full enough, and its share; each node has one core for commands."""
    if cores <= FULL:
        return 1, 1.0
    if cores * shares[0] > FULL:
        return None, 1.0
    for nodes in range(math.ceil(cores / FULL), MOST + 1):
        fullest = max(of_nodes(shares, _partitions(nodes), nodes))
        if cores * fullest <= FULL:
            return nodes, fullest
    return None, 1.0


def _partitions(nodes: int) -> int:
    """For so many nodes."""
    return 1 if nodes == 1 else min(MOST, PARTITIONS_PER_NODE * nodes)


def _leaders(load: Load, costs: Costs, shares: Sequence[float]) -> int:
    """The fewest partitions, a power of two, of which the fullest one's leader is full enough. Each leader is one thread.

    Where the busiest app alone is too much for one, more partitions do not help, and as many are named as help the others.
    """
    cores = (load.messages_per_second + load.events_per_second) * costs.event.worker / _SECOND
    partitions = 1
    while partitions < MOST and cores * max(of_partitions(shares, partitions)) > max(FULL, cores * shares[0] * 1.2):
        partitions *= 2
    return partitions
