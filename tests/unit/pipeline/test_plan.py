"""How the jobs of an expansion become batches: by app, provider, lane and purpose, in the order in which they were planned."""

from collections.abc import Sequence

from worker.core.batch import Sending
from worker.core.model import Device
from worker.pipeline.expansion.patience import PART, Patience
from worker.pipeline.plan import Plan
from worker.state.journal import Journal


def device(id: int, provider: int = 1, purpose: str = "alert") -> Device:
    return Device(id, f"u{id}", provider, "aa", None, 0, purpose=purpose)


def sending(entry: str, app: str = "demo") -> Sending:
    return Sending(entry, f"{app}-{entry}", '{"aps":{', "}}", 1, "c")


def planned(*jobs: tuple[str, Sending, Sequence[Device]], most: int = 500) -> dict[tuple[str, int], list[list[int]]]:
    """By app and provider, the devices of each batch."""
    plan = Plan(lambda: "ab" * 8, most, lambda *_: None, 0.0)
    for app, one, devices in jobs:
        plan.add_jobs(app, "urgent", one, devices)
    found: dict[tuple[str, int], list[list[int]]] = {}
    for queued in plan.queued():
        batch = queued.batch
        assert all(batch.sendings[job.sending].event_id.startswith(batch.app) for job in batch.jobs)
        found.setdefault((batch.app, batch.provider), []).append([job.device for job in batch.jobs])
    return found


def test_devices_of_two_providers_in_turn_are_two_batches_in_their_order() -> None:
    devices = [device(1), device(2, provider=2), device(3), device(4, provider=2)]
    jobs = ("demo", sending("1-0"), devices), ("demo", sending("2-0"), devices[:2])
    assert planned(*jobs) == {("demo", 1): [[1, 3, 1]], ("demo", 2): [[2, 4, 2]]}


def test_devices_of_two_purposes_are_two_batches() -> None:
    devices = [device(1), device(2, purpose="voip"), device(3)]
    assert planned(("demo", sending("1-0"), devices)) == {("demo", 1): [[1, 3], [2]]}


def test_a_batch_has_the_messages_of_one_app() -> None:
    jobs = ("demo", sending("1-0"), [device(1)]), ("other", sending("2-0", "other"), [device(2)])
    assert planned(*jobs) == {("demo", 1): [[1]], ("other", 1): [[2]]}


def test_of_two_batches_one_has_the_first_notification_of_each_device() -> None:
    jobs = [("demo", sending(f"{n}-0"), [device(1), device(2)]) for n in range(3)]
    assert planned(*jobs, most=2) == {("demo", 1): [[1, 2], [1, 2], [1, 2]]}


class Renewals(Journal):
    """A journal that counts in place of Redis."""

    def __init__(self) -> None:
        self.lease, self.renewed = 60.0, 0

    def renew_messages(self, messages: object) -> None:
        self.renewed += 1


def test_an_expansion_that_takes_long_renews_its_leases_and_begins_with_nothing_more() -> None:
    clock = iter([0.0, 60 * PART, 61 * PART, 62 * PART, 63 * PART, 63 * PART])
    journal = Renewals()
    patience = Patience(journal, [], lambda: next(clock))
    assert (patience.alive(), journal.renewed) == (True, 0)
    assert (patience.alive(), journal.renewed) == (False, 1)
    assert (patience.alive(), journal.renewed) == (False, 1)
    assert patience.over
