"""Providers in trouble of the kinds that have origins and quotas: an origin that hangs, a project over its quota, a hostile
subscription. Each is an app of its own, whose devices all meet it.
"""

import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

from benchmarks.peers.kinds import subscriptions
from benchmarks.support.stage import Stage, service_account
from worker.core.model import AppSettings, Provider
from worker.core.receiver_keys import pack
from worker.database.device_secrets import DeviceSecrets
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.providers import kinds
from worker.providers.fcm.settings import FcmSettings
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair
from worker.simulator import SimulatorProcess

#: Messages that the project may send in a minute.
QUOTA: Final = 60
#: A name of this machine, which the operator calls a push service: no push may go to its address.
HOSTILE: Final = "push.localhost"


class Row(NamedTuple):
    """Of a device: token, platform, and secret as the database has it."""

    token: str
    platform: str = ""
    secret: str = ""


#: The device of the n-th member of an app.
Device = Callable[[str, int], Row]


def troubled(place: Stage, silent: int, ca: str, fcm: SimulatorProcess) -> tuple[dict[str, Provider], Device]:
    """Apps `hanging`, `quota` and `hostile` with a provider each, and their devices. `silent`: a port that never answers."""
    pair, secrets = new_key_pair(), DeviceSecrets([place.environ["CARILLON_SECRET_KEYS"]])
    secret = secrets.seal(pack(subscriptions(1)[0]))
    subject = ("mailto:push@example.com", pair.public, pair.private)
    settings: dict[str, WebSettings | FcmSettings] = {
        "hanging": WebSettings(*subject, host="127.0.0.1", port=silent, ca=ca),
        "quota": FcmSettings(service_account(), "app", None, "localhost", fcm.port, fcm.ca_pem),
        "hostile": WebSettings(*subject),
    }
    hosts = {"hanging": "updates.push.services.mozilla.com", "hostile": HOSTILE}

    def device(app: str, number: int) -> Row:
        name = hashlib.sha256(f"{app}-{number}".encode()).hexdigest()
        if app == "quota":
            return Row(f"{name[:22]}:APA91b{name}", "android")
        return Row(f"https://{hosts[app]}/wpush/v2/{name}", "web", secret)

    with open_pool(place.urls.postgres, size=1) as pool:
        registry, made = Registry(pool, [place.environ["CARILLON_SECRET_KEYS"]], kinds), {}
        for app, one in settings.items():
            registry.save_app(AppSettings(app))
            made[app] = registry.save_provider(Provider(0, app, one.kind, "production", one))
    return made, device
