"""Broadcast channels of Live Activities: one request to a channel reaches every phone whose app subscribed to it. Pure."""

from hashlib import blake2b

from worker.core.batch import Job
from worker.core.model import Device, Provider
from worker.core.purposes import BROADCAST


def recipient(channel: str) -> str:
    """Whom the ledger names: a channel has no user."""
    return f"broadcast {channel}"


def stand_in(provider: Provider, channel: str) -> Device:
    """What its job has in place of a device. No device has an id below 0."""
    number = int.from_bytes(blake2b(channel.encode(), digest_size=6).digest(), "big")
    return Device(-1 - number, recipient(channel), provider.id, channel, None, 0, purpose=BROADCAST)


def is_broadcast(job: Job) -> bool:
    """All jobs of its batch are, then."""
    return job.device < 0


def in_ledger(device: int) -> int:
    """A device as the ledger has it: 0 where it stands for a channel."""
    return max(0, device)
