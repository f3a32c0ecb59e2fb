"""What a person does, in a command or on the dashboard. Each act is in the audit log and the workers' log."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from worker.core.model import AppSettings, Provider, listed
from worker.database import delete_app
from worker.database.postgres import Connection, transaction
from worker.process.runtime import Runtime
from worker.providers import kinds
from worker.providers.kinds import kind_of
from worker.reports import acts
from worker.reports.acts import Act, By, Name


class Hand:
    """One transaction of a person's. `runtime` is that of the process, but its stores work within the transaction."""

    def __init__(self, db: Connection, runtime: Runtime, by: By | None) -> None:
        self.runtime = runtime
        self.acts: list[Act] = []
        self._db, self._by = db, by

    def record(
        self,
        name: Name,
        *,
        app: str | None = None,
        provider: str | None = None,
        target: str | None = None,
        detail: Mapping[str, Any] | None = None,
        note: str | None = None,
    ) -> None:
        """Adds the act to the audit log. It is about a provider, or another target, or neither.

        `detail` is what JSON can hold. Record before a change in Redis, so that the one is not done without the other.
        """
        act = acts.made(name, by=self._by, app=app, provider=provider, target=target, detail=detail, note=note)
        acts.record(self._db, act)
        self.acts.append(act)

    def store_provider(self, provider: Provider) -> Provider:
        """Creates or replaces the app's provider of that name."""
        every = self.runtime.registry.providers().values()
        before = next((one for one in every if (one.app, one.name) == (provider.app, provider.name)), None)
        saved = self.runtime.registry.save_provider(provider)
        self.record("provider stored", app=provider.app, provider=provider.name, detail=_stored(before, saved))
        return saved

    def create_app(self, app: AppSettings) -> bool:
        """False if the name is taken; then nothing changes."""
        made = self.runtime.registry.create_app(app)
        if made:
            self.record("app created", app=app.name, detail=changes({}, _differing(AppSettings(app.name), app)))
        return made

    def delete_app(self, app: str) -> None:
        """Deletes an app's settings, providers and templates: from now on no worker knows it."""
        providers = delete_app.delete_settings(self._db, app)
        self.record("app deleted", app=app, detail={"providers": providers})

    def change_app(self, before: AppSettings, after: AppSettings) -> None:
        """Changes an app's settings."""
        self.runtime.registry.save_app(after)
        old, new = _differing(after, before), _differing(before, after)
        self.record("app changed", app=after.name, detail=changes(old, new))


@contextmanager
def by_hand(runtime: Runtime, by: By | None = None) -> Iterator[Hand]:
    """A transaction for what a person does: `by`, or whoever runs this process. It ends well, or nothing in Postgres changes."""
    with transaction(runtime.pool) as db:
        hand = Hand(db, runtime.within(db), by)
        yield hand
    for act in hand.acts:
        acts.tell(runtime.fleet, act)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The detail of an act that changed values: those that differ, as they were and as they are."""
    names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    sides = {"before": before, "after": after}
    return {side: {n: values.get(n) for n in names} for side, values in sides.items() if values and names}


def _differing(one: AppSettings, other: AppSettings) -> dict[str, Any]:
    """The settings of `other` that are not as in `one`."""
    before = listed(one)
    return {name: value for name, value in listed(other).items() if value != before[name]}


def _stored(before: Provider | None, after: Provider) -> dict[str, Any]:
    """What a person may read of it. Of what is secret, or only the kind understands, the names of what changed."""
    shown = kind_of(after).describe(after)
    if before is None:
        return {"after": {name: value for name, value in shown.items() if value is not None}}
    new = kinds.store(after.settings)
    changed = ["credential"]
    if before.readable:
        old = kinds.store(before.settings)
        changed = [name for name in new.fields if old.fields.get(name) != new.fields[name]]
        changed += ["credential"] * ((old.credential, old.password) != (new.credential, new.password))
    return changes(kind_of(before).describe(before), shown) | {"changed": changed}
