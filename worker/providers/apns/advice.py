"""What an operator should do about an answer of APNs."""

from typing import Final

from worker.core.model import NoAnswer, Provider, Response
from worker.providers.apns.settings import ApnsSettings, Key, host_for
from worker.sender.causes import CERTIFICATE_ALERTS

_STORE: Final = "store it again with carillon push apn"
_ADVICE: Final = {
    "BadDeviceToken": "the token is no token of {environment}: the app was built for the other environment, or the token"
    " is cut off; register the device with a provider of the right environment",
    "DeviceTokenNotForTopic": "the token belongs to another app than {topic}: check the provider's bundle id",
    "Unregistered": "the app was removed from the device, or pushes were forbidden; it registers again when it is opened",
    "ExpiredToken": "the token has expired; the app gets another one when it is opened",
    "InvalidProviderToken": "look at this machine's clock first (NTP): a token from a clock that is ahead of Apple's is"
    " answered so. If the clock is right, Apple does not know this key: check that key id {key_id} and team id {team_id}"
    f" belong to it, and that it was not revoked at developer.apple.com, Keys; {_STORE}",
    "ExpiredProviderToken": "the provider token is called expired: set this machine's clock (NTP)",
    "BadEnvironmentKeyInToken": "the key is not for {environment}: at developer.apple.com, Keys, look which environment it"
    f" is for, and store one for {{environment}}: {_STORE}",
    "BadEnvironmentKeyIdInToken": "the key is not for {environment}; store one that is: carillon push apn",
    "TopicDisallowed": "the key or certificate may not push to {topic}: check the bundle id, and the key's topics",
    "BadTopic": "{topic} is no topic: check the bundle id",
    "MissingTopic": "no topic arrived: check the bundle id",
    "BadCertificate": "the certificate was revoked or is of the wrong kind; make another one at developer.apple.com",
    "BadCertificateEnvironment": "the certificate is not for {environment}; make one that is for both",
    "TooManyProviderTokenUpdates": "provider tokens were renewed too often; wait 20 minutes, and look for another system"
    " that signs with this key",
    "TooManyRequests": "too many pushes to this one device; wait",
    "PayloadTooLarge": "a fault of Carillon's: please report it",
    "FeatureNotEnabled": "{topic} has no capability for broadcast channels: switch it on at developer.apple.com, Identifiers, the"
    " app's Push Notifications, Broadcast Capability",
    "TopicMismatch": "the key or certificate may not be used for the broadcast channels of {topic}: check the bundle id, and the"
    " key's topics",
    "CannotCreateChannelConfig": "{topic} has as many broadcast channels as Apple allows in {environment}; delete what is not"
    " used any more: carillon broadcast delete",
    "ChannelNotRegistered": "{topic} has no such broadcast channel in {environment}; see: carillon broadcast list",
    "BadChannelId": "this is no id of a broadcast channel; see: carillon broadcast list",
    "InternalServerError": "Apple has a fault; try again later",
    "ServiceUnavailable": "Apple is busy; try again later",
}


def advice(response: Response, provider: Provider) -> str:
    """What to do about any response but a 200."""
    reason = response.cause if isinstance(response, NoAnswer) else response.reason or ""
    settings: ApnsSettings = provider.settings
    if text := _ADVICE.get(reason):
        key = settings.credential if isinstance(settings.credential, Key) else Key("", "")
        return text.format(
            environment=provider.environment, topic=settings.topic, key_id=key.key_id, team_id=key.team_id
        )
    place = f"{host_for(provider)}:{settings.port}"
    if isinstance(response, NoAnswer) and reason.startswith("proxy:"):
        return "the proxy in CARILLON_APNS_PROXY opens no tunnel: check its address, user and password, and its rules"
    if isinstance(response, NoAnswer) and reason in CERTIFICATE_ALERTS:
        return f"{place} refuses the certificate, or wants one: make another one at developer.apple.com, and {_STORE}"
    if isinstance(response, NoAnswer) and reason == "connect: certificate not valid now":
        return (
            f"look at this machine's clock first (NTP). If it is right, the certificate that {place} shows has expired"
        )
    if isinstance(response, NoAnswer) and reason == "connect: certificate not trusted":
        return f"{place} shows a certificate of a CA that is not trusted: for a host of your own give its CA with --ca"
    if isinstance(response, NoAnswer):
        return (
            f"{place} cannot be reached or ended the connection: check the firewall, or try --port 2197; for a host of"
            " your own its address and --ca"
        )
    return f"{place} gave an answer that Apple does not document: is it Apple's?"
