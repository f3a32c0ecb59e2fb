"""`carillon secrets`: the keys that encrypt what Carillon stores."""

from worker.cli._groups import group
from worker.cli._options import Json
from worker.cli._session import refuse, say, session
from worker.process.by_hand import by_hand
from worker.reports.words import counted

secrets = group("The keys that encrypt stored credentials.")


@secrets.callback()
def _secrets() -> None:
    pass


@secrets.command(epilog="Example: CARILLON_SECRET_KEYS=new,old carillon secrets rotate")
def rotate(as_json: Json = False) -> None:
    """Encrypt everything again with the first key of CARILLON_SECRET_KEYS. The other keys are not needed an hour later.

    1. Make a key: carillon secret-key. Put it FIRST in CARILLON_SECRET_KEYS, before the old one, and restart the workers.
    2. Run this. It changes all credentials, or none if one cannot be read; then what is secret of devices.
    3. An hour later, take the old key out of CARILLON_SECRET_KEYS and restart the workers: by then no notification waits whose
       device's secret is sealed with it, unless an app's max_age is longer.
    """
    from worker.database.vault import CredentialError

    with session() as runtime:
        with by_hand(runtime) as hand:
            try:
                changed = hand.runtime.registry.rotate()
            except CredentialError as fault:
                refuse(fault)
            hand.record("secrets rotated", detail={"credentials": changed})
        devices = runtime.registry.device_secrets.rotate(runtime.pool)
    text = f"{counted(changed, 'credential')} encrypted with the first key"
    if devices.devices:
        text += f", and what is secret of {counted(devices.devices, 'device')}"
    if devices.unreadable_devices:
        left = counted(devices.unreadable_devices, "device")
        text += f"; no key opens what is secret of {left}: they get nothing until they register again"
    say({"rotated": changed} | devices._asdict(), text, as_json=as_json)
