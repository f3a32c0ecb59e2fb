"""The simulation of docs/scaling.md against results that are known without one."""

import random

import pytest

from benchmarks.capacity import BAR, Design, Work, bounds, costs_json, costs_of, of_nodes, paced, saturated
from benchmarks.support.simulation import UNBOUNDED, Clock, Cores, Job, Resource
from worker.core.capacity import Cost, Costs

WORK = Work(Cost(worker=200, redis=50, postgres=60), leader=40)
ALONE = [1.0]


def waits(rho: float, servers: int = 1, jobs: int = 20_000) -> float:
    """Mean microseconds that jobs of 100 µs wait, which come by chance and use this share of the servers."""
    clock, chance = Clock(), random.Random(5)
    resource = Resource(clock, Cores(servers), servers)
    took, at = list[float](), 0.0
    for _ in range(jobs):
        at += chance.expovariate(rho * servers / 100)
        job = Job(at, [(resource, 100.0)], lambda job: took.append(clock.now - job.born - 100))
        clock.at(at, job.go_on)
    clock.run()
    return sum(took) / len(took)


@pytest.mark.parametrize("rho", [0.3, 0.5, 0.7])
def test_one_server_with_jobs_that_come_by_chance_waits_as_pollaczek_and_khinchine_say(rho: float):
    # M/D/1: rho / (2 (1 - rho)) of the service time.
    assert waits(rho) == pytest.approx(100 * rho / (2 * (1 - rho)), rel=0.08)


def test_several_servers_with_one_queue_wait_less_than_one_of_the_same_share():
    # M/D/2 at 0.7: Cosmetatos' approximation of half of M/M/2, within some percent.
    erlang = 0.49 / (1 - 0.49)
    expected = 100 * erlang / 2 * (1 + (1 - 0.7) * (2 - 1) * ((4 + 5 * 2) ** 0.5 - 2) / (16 * 0.7 * 2))
    assert waits(0.7, servers=2) == pytest.approx(expected, rel=0.1)


def test_jobs_that_come_at_a_pace_and_fit_do_not_wait():
    clock, took = Clock(), list[float]()
    resource = Resource(clock, Cores(1))
    for number in range(50):
        job = Job(number * 110.0, [(resource, 100.0)], lambda job: took.append(clock.now - job.born))
        clock.at(job.born, job.go_on)
    clock.run()
    assert took == pytest.approx([100.0] * 50)
    assert resource.worked == pytest.approx(5_000)


def test_resources_that_share_a_core_share_its_time():
    # 40 + 50 + 60 + 160 µs on one core: as many a second as one resource of 310 µs has.
    assert saturated([WORK], 1, 4, 100, count=1_000) == pytest.approx(1e6 / 310, rel=0.02)
    assert saturated([WORK], 2, 4, 100, count=1_000) == pytest.approx(2e6 / 310, rel=0.03)


def test_a_fraction_of_a_core_is_a_slower_core():
    assert saturated([WORK], 1.5, 4, 100, count=1_000) == pytest.approx(1.5e6 / 310, rel=0.03)


def test_with_cores_enough_the_slowest_resource_decides():
    # One worker process of 160 µs, whatever the cores; two; and Redis, which has one server.
    for workers, expected in ((1, 1e6 / 160), (2, 2e6 / 160), (64, 1e6 / 50)):
        assert saturated([WORK], 16, workers, 100, count=2_000) == pytest.approx(expected, rel=0.05)


def test_what_a_step_costs_is_shared_by_those_it_takes():
    clock, ended = Clock(), list[float]()
    resource = Resource(clock, Cores(1), step=10, fixed=1_000)
    for _ in range(21):
        Job(0.0, [(resource, 1.0)], lambda _: ended.append(clock.now)).go_on()
    clock.run()
    # The first goes alone, then two steps of ten.
    assert ended == [1_001.0] + [2_011.0] * 10 + [3_021.0] * 10


def test_servers_without_bound_still_need_cores():
    clock = Clock()
    resource = Resource(clock, Cores(3), UNBOUNDED)
    for _ in range(9):
        Job(0.0, [(resource, 10.0)], lambda _: None).go_on()
    clock.run()
    assert clock.now == 30.0


def test_the_bounds_are_where_the_simulation_begins_to_grow():
    design = Design(1, 1, postgres_cores=16, workers=64)
    full = bounds(WORK, design, ALONE)
    assert full == pytest.approx({"leader": 1e6 / 43, "redis": 20_000, "postgres": 16e6 / 60, "workers": 64e6 / 160})
    carried, too_much = (paced(WORK, design, ALONE, full["redis"] * load, 3_000) for load in (0.7, 1.3))
    assert not carried["grows"]
    assert too_much["grows"]
    assert carried["fullest_node"] == pytest.approx(0.7, rel=0.1)
    assert carried["p50_ms"] < carried["p99_ms"]


def test_partitions_lie_on_nodes_in_equal_ranges():
    assert of_nodes([0.4, 0.1, 0.2, 0.3], 2) == pytest.approx([0.5, 0.5])
    assert of_nodes([0.25] * 4, 3) == pytest.approx([0.5, 0.25, 0.25])


def test_costs_go_through_json():
    cost = Cost(1.0, 2.0, 3.0)
    costs = Costs(cost, cost, cost, cost, {"apns": cost})
    assert costs_of({"costs": costs_json(costs)}) == costs
    assert BAR == 0.2
