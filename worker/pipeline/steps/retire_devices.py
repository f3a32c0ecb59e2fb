from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.database.devices import Devices
from worker.pipeline.deferred_retirement import DEFERRED_REASONS, DeferredRetirement
from worker.pipeline.insist import Insist


@dataclass(frozen=True)
class RetireDevices:
    """Retires devices that are gone, later where their provider may be at fault, and notes those of a mass unregistration."""

    devices: Devices
    deferred_retirement: DeferredRetirement
    insist: Insist

    def __call__(self, run: BatchRun) -> None:
        refusals = run.refusals(range(len(run.outcomes)))
        if not refusals and not run.unconfirmed:
            return
        provider = run.batch.provider
        self.devices.retire(provider, [one for one in refusals if one[2] not in DEFERRED_REASONS])
        self.insist(self.deferred_retirement.defer, run.way, [one for one in refusals if one[2] in DEFERRED_REASONS])
        self.devices.note_mass_unregister(provider, run.unconfirmed)
