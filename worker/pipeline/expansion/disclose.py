"""How much of a message may be read on the way to each device, as its app, channel, user and device ask for."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from producers.fields import Privacy
from worker.core.model import Device, Provider
from worker.core.privacy import FULL, Disclosure, disclosure, is_unsealed, strictest
from worker.providers.kinds import kind_of

Devices = Mapping[str, Sequence[Device]]
_ALL: Final[Mapping[int, Disclosure]] = {}


class Disclosed(NamedTuple):
    """The devices that a message may go to, and how much of it."""

    #: By user.
    devices: Devices
    #: By device. One that is missing gets all of it.
    disclosures: Mapping[int, Disclosure] = _ALL
    #: Users none of whose devices has a key, where nothing may go out without a seal.
    keyless: Collection[str] = ()


def asks(devices: Devices) -> bool:
    """Whether a device asks for a mode of its own."""
    return any(device.traits is not None and device.privacy is not None for some in devices.values() for device in some)


def disclose(
    asked: Privacy,
    users: Mapping[str, Privacy],
    devices: Devices,
    provider_of: Callable[[int], Provider | None],
    *,
    sealed_only: bool,
) -> Disclosed:
    """`asked` by the app and the channel, `users` by those who ask for something themselves."""
    found = {
        device.id: one
        for user, some in devices.items()
        for device in some
        if (one := _of(strictest(asked, users.get(user), device.privacy), device, provider_of)) != FULL
    }
    if not sealed_only:
        return Disclosed(devices, found)
    leaks = {device for device, one in found.items() if is_unsealed(one)}
    kept = {user: [device for device in some if device.id not in leaks] for user, some in devices.items()}
    return Disclosed(kept, found, [user for user, some in devices.items() if some and not kept[user]])


def _of(mode: Privacy, device: Device, provider_of: Callable[[int], Provider | None]) -> Disclosure:
    provider = None if mode == "full" else provider_of(device.provider_id)
    if provider is None:
        return FULL
    kind = kind_of(provider)
    return disclosure(mode, device, kind.between, kind.sealed_limit)
