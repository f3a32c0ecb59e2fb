"""Changes the number of partitions, or spreads an app over them, while no worker runs: `carillon partitions`.

1. `NEXT` says from which layout to which, and the layout is closed: publishers wait, relays keep their rows.
2. The old streams are closed, so that nothing is added by a producer that knows only the old layout.
3. All that the old partitions have is copied to the new ones. They are emptied first, so this may be done again.
4. Postgres gets the new cursors, and the new names of the entries of recorded messages.
5. The new layout is written: from here on it is in force.
6. What the old partitions have is deleted, and then `NEXT`.

After a kill the same command goes on. Up to 5 nothing of the old partitions has changed but that their streams are closed; from 5
on nobody reads them.
"""

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import structs

from producers.partitions import Layout, encoded, parsed, tags
from worker.core.errors import WorkerError
from worker.database import kept_layout
from worker.database import repartition as rows
from worker.database.postgres import transaction
from worker.process.by_hand import by_hand
from worker.process.runtime import Runtime
from worker.reports import signs
from worker.state import keys, repartition
from worker.state.open_in_channels import open_in_channels
from worker.state.partition import Keyspace
from worker.state.redis import Redis
from worker.state.repartition import Copied, Copy

#: Seconds for which a worker's sign of life counts.
ALIVE: Final = 15.0


class RepartitionError(WorkerError):
    """The partitions cannot be changed now; the text says why. Nothing was changed."""


class Changed(NamedTuple):
    """What was done. `copied`: None where nothing was to do, or a call before had copied, and only what is old was deleted."""

    before: Layout
    after: Layout
    copied: Copied | None
    #: Seconds for which publishers waited in this call.
    closed: float


def of_any_number(runtime: Runtime) -> Runtime:
    """The same, but CARILLON_PARTITIONS, or Postgres, may have another layout than Redis: one to come, or one of before."""
    other = Runtime(runtime.settings.model_copy(update={"partitions": None}), runtime.urls)
    other.compares = False
    vars(other).update(redis=runtime.redis, pool=runtime.pool)
    return other


def in_force(redis: Redis) -> Layout:
    """The layout as it stands there now."""
    value: Any = redis.get(keys.LAYOUT())
    return parsed(value)


def under_way(redis: Redis) -> tuple[Layout, Layout] | None:
    """From which layout to which a change has begun and not ended."""
    found: Any = redis.get(keys.NEXT_LAYOUT())
    if found is None:
        return None
    before, after = found.split(b"\n")
    return parsed(before), parsed(after)


def alive(runtime: Runtime) -> list[str]:
    """Workers that gave a sign of life just now."""
    return [one.name for one in signs.read(runtime.fleet) if one.age < ALIVE]


def change(runtime: Runtime, partitions: int, tell: Callable[[str], None] = lambda _: None) -> Changed:
    """Changes the number, or finishes a change that was interrupted. Raises `RepartitionError`."""

    def planned(now: Layout, kept: Layout) -> Layout:
        lost = now.generation <= kept.generation and now.tags != kept.tags
        if now.partitions == partitions and not lost:
            have = "is one partition" if partitions == 1 else f"are {partitions} partitions"
            raise RepartitionError(f"there {have} already")
        if now.spread:
            first = ", ".join(f"`carillon partitions gather {app}`" for app in sorted(now.spread))
            raise RepartitionError(f"spread apps are gathered first, and spread again afterwards: {first}")
        following = max(now.generation, kept.generation) + 1
        return Layout(following, tags(partitions, following))

    return _change(runtime, f"set {partitions}", planned, tell)


def spread(runtime: Runtime, app: str, tell: Callable[[str], None] = lambda _: None, *, force: bool = False) -> Changed:
    """Spreads the app's channels over the partitions, or finishes that. Raises `RepartitionError`.

    `force`: also where later messages of a channel may overtake earlier ones.
    """

    def planned(now: Layout, kept: Layout) -> Layout:
        if app not in runtime.registry.apps():
            raise RepartitionError(f"there is no app {app!r}")
        if now.partitions == 1:
            raise RepartitionError("there is one partition: `carillon partitions set` makes more")
        return _marked(now, kept, now.spread | {app})

    def refuse(now: Layout, redis: Redis) -> None:
        if not force:
            _refuse_open(app, Keyspace(redis, lambda _: now))

    return _change(runtime, f"spread {app}", planned, tell, refuse)


def gather(runtime: Runtime, app: str, tell: Callable[[str], None] = lambda _: None) -> Changed:
    """Brings a spread app home, or finishes that. Raises `RepartitionError`."""
    return _change(runtime, f"gather {app}", lambda now, kept: _marked(now, kept, now.spread - {app}), tell)


