"""Which provider a registration is for."""

from collections.abc import Iterable, Mapping
from typing import Final

from producers.events import ActivityUpdated, Device
from worker.core.model import Provider
from worker.core.purposes import ALERT
from worker.core.refusal import Refused
from worker.providers.kinds import KINDS, kind_of, registration

#: The platform of a subscription that does not say.
BROWSER: Final = "web"


def platform_of(device: Device) -> str:
    """As it is stored; '' where nobody said."""
    return device.platform or (BROWSER if device.subscription is not None else "")


def choose_provider(device: Device, app: str, providers: Mapping[str, Provider]) -> Provider:
    """The provider that a registration names, or else the one of the app that serves the device. Raises `Refused`."""
    if device.provider is not None:
        named = providers.get(device.provider)
        if named is None:
            raise Refused(f"device.provider: app {app!r} has no provider {device.provider!r}; {_known(providers)}")
        _check_named(device, named)
        return named
    fitting = _fitting(device, providers.values())
    if len(fitting) > 1 and device.subscription is None:
        fitting = [one for one in fitting if _takes(one, device)] or fitting
    if len(fitting) == 1:
        return fitting[0]
    which = f" for {device.environment}" if device.environment else ""
    if device.purpose != ALERT:
        which += f" whose devices may be for {device.purpose}"
    if device.subscription is not None:
        which += " that take a subscription"
    elif device.platform is not None:
        which += f" for platform {device.platform}"
    among = {one.name: one for one in fitting} or providers
    text = f"device.provider: app {app!r} has {len(fitting)} providers{which}, name one; {_known(among)}"
    raise Refused(f"{text}; device.platform would tell them apart" if _platform_would_do(device, fitting) else text)


def choose_broadcaster(event: ActivityUpdated, providers: Mapping[str, Provider]) -> Provider:
    """The provider whose broadcast channel an update is for. Raises `Refused`."""
    fitting = {name: one for name, one in providers.items() if kind_of(one).broadcasts}
    if event.provider is not None:
        if event.provider not in fitting:
            raise Refused(f"provider: app {event.app!r} has no provider {event.provider!r} at APNs; {_known(fitting)}")
        return fitting[event.provider]
    if len(fitting) != 1:
        raise Refused(
            f"provider: app {event.app!r} has {len(fitting)} providers at APNs, name the one that has the channel;"
            f" {_known(fitting)}"
        )
    return next(iter(fitting.values()))


def _check_named(device: Device, named: Provider) -> None:
    kind, platform = kind_of(named), device.platform
    if device.purpose not in kind.purposes:
        raise Refused(
            f"device.purpose: devices of provider {named.name!r} are for {', '.join(sorted(kind.purposes))}, not {device.purpose}"
        )
    if device.environment not in (None, named.environment):
        raise Refused(
            f"device.environment: provider {named.name!r} is for {named.environment}, not {device.environment}"
        )
    if kind.subscriptions and device.subscription is None:
        raise Refused(
            f"device.subscription: provider {named.name!r} needs the browser's subscription, not a token alone"
        )
    if device.subscription is not None and not kind.subscriptions:
        raise Refused(f"device.subscription: provider {named.name!r} takes a token; give it as device.token")
    served = kind.platforms | kind.other_platforms
    if platform in _all_platforms() and served and platform not in served and not kind.subscriptions:
        raise Refused(f"device.platform: provider {named.name!r} is for {', '.join(sorted(served))}, not {platform}")


def _fitting(device: Device, providers: Iterable[Provider]) -> list[Provider]:
    """Those that serve the device: the ones made for its platform, or else those that serve it too, or any."""
    found = [
        one
        for one in providers
        if device.environment in (None, one.environment)
        and device.purpose in kind_of(one).purposes
        and kind_of(one).subscriptions == (device.subscription is not None)
    ]
    if device.subscription is None and device.platform in _all_platforms():
        made = [one for one in found if device.platform in kind_of(one).platforms]
        others = [one for one in found if device.platform in kind_of(one).other_platforms]
        return made or others or [one for one in found if not kind_of(one).platforms]
    if device.environment is not None:
        return [one for one in found if kind_of(one).environment(one) is not None] or found
    return found


def _takes(provider: Provider, device: Device) -> bool:
    """Whether the token has the form of the provider's kind."""
    try:
        registration(device, provider)
    except Refused:
        return False
    return True


def _platform_would_do(device: Device, fitting: Iterable[Provider]) -> bool:
    """Whether these providers are of kinds for different platforms, and the device did not say which it has."""
    made = [kind_of(one).platforms for one in fitting]
    return device.platform is None and len(made) > 1 and len(frozenset().union(*made)) == sum(map(len, made)) > 0


def _all_platforms() -> frozenset[str]:
    return frozenset().union(*(kind.platforms for kind in KINDS.values()))


def _known(providers: Mapping[str, Provider]) -> str:
    return f"known: {', '.join(sorted(providers))}" if providers else "none is configured"
