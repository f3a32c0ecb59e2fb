"""The arithmetic of docs/scaling.md: costs from measured points, and what a load needs."""

import pytest

from worker.core.capacity import (
    FULL,
    NOTHING,
    PARTITIONS_PER_NODE,
    Cost,
    Costs,
    Load,
    Measured,
    need,
    of_nodes,
    of_partitions,
    solved,
    zipf,
)

COSTS = Costs(
    event=Cost(30, 10, 15),
    message=Cost(100, 40, 30),
    member=Cost(2, 1, 0.5),
    pushed=Cost(60, 20, 10),
    push={"apns": Cost(20, 5, 3), "fcm": Cost(30, 6, 3), "web": Cost(150, 8, 4)},
)


def of_sort(members: float, pushes: float, kind: str = "apns") -> Measured:
    """What a measurement would find if the costs were these."""
    return Measured(COSTS.of_message(members, {kind: pushes}), members, pushes)


def load(messages: float = 1_000, **other: object) -> Load:
    plain = {"members": 2, "devices": 1, "apps": 1, "kinds": {"apns": 1.0}}
    return Load(messages, **{**plain, **other})  # type: ignore[arg-type]


def test_the_costs_are_found_again_from_what_messages_cost():
    channels = {kind: of_sort(49, 49, kind) for kind in COSTS.push}
    found = solved(COSTS.event, (of_sort(1, 0), of_sort(49, 0)), of_sort(1, 1), channels, "apns")
    assert found.event == COSTS.event
    for ours, theirs in zip(
        (found.message, found.member, found.pushed, *found.push.values()),
        (COSTS.message, COSTS.member, COSTS.pushed, *COSTS.push.values()),
        strict=True,
    ):
        assert ours == pytest.approx(theirs)


def test_a_cost_is_never_below_nothing_however_noisy_the_measurement():
    noisy = Measured(NOTHING, 49, 49)
    found = solved(NOTHING, (of_sort(1, 0), noisy), of_sort(1, 1), {"apns": noisy}, "apns")
    assert min(min(cost) for cost in (found.message, found.member, found.pushed, *found.push.values())) == 0.0


def test_a_message_costs_itself_its_members_and_its_pushes():
    assert COSTS.of_message(49, {}) == Cost(100 + 98, 40 + 49, 30 + 24.5)
    assert COSTS.of_message(1, {"apns": 1.0}).worker == 100 + 2 + 60 + 20
    assert COSTS.of_message(49, {"apns": 24.5, "web": 24.5}).worker == 100 + 98 + 60 + 24.5 * 170
    # Of four messages one is pushed to anybody.
    assert COSTS.of_message(1, {"apns": 0.25}).worker == 100 + 2 + 15 + 5


def test_needs_are_the_busy_cores_over_the_planned_share():
    found = need(load(10_000), COSTS)
    assert found.busy == pytest.approx((1.82, 0.66, 0.435))
    assert found.worker_processes == 4  # 1.82 / 0.6
    assert found.postgres_cores == 1
    assert need(load(1), COSTS).redis_nodes == 1


def test_one_app_lies_in_one_partition_so_no_number_of_nodes_helps_it():
    assert need(load(10_000), COSTS).redis_nodes is None
    many = need(load(10_000, apps=1_000), COSTS)
    assert many.redis_nodes is not None
    assert many.redis_nodes >= 2
    assert many.partitions >= PARTITIONS_PER_NODE * many.redis_nodes
    assert many.busy.redis * many.fullest_node <= FULL


def test_events_without_a_message_are_paid_as_well():
    busy = need(load(0, events_per_second=20_000), COSTS).busy
    assert busy == pytest.approx((0.6, 0.2, 0.3))


def test_a_partition_has_one_leader_so_many_events_need_several():
    events = need(load(0, events_per_second=50_000, apps=1_000), COSTS)
    assert events.partitions > 1
    assert 50_000 * max(of_partitions(zipf(1_000), events.partitions)) * 30 / 1e6 <= FULL


def test_pushes_a_second_count_the_senders_channel_without_the_sender():
    assert load(100, members=50, devices=1.5).pushes_per_second == pytest.approx(100 * 49 * 1.5)
    assert load(100, members=1).pushes_per_second == 0


@pytest.mark.parametrize("partitions", [1, 4, 16])
def test_shares_add_up_whatever_they_are_divided_by(partitions: int):
    shares = zipf(500)
    assert sum(shares) == pytest.approx(1)
    assert sum(of_partitions(shares, partitions)) == pytest.approx(1)
    assert sum(of_nodes(shares, partitions, 3)) == pytest.approx(1)
    assert max(of_partitions(shares, partitions)) >= shares[0]


def test_apps_of_the_same_traffic_need_fewer_nodes():
    even, uneven = (need(load(20_000, apps=1_000, even=even), COSTS) for even in (True, False))
    assert even.busiest_app == 1 / 1_000
    assert even.redis_nodes is not None
    assert uneven.redis_nodes is None or even.redis_nodes <= uneven.redis_nodes
