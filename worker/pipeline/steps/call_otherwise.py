from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.core.batch_run import BatchRun
from worker.core.calls import CALL, alert_sending, any_of_call, decode
from worker.core.model import Device
from worker.core.outcome import Unregister
from worker.core.privacy import FULL
from worker.core.purposes import ALERT, VOIP
from worker.database.audience import Audience
from worker.database.postgres import Pool
from worker.facts import used
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.disclose import asked_now, disclose
from worker.pipeline.origins import DeviceOrigins
from worker.pipeline.plan import Plan
from worker.state.calls import Calls


@dataclass(frozen=True)
class CallOtherwise:
    """The call of a VoIP token that is gone goes to the same phone's token for alerts at once.

    Runs before the devices are retired, while they are known. `now` gives UNIX seconds, `new_id` an id that was never given
    before.
    """

    pool: Pool
    audience: Audience
    apps: Apps
    calls: Calls
    origins: DeviceOrigins
    now: Callable[[], float]
    new_id: Callable[[], str]

    def __call__(self, run: BatchRun) -> None:
        if run.is_delivered or not any_of_call(run.batch.sendings, run.kinds):
            return
        gone = [index for index, outcome in enumerate(run.outcomes) if isinstance(outcome, Unregister)]
        if not gone:
            return
        app = run.batch.app
        jobs = [(run.jobs[index], run.batch.sendings[run.jobs[index].sending]) for index in gone]
        jobs = [(job, sending) for job, sending in jobs if sending.push_type == "voip" and sending.kind == CALL]
        devices = self.audience.for_purposes({(app, job.user) for job, _ in jobs}, (ALERT, VOIP)).get(app, {})
        of_app = used.of_app(self.pool, app)
        plan = Plan(self.new_id, len(run.jobs), self.origins.of, self.now())
        for job, sending in jobs:
            [known] = self.calls.known([(app, sending.collapse_id)])
            if not known.document:
                continue
            call, others = decode(known.document), _siblings(devices.get(job.user, ()), job.device)
            said = run.app.attention
            privacy = asked_now(self.pool, run.app, of_app, call.event.channel.id, [job.user])
            disclosed = disclose(privacy, {job.user: others}, self.apps.provider, sealed_only=said.sealed_only)
            for other in disclosed.devices[job.user]:
                disclosure = disclosed.disclosures.get(other.id, FULL)
                alert = alert_sending(call, CALL, other.locale, disclosure, pad=said.pad)
                plan.add_jobs(app, "urgent", alert, [other], CALL)
        run.instead = [queued.batch for queued in plan.queued()]


def _siblings(devices: Sequence[Device], id: int) -> list[Device]:
    """The devices for alerts of the phone that has this VoIP token; none where nobody said which phone that is."""
    phones = {one.installation for one in devices if one.id == id} - {""}
    return [one for one in devices if one.purpose == ALERT and one.installation in phones]
