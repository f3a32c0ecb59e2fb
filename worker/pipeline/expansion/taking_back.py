"""What clearings and retractions have in common: which devices may hear of them, and what is hidden on the way."""

from collections.abc import Collection, Sequence
from typing import Final

from worker.core.batch import Sending
from worker.core.model import Device
from worker.core.taking_back import with_hidden_ids
from worker.pipeline.apps import Apps
from worker.pipeline.plan import Plan
from worker.providers.kinds import kind_of

#: Why nothing goes out: no banner is up, and no number is wrong.
NOTHING_SHOWN: Final = "nothing_shown"


def may_be_silent(apps: Apps, device: Device) -> bool:
    """Whether the device takes a push that shows nothing. A browser ends the subscription of a page for it."""
    provider = apps.provider(device.provider_id)
    return provider is not None and not kind_of(provider).subscriptions


def add_jobs(plan: Plan, app: str, sending: Sending, devices: Sequence[Device], secret: Collection[int]) -> None:
    """`secret`: the devices that are sent nothing but what is sealed. They get names for its ids."""
    plan.counts[app]["jobs"] += len(devices)
    for hides in (False, True):
        some = [one for one in devices if (one.id in secret) is hides]
        plan.add_jobs(app, "bulk", with_hidden_ids(sending) if hides else sending, some)
