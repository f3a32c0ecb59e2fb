"""Users whose time to hear of something has come: digests and reminders. The tick calls it.

Whoever is due is decided again. What becomes of it and its notification change in one step of the journal, so a crash neither
loses one nor sends it twice.
"""

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from producers.fields import Privacy
from worker.core.batch import Lane
from worker.core.fleet import may_push_to
from worker.core.model import AppSettings, Device
from worker.core.places import NOW
from worker.core.privacy import strictest
from worker.core.quiet import Quiet
from worker.core.rules import NOT_ALLOWED_HERE, PUSH_OFF
from worker.database import postgres
from worker.database.audience import Audience, UserKey
from worker.facts import changes, channels, members, preferences, quiet, used
from worker.facts.base import Sources
from worker.facts.channels import Channel, ChannelKey
from worker.facts.preferences import Key, Said
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.disclose import Asked, Disclosed, disclose
from worker.pipeline.plan import OriginsOf, Plan
from worker.state import keys, presence, redis
from worker.state.journal import Journal, QueuedBatch
from worker.state.presence import Markers

log = logging.getLogger(__name__)

#: How many are decided together, and how often one tick does that: what is due beyond waits for the next one.
MOST: Final = 200
STEPS: Final = 10
#: Seconds after which what failed is tried again.
AGAIN: Final = 600.0

_PRESENT: Final = {"online": keys.ONLINE, "active": keys.ACTIVE}


class Due(Protocol):
    @property
    def app(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def name(self) -> str:
        """What the journal calls it."""

    @property
    def about(self) -> Collection[Key]:
        """The conversations that it is about."""


_Due = TypeVar("_Due", bound=Due)


class Known(NamedTuple):
    """What is so now of users who are due. An app that is no more is missing."""

    apps: Mapping[str, AppSettings]
    quiet: Mapping[UserKey, Quiet]
    present: Collection[UserKey]
    #: Up to when (milliseconds) users have read conversations.
    read: Mapping[Key, int]
    said: Mapping[Key, Said]
    #: App, channel and user.
    removed: Collection[tuple[str, str, str]]
    channels: Mapping[ChannelKey, Channel]
    #: Ids of messages.
    deleted: Mapping[ChannelKey, Collection[str]]
    devices: Mapping[str, Mapping[str, Sequence[Device]]]

    def refusal(self, app: str, user: str) -> str:
        """Why nobody of the app, or not this user, is pushed to at all, or ''."""
        settings = self.apps[app]
        if not settings.push_enabled:
            return PUSH_OFF
        return "" if may_push_to(settings, user) else NOT_ALLOWED_HERE

    def devices_of(self, app: str, user: str) -> Sequence[Device]:
        return self.devices.get(app, {}).get(user, ())


class DueUsers(Generic[_Due]):
    """`now` gives UNIX seconds, `new_id` a batch id that was never given before, `batch` is the most jobs of one."""

    def __init__(
        self,
        sources: Sources,
        journal: Journal,
        apps: Apps,
        origins: Callable[[int, str], OriginsOf | None],
        *,
        batch: int,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._sources, self._journal, self._apps, self._origins = sources, journal, apps, origins
        self._batch, self._now, self._new_id = batch, now, new_id
        self._audience = Audience(sources.pool)
        #: Name of what failed -> when it is tried again.
        self._put_off: dict[str, float] = {}

    @abstractmethod
    def _due(self, now: float) -> Sequence[_Due]:
        """What is due, at most `MOST`, the oldest first."""

    @abstractmethod
    def _decide(self, one: _Due, known: Known, plan: Plan, now: float) -> Any:
        """Plans what becomes of it. Returns its record for `_write`."""

    @abstractmethod
    def _write(self, records: Sequence[Any], queued: Sequence[QueuedBatch], plan: Plan) -> Collection[str]:
        """Writes all of it, or nothing. Returns the names of those with which another worker was first."""

    def tell_due(self) -> Counter[Lane]:
        """Tells what is due by now. Returns how many batches are ready, by lane."""
        ready: Counter[Lane] = Counter()
        for _ in range(STEPS):
            now = self._now()
            self._put_off = {name: until for name, until in self._put_off.items() if until > now}
            due = [one for one in self._due(now) if one.name not in self._put_off]
            if not due:
                break
            ready += self._tell_by_halves(due, now)
        return ready

    def _tell_by_halves(self, due: Sequence[_Due], now: float) -> Counter[Lane]:
        """A user with whom it fails is found by halves, and put off: the others hear of theirs."""
        try:
            return self._tell(due, now)
        except (postgres.Unavailable, *redis.Unavailable):
            raise
        except Exception as fault:  # noqa: BLE001 - whatever the bug is, it stays with its user
            if len(due) > 1:
                middle = len(due) // 2
                return self._tell_by_halves(due[:middle], now) + self._tell_by_halves(due[middle:], now)
            [one] = due
            self._put_off[one.name] = now + AGAIN
            about = {"app": one.app, "user": one.user, "fault": type(fault).__name__}
            log.error("a digest or reminder failed; it is tried again in ten minutes", extra=about)
            return Counter()

    def _tell(self, due: Sequence[_Due], now: float) -> Counter[Lane]:
        while due:
            plan, known = Plan(self._new_id, self._batch, self._origins, now), self._read(due)
            records = [self._decide(one, known, plan, now) for one in due]
            queued = plan.queued()
            stale = self._write(records, queued, plan)
            if not stale:
                return Counter(one.batch.lane for one in queued)
            due = [one for one in due if one.name not in stale]
        return Counter()

    def _disclosed(self, one: _Due, known: Known, *asked: Privacy | None) -> Disclosed:
        """The devices that may hear of it, and how much each is shown. `asked`: modes beside those of the app and the devices."""
        attention = known.apps[one.app].attention
        devices = {one.user: known.devices_of(one.app, one.user)}
        of_all = Asked(strictest(attention.privacy, *asked), {})
        return disclose(of_all, devices, self._apps.provider, sealed_only=attention.sealed_only)

    def _read(self, due: Sequence[_Due]) -> Known:
        pool, partition = self._sources
        apps = {name: settings for name in {one.app for one in due} if (settings := self._apps.app(name)) is not None}
        due = [one for one in due if one.app in apps]
        users = {(one.app, one.user) for one in due}
        about = {key for one in due for key in one.about}
        where = {(app, channel) for app, _, channel, _ in about}
        readers: dict[tuple[str, str, str], list[str]] = {}
        for app, user, channel, thread in about:
            readers.setdefault((app, channel, thread), []).append(user)
        of_keys = {
            _PRESENT[apps[app].attention.present](app, user): (app, user)
            for app, user in users
            if not apps[app].push_to_online
        }
        markers = [
            Markers(presence.marker(app, channel, thread), some) for (app, channel, thread), some in readers.items()
        ]
        values, read = presence.read(partition.any_slot, of_keys, markers)
        of_apps = used.read(pool, apps)
        changed = {(app, channel) for app, channel in where if "changes" in of_apps.get(app, ())}
        return Known(
            apps,
            quiet.read(pool, {name: app.attention for name, app in apps.items()}, users),
            {of_keys[name] for name in values},
            {
                (app, user, channel, thread): at
                for (app, channel, thread), marks in zip(readers, read, strict=True)
                for user, at in marks.items()
            },
            preferences.of_users(pool, about),
            members.removed(pool, {(app, channel, user) for app, user, channel, _ in about}),
            channels.read(pool, where, NOW),
            changes.deleted_in(pool, changed),
            self._audience.reachable(users),
        )
