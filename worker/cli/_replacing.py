"""What commands that store a provider check about the one that has its name already."""

from worker.cli._faults import refuse
from worker.core.model import Provider
from worker.process.runtime import Runtime
from worker.providers.base import Kind
from worker.providers.kinds import kind_of
from worker.reports.words import counted


def provider_before(runtime: Runtime, app: str, name: str, kind: Kind) -> Provider | None:
    """The provider that is replaced: the app's one of that name, unless it was removed.

    Refuses the name of one of another kind, also of a removed one that still has devices.
    """
    named = runtime.registry.named(app, name)
    if named is None:
        return None
    found = runtime.registry.providers().get(named.id)
    if named.kind != kind.name and (found is not None or runtime.registry.devices_of(named.id)):
        refuse(
            f"--name: {name!r} of app {app!r} is a {named.kind}; choose another name, or change it with:"
            f" carillon push {kind_of(named).words.command}"
        )
    return found


def check_purpose(runtime: Runtime, provider: Provider) -> None:
    """Refuses to replace one that is for something else: a token works there alone, so its devices would get nothing."""
    before = runtime.registry.named(provider.app, provider.name)
    if before is None or kind_of(provider).about(provider) == kind_of(before).about(before):
        return
    if devices := runtime.registry.devices_of(before.id):
        refuse(
            f"provider {provider.name!r} of app {provider.app!r} is for {kind_of(before).about(before)} and has"
            f" {counted(devices, 'device')} that would get no more pushes; give this one another name with --name"
        )
