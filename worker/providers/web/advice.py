"""What to do about an answer of a push service, in words for whoever runs this."""

from typing import Final

from worker.core.model import NoAnswer, Provider, Response
from worker.providers.web.answers import DOMAIN_BLOCKED, KEY_MISMATCH
from worker.providers.web.outcome import FORBIDDEN_ADDRESS, FORBIDDEN_HOST
from worker.providers.web.render import SILENT, UNTRANSLATED

_SUBJECT: Final = (
    "the push service refuses who sends: check this machine's clock (NTP), then the subject {subject}, of which Apple wants"
    " mailto: and a public e-mail address, or an https URL: carillon push web --subject"
)
#: Stands for all causes of a proxy's.
_PROXY: Final = "proxy:"
_ADVICE: Final = {
    _PROXY: "the proxy in CARILLON_WEB_PROXY opens no tunnel: check its address, user and password, and its rules",
    "BadJwtToken": _SUBJECT,
    "BadAuthorization": _SUBJECT,
    "BadExpiration": "the push service calls the proof of sender too long: set this machine's clock (NTP)",
    KEY_MISMATCH: "the browser subscribed with another key than {public_key}: the page subscribes anew when it sees that,"
    " see docs/web-push.md",
    DOMAIN_BLOCKED: "Microsoft has blocked this sender for abuse: only Microsoft can undo that",
    "InvalidEndpoint": "the push service does not know the subscription at the moment; it is tried again",
    "PayloadTooLarge": "the browser takes less than Carillon knows: please report it",
    "status_401": _SUBJECT,
    "status_403": _SUBJECT,
    "status_404": "the subscription has ended; the page subscribes anew when it is opened",
    "status_410": "the subscription has ended; the page subscribes anew when it is opened",
    FORBIDDEN_HOST: "the subscription is at no known push service; if that is yours, put its host into CARILLON_WEB_HOSTS,"
    " for every process",
    FORBIDDEN_ADDRESS: "the push service's host has no public address here: check this machine's name server",
    "secret_unreadable": "the keys of the subscription cannot be read: give CARILLON_SECRET_KEYS the key that they were"
    " encrypted with",
    SILENT: "a browser ends the subscription of a page that shows nothing, so this is not sent",
    UNTRANSLATED: "a browser has no translations of an app, so give the text itself: title or body",
}


def advice(response: Response, provider: Provider) -> str:
    """What to do about anything that is no acceptance."""
    settings = provider.settings
    if isinstance(response, NoAnswer):
        of_proxy = response.cause.startswith("proxy:")
        text = _ADVICE.get(_PROXY if of_proxy else response.cause) or (
            "the push service cannot be reached or ended the connection: check the firewall, which has to let port 443 out"
        )
    else:
        text = (
            _ADVICE.get(response.reason or "")
            or _ADVICE.get(f"status_{response.status}")
            or "docs/web-push.md says what the answers of push services mean"
        )
    return text.format(subject=settings.subject, public_key=settings.public_key)