def command_of(before: Layout, after: Layout) -> str:
    """What is behind `carillon partitions` for this change."""
    for app in after.spread - before.spread:
        return f"spread {app}"
    for app in before.spread - after.spread:
        return f"gather {app}"
    return f"set {after.partitions}"


def _marked(now: Layout, kept: Layout, apps: frozenset[str]) -> Layout:
    """The same partitions with tags of their own: who knows the layout of before is refused."""
    following = max(now.generation, kept.generation) + 1
    return now if apps == now.spread else Layout(following, tags(now.partitions, following), spread=apps)


def _change(
    runtime: Runtime,
    command: str,
    planned: Callable[[Layout, Layout], Layout],
    tell: Callable[[str], None],
    refuse: Callable[[Layout, Redis], None] = lambda *_: None,
) -> Changed:
    """`planned`: the layout to come, by those that Redis and Postgres have. `refuse`: before it begins, no worker runs."""
    runtime = of_any_number(runtime)
    redis = runtime.redis
    now, begun = in_force(redis), under_way(redis)
    if begun is not None and (first := command_of(*begun)) != command:
        raise RepartitionError(f"another change has begun: finish it first, with `carillon partitions {first}`")
    before, after = (now, planned(now, _kept(runtime))) if begun is None else begun
    if before == after:
        return Changed(before, after, None, 0.0)
    copied, closed = None, 0.0
    if now != after:
        _refuse_workers(runtime)
        _refuse_notes(before, redis)
        if begun is None:
            refuse(before, redis)
            with by_hand(runtime) as hand:
                hand.record("partitions changed", detail={"before": _for_audit(before), "after": _for_audit(after)})
            redis.set(keys.NEXT_LAYOUT(), encoded(before) + b"\n" + encoded(after))
        began = time.monotonic()
        copied = _replace(runtime, before, after, tell)
        closed = time.monotonic() - began
    repartition.forget(before, repartition.clients(redis))
    with transaction(runtime.pool) as db:
        kept_layout.keep(db, encoded(after))
        rows.forget_cursors(db, repartition.streams_of(before, ()))
    redis.delete(keys.NEXT_LAYOUT())
    return Changed(before, after, copied, closed)


def _kept(runtime: Runtime) -> Layout:
    """The layout that Postgres has."""
    with runtime.pool.connection() as db:
        return parsed(kept_layout.read(db))


def _for_audit(of: Layout) -> dict[str, Any]:
    """A layout for the audit."""
    return {"partitions": of.partitions} | ({"spread": sorted(of.spread)} if of.spread else {})


def _refuse_notes(before: Layout, redis: Redis) -> None:
    """What a channel's partition has still to tell a home, workers tell it within a second."""
    if not before.spread:
        return
    for of in Keyspace(redis, lambda _: before):
        if of.redis.exists(of.keys.HOMEWARD()):
            raise RepartitionError(
                f"partition {of.index} has something to tell the homes of spread apps: start workers again, and stop them some"
                " seconds later"
            )


def _refuse_open(app: str, keyspace: Keyspace) -> None:
    """What is taken stays in the app's home, and later messages of the same channels may be elsewhere."""
    found = open_in_channels(keyspace.of_app(app), app)
    if any(found):
        raise RepartitionError(
            f"messages of channels of {app!r} are taken, not delivered (to expand: {found.messages}, batches: {found.batches}):"
            " later ones may overtake them. Start workers again, publish nothing of the app until these are delivered, and stop"
            " the workers; or take that risk with --force"
        )


def _refuse_workers(runtime: Runtime) -> None:
    if running := alive(runtime):
        some = ", ".join(running[:5]) + (", …" if len(running) > 5 else "")
        raise RepartitionError(f"workers run: {some}. Stop them all; publishers may go on, they wait while it is done")


def _replace(runtime: Runtime, before: Layout, after: Layout, tell: Callable[[str], None]) -> Copied:
    redis, client_of = runtime.redis, repartition.clients(runtime.redis)
    redis.set(keys.LAYOUT(), encoded(structs.replace(before, closed=True)))
    for stream in repartition.streams_of(before, runtime.registry.apps()):
        repartition.close(client_of(stream), stream)
    repartition.close_rest(before, client_of)
    tell("publishers wait, the streams are closed")
    providers = {id: one.app for id, one in runtime.registry.providers().items()}
    copied = Copy(before, after, client_of, providers, tell).run()
    with transaction(runtime.pool) as db:
        rows.set_cursors(db, copied.cursors)
        rows.rename_entries(db, copied.renames)
    _refuse_workers(runtime)
    redis.set(keys.LAYOUT(), encoded(after))
    tell("the new layout is in force")
    return copied
