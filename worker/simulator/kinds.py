"""Every kind of simulator. The one place that names them."""

from typing import Any, Final

import msgspec

from worker.simulator.apns.service import ApnsService
from worker.simulator.apns.settings import Settings as ApnsSettings
from worker.simulator.fcm.service import FcmService
from worker.simulator.fcm.settings import FcmSettings
from worker.simulator.service import Service
from worker.simulator.settings import CommonSettings
from worker.simulator.web.service import WebService
from worker.simulator.web.settings import WebSettings

AnySettings = ApnsSettings | FcmSettings | WebSettings
_SERVICES: Final[dict[type[CommonSettings], Any]] = {
    ApnsSettings: ApnsService,
    FcmSettings: FcmService,
    WebSettings: WebService,
}


def service_for(settings: CommonSettings) -> Service:
    """The service with these settings."""
    service: Service = _SERVICES[type(settings)](settings)
    return service


def read_settings(document: str | bytes) -> list[CommonSettings]:
    """The settings of one simulator, or of several in a list. Without a `kind` it is APNs. Raises msgspec.DecodeError."""
    found = msgspec.json.decode(document)
    listed = found if isinstance(found, list) else [found]
    return [msgspec.convert({"kind": "apns"} | one, AnySettings) for one in listed]
