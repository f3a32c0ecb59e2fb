"""What an operator should do about an answer of FCM."""

from typing import Final

from worker.core.model import Answer, NoAnswer, Provider, Response
from worker.providers.fcm.answers import APPLE_REFUSED, DEVICE_QUOTA, PROJECT_QUOTA, code_of, detail_of
from worker.providers.fcm.outcome import ACCESS_TOKEN
from worker.providers.fcm.reasons import NOT_KNOWN_AS_APPLE, SEVERAL_DEVICES
from worker.providers.fcm.settings import FcmSettings

_STORE: Final = "store it with carillon push fcm"
_OF_APPLE: Final = (
    "Apple does not take the APNs key that project {project} has{detail}: upload the right one in the Firebase console,"
    " Project settings, Cloud Messaging; Android devices are not concerned"
)
_OF_QUOTA: Final = (
    "project {project} sends more than its quota (600,000 a minute by default): what waits goes out later; a higher quota"
    " is asked for in the Google Cloud console, IAM & Admin, Quotas"
)
_ADVICE: Final = {
    "UNREGISTERED": "the app was removed from the device, or its token was replaced; it registers again when it is opened",
    "SENDER_ID_MISMATCH": "the token belongs to another project than {project}: the app was built with another"
    " google-services.json, or the service account is of another project",
    APPLE_REFUSED: _OF_APPLE,
    NOT_KNOWN_AS_APPLE: _OF_APPLE,
    PROJECT_QUOTA: _OF_QUOTA,
    SEVERAL_DEVICES: _OF_QUOTA,
    DEVICE_QUOTA: "too many pushes to this one device (240 a minute, 5,000 an hour): wait",
    "SERVICE_DISABLED": "the Firebase Cloud Messaging API is off: enable it for project {project} in the Google Cloud"
    " console, APIs & Services",
    "IAM_PERMISSION_DENIED": "{email} may not send: give it the role Firebase Cloud Messaging API Admin in the Google Cloud"
    " console, IAM",
    "PERMISSION_DENIED": "{email} may not send for project {project}: check its role, and that the API is enabled, in the"
    " Google Cloud console",
    "ACCESS_TOKEN_EXPIRED": "the access token is called expired: set this machine's clock (NTP)",
    "UNAUTHENTICATED": "FCM does not take the access token: check that the key of {email} was not deleted; get another one"
    f" in the Firebase console, Project settings, Service accounts, and {_STORE}",
    "FAILED_PRECONDITION": "project {project} is not ready for FCM: look at it in the Firebase console",
    "INTERNAL": "FCM has a fault; try again later",
    "UNAVAILABLE": "FCM is busy; try again later",
}


def advice(response: Response, provider: Provider) -> str:
    """What to do about any response but a 200."""
    settings: FcmSettings = provider.settings
    place = f"{settings.host}:{settings.port}"
    if isinstance(response, NoAnswer):
        return _unanswered(response, place, settings)
    detail = detail_of(response.reason)
    text = _ADVICE.get(code_of(response.reason) or "") or _of_status(response, detail, place)
    said = f" ({detail})" if detail else ""
    return text.format(project=settings.account.project, email=settings.account.email, detail=said)


def _of_status(answer: Answer, detail: str, place: str) -> str:
    if answer.status == 400 and detail in ("message.token", "message.fid"):
        return "the token is no registration token of FCM, or was cut off: register the device again"
    if answer.status in (400, 411, 413):
        return f"FCM refuses the message{'{detail}'}: a fault of a template or of Carillon's"
    if answer.status == 404:
        return "FCM knows no project {project}: check that the service account is of the app's project"
    if answer.status in (408, 409, 499) or answer.status >= 500:
        return "FCM has a fault; try again later"
    return f"{place} gave an answer that Google does not document: is it FCM?"


def _unanswered(none: NoAnswer, place: str, settings: FcmSettings) -> str:
    if none.cause.startswith(ACCESS_TOKEN):
        return f"no access token came from {settings.token_url}: check the firewall, and CARILLON_FCM_PROXY"
    if none.cause.startswith("proxy:"):
        return "the proxy in CARILLON_FCM_PROXY opens no tunnel: check its address, user and password, and its rules"
    if none.cause == "connect: certificate not valid now":
        return (
            f"look at this machine's clock first (NTP). If it is right, the certificate that {place} shows has expired"
        )
    if none.cause == "connect: certificate not trusted":
        return f"{place} shows a certificate of a CA that is not trusted: for a simulator give its CA with --ca"
    return f"{place} cannot be reached or ended the connection: check the firewall"
