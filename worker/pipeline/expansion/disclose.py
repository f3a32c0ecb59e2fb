"""How much of a message may be read on the way to each device, as its app, channel, user and device ask for."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from producers.fields import Privacy
from worker.core.model import AppSettings, Device, Provider
from worker.core.places import NOW
from worker.core.privacy import FULL, Disclosure, disclosure, is_unsealed, strictest
from worker.database.postgres import Pool
from worker.facts import channels, preferences, used
from worker.providers.kinds import kind_of

Devices = Mapping[str, Sequence[Device]]
_ALL: Final[Mapping[int, Disclosure]] = {}


class Disclosed(msgspec.Struct, frozen=True):
    """The devices that a message may go to, and how much of it."""

    #: By user.
    devices: Devices
    #: By device. One that is missing gets all of it.
    disclosures: Mapping[int, Disclosure] = _ALL
    #: Users none of whose devices has a key, where nothing may go out without a seal.
    keyless: Collection[str] = ()


class Asked(NamedTuple):
    """What is asked for, beside what each device asks for itself."""

    #: By the app and the channel.
    of_all: Privacy
    #: By users.
    users: Mapping[str, Privacy]


def asked_now(pool: Pool, app: AppSettings, of_app: Collection[str], channel: str, users: Collection[str]) -> Asked:
    """What is asked for as it is now, of what is no message: two queries. `of_app`: the facts that the app has rows of."""
    row = channels.read(pool, {(app.name, channel)}, NOW).get((app.name, channel))
    keys = {(app.name, user, "", "") for user in users} if "preferences" in of_app else set()
    said = preferences.of_users(pool, keys)
    found = {user: one.privacy for (_, user, *_), one in said.items() if one.privacy is not None}
    return Asked(strictest(app.attention.privacy, row and row.now.privacy), found)


def hiding(
    pool: Pool, app: AppSettings, channel: str, devices: Devices, provider_of: Callable[[int], Provider | None]
) -> set[int]:
    """The devices for which a channel's messages are sealed, so that its ids are hidden in what takes them back."""
    some = {user: found for user, theirs in devices.items() if (found := [one for one in theirs if one.opens_sealed])}
    if not some:
        return set()
    asked = asked_now(pool, app, used.of_app(pool, app.name), channel, some)
    disclosed = disclose(asked, some, provider_of, sealed_only=False)
    return {device for device, how in disclosed.disclosures.items() if how.form == "sealed"}


def asks(devices: Devices) -> bool:
    """Whether a device asks for a mode of its own."""
    return any(device.traits is not None and device.privacy is not None for some in devices.values() for device in some)


def disclose(
    asked: Asked,
    devices: Devices,
    provider_of: Callable[[int], Provider | None],
    *,
    sealed_only: bool,
) -> Disclosed:
    found = {
        device.id: one
        for user, some in devices.items()
        for device in some
        if (one := _of(strictest(asked.of_all, asked.users.get(user), device.privacy), device, provider_of)) != FULL
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
