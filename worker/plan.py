"""What one expansion will write: grows message by message, and is written in one step of the journal."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from worker.core.batch import Batch, Job, Lane, Sending, batch_id
from worker.core.model import Device
from worker.stores.journal import DONE, Parcel, Step
from worker.stores.ledger import account as ledger_account

_NO_WHY: Final[Mapping[str, str]] = {}


class Plan:
    """`new_id` gives a batch id that was never given before, `batch` is the most jobs of one."""

    def __init__(self, new_id: Callable[[], str], batch: int) -> None:
        self._new_id, self._batch = new_id, batch
        self._open: dict[tuple[str, int, Lane], Batch] = {}
        self._full: list[Batch] = []
        self.steps: list[Step] = []
        self.accounts: list[bytes] = []
        #: Expansions that go on, on the bulk lane.
        self.unfinished = 0
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def take(self, step: Step, event_id: str, page: int, account: object) -> None:
        """One page of an event is expanded, with what it says of whom."""
        self.steps.append(step)
        self.accounts.append(ledger_account(step.app, event_id, f"page:{page}", account))
        self.unfinished += step.following != DONE

    def add_jobs(
        self, app: str, lane: Lane, sending: Sending, devices: Iterable[Device], why: Mapping[str, str] = _NO_WHY
    ) -> None:
        """`why` by user."""
        for device in devices:
            key = (app, device.provider_id, lane)
            batch = self._open.get(key)
            if batch is None:
                batch = self._open[key] = Batch(app, device.provider_id, lane, [], [])
            if not batch.sendings or batch.sendings[-1] is not sending:
                batch.sendings.append(sending)
            reason = why.get(device.user, "")
            batch.jobs.append(
                Job(
                    len(batch.sendings) - 1,
                    device.id,
                    device.user,
                    device.token,
                    device.registered_at,
                    why=reason,
                )
            )
            if len(batch.jobs) >= self._batch:
                self._full.append(self._open.pop(key))

    def parcels(self) -> list[Parcel]:
        return [Parcel(batch_id(batch, self._new_id()), batch) for batch in (*self._full, *self._open.values())]
