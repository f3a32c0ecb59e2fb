"""An FCM provider's settings: a service account, and who shows its notifications on Android."""

import re
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from worker.providers.base import SettingsError
from worker.providers.fcm.service_account import TOKEN_URL, ServiceAccount

#: `app`: the app's code gets data and shows the notification. `system`: Android shows title and body, without code of the app.
Display = Literal["app", "system"]
HOST: Final = "fcm.googleapis.com"
PORT: Final = 443
_CHANNEL: Final = re.compile(r"[!-~](?:[ -~]{0,254}[!-~])?")


@dataclass(frozen=True, slots=True)
class FcmSettings:
    kind: ClassVar[str] = "fcm"

    account: ServiceAccount
    display: Display
    #: The notification channel of Android in which `system` shows; None: the app's default.
    channel_id: str | None = None
    #: A simulator is the only other host; its tokens come from there too.
    host: str = HOST
    port: int = PORT
    #: PEM of the CA to trust instead of the public ones, for a simulator.
    ca: str | None = field(default=None, repr=False)

    @property
    def token_url(self) -> str:
        """The URL of the token endpoint."""
        return TOKEN_URL if self.host == HOST else f"https://{self.host}:{self.port}/token"


def check_display(text: str) -> Display:
    if text not in ("app", "system"):
        raise SettingsError(
            f"display: {text!r} is neither app (the app's code shows it) nor system (Android shows it); docs/fcm.md has both"
        )
    return "app" if text == "app" else "system"


def check_channel(settings: FcmSettings) -> None:
    if settings.channel_id is None:
        return
    if settings.display == "app":
        raise SettingsError("channel id: belongs to the display system; with app, the app's code chooses the channel")
    if not _CHANNEL.fullmatch(settings.channel_id):
        raise SettingsError(
            "channel id: 1 to 256 visible ASCII characters, as the app names it in createNotificationChannel"
        )


def check_host(settings: FcmSettings) -> None:
    if settings.host == HOST and (settings.port != PORT or settings.ca is not None):
        raise SettingsError("host: port and CA are of a simulator; give its host as well")
    if settings.host != HOST and settings.ca is None:
        raise SettingsError(
            "ca: another host than Google's is a simulator, which is trusted by its own CA alone; give that"
        )
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}|[0-9a-fA-F:.]{2,45}", settings.host):
        raise SettingsError(f"host: {settings.host!r} is not a name or an address, such as localhost")
