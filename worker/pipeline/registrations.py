"""Device events as calls: what each writes, whether its app's rate allows it, and the reply to its caller."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from producers import events
from worker.core.admission import over_rate
from worker.core.entry import ms_of
from worker.core.model import traits_of
from worker.core.ownership import Details, Superseded, instant, mark, microseconds
from worker.core.receiver_keys import SCHEME, checked, pack
from worker.core.refusal import Refusal
from worker.database.device_writes import Begun, DeviceWrite, recently_begun, unmet, write_devices
from worker.database.postgres import Connection
from worker.database.rates import admitted
from worker.pipeline.apps import Apps
from worker.pipeline.provider_choice import choose_provider, platform_of
from worker.providers.kinds import registration, token_forms

DeviceEvent = events.DeviceRegistered | events.DeviceUnregistered


class Call(NamedTuple):
    """A device event that can be taken. `writes` is empty for an anonymous user, whom no device belongs to (S10)."""

    entry: str
    event: DeviceEvent
    document: bytes
    writes: Sequence[DeviceWrite]


class _Asking(msgspec.Struct):
    """As much of a document as it takes to answer it, whatever else is wrong with it."""

    type: str = ""
    reply: str | None = None


_asking: Final = msgspec.json.Decoder(_Asking).decode


def read_call(entry: str, event: DeviceEvent, document: bytes, apps: Apps, place: int = 0) -> Call:
    """The writes that a device event means. Raises `Refused`."""
    at, event_mark = microseconds(event.at), mark(event.id)
    providers = apps.providers_of(event.app)
    if isinstance(event, events.DeviceUnregistered):
        forms = token_forms(event.device.address, providers)
        writes = [DeviceWrite(event.app, token, event.user, at, event=event_mark, place=place) for token in forms]
        return Call(entry, event, document, writes)
    if event.anonymous:
        return Call(entry, event, document, ())
    device = event.device
    provider = choose_provider(device, event.app, providers)
    token, secret = registration(device, provider)
    key, packed = _keys(device)
    details = Details(
        device.locale,
        device.app_version,
        device.attributes or None,
        platform_of(device),
        apps.device_secrets.seal(secret) if secret else "",
        traits_of(device.accepts, device.privacy, key),
        apps.device_secrets.seal(packed) if packed else "",
        device.purpose,
        device.installation or "",
        device.activity or "",
    )
    write = DeviceWrite(event.app, token, event.user, at, provider.id, details, event_mark, place)
    return Call(entry, event, document, (write,))


def apply(db: Connection, calls: Sequence[Call], apps: Apps) -> tuple[dict[str, Refusal], list[Begun]]:
    """Writes the calls. Returns by entry the refusals of calls over their app's rate, and the devices whose badge starts again.

    Unregistrations are never refused. Runs inside the caller's transaction.
    """
    counted = [call for call in calls if isinstance(call.event, events.DeviceRegistered)]
    limits = _limits({call.event.app for call in counted}, apps)
    answers = admitted(db, [(call.event.app, ms_of(call.entry)) for call in counted], limits)
    over = {
        call.entry: over_rate(call.event.app, *limits[call.event.app])
        for call, allowed in zip(counted, answers, strict=True)
        if not allowed
    }
    return over, write_devices(db, [write for call in calls if call.entry not in over for write in call.writes])


def begun_before(db: Connection, calls: Iterable[Call]) -> list[Begun]:
    """Devices whose badge starts again by calls that a dead leader applied."""
    return recently_begun(db, [write for call in calls for write in call.writes])


def superseded(db: Connection, calls: Iterable[Call]) -> dict[str, Superseded]:
    """By entry, the calls whose writes were applied and are not true any more, by the stored state."""
    asked = [(call.entry, write) for call in calls for write in call.writes]
    found = zip(asked, unmet(db, [write for _, write in asked]), strict=True)
    return {entry: newer for (entry, _), newer in found if newer is not None}


def counts(calls: Iterable[Call], over_rate: Iterable[Call]) -> Mapping[tuple[str, str], int]:
    """Their counters, by app. Calls over their app's rate are only counted, not stored."""
    found = Counter((call.event.app, "devices.anonymous") for call in calls if not call.writes)
    found.update((call.event.app, "devices.over_rate") for call in over_rate)
    return found


def reply_id(document: bytes) -> str | None:
    """Under which id the document's author waits for an answer, if at all; also where the document is refused."""
    if b'"reply"' not in document:
        return None
    try:
        asking = _asking(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not asking.type.startswith("device.") or not asking.reply or len(asking.reply) > events.MAX_REPLY:
        return None
    return asking.reply


def answer(refusal: Refusal | None, newer: Superseded | None = None, *, anonymous: bool = False) -> dict[str, Any]:
    """The document that the caller gets. `newer`: the newer write, if one won."""
    if newer is not None:
        at = None if newer.at is None else instant(newer.at)
        return {"ok": False, "code": "superseded", "at": at, "error": newer.error}
    if refusal is None:
        return {"ok": True, "ignored": "anonymous"} if anonymous else {"ok": True}
    return {"ok": False, "code": refusal.code, "error": refusal.error, "field": refusal.field}


def _keys(device: events.Device) -> tuple[str | None, str]:
    """The id of its keys, and the keys as text; None and '' for none, and for keys of another scheme. Raises `Refused`."""
    given = device.keys
    if given is None or given.scheme != SCHEME:
        return None, ""
    return given.id, pack(checked(given.p256dh, given.auth, "device.keys"))


def _limits(names: Iterable[str], apps: Apps) -> dict[str, tuple[int, int]]:
    found = {}
    for name in names:
        app = apps.app(name)
        if app is not None and app.registration_rate is not None:
            found[name] = (app.registration_rate, app.registration_burst)
    return found
