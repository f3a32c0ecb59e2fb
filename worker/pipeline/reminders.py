"""Reminds users of conversations that stay unread. The tick calls it.

Whoever is due is decided again: they may have read or answered it, left or muted it, it may be quiet, or they may be there. What
becomes of a reminder and its notification change in one step of the journal, so a crash neither loses one nor sends it twice.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.batch import SHOW, Lane, Sending
from worker.core.fleet import may_push_to
from worker.core.model import AppSettings, Device
from worker.core.names import clean_name
from worker.core.places import NOW
from worker.core.privacy import FULL, Disclosure, placeholder, sealable, strictest, with_inside
from worker.core.quiet import Quiet, silence
from worker.core.reminder import KIND, Next, Reminder, is_wanted, next_of, render
from worker.core.rules import NOT_ALLOWED_HERE, PUSH_OFF
from worker.database.audience import Audience, UserKey
from worker.facts import changes, channels, members, preferences, quiet, used
from worker.facts.base import Sources
from worker.facts.channels import Channel, ChannelKey
from worker.facts.preferences import Key, Said
from worker.pipeline.apps import Apps
from worker.pipeline.expansion.disclose import Asked, Disclosed, disclose
from worker.pipeline.plan import OriginsOf, Plan
from worker.state import keys, presence, reminders
from worker.state.journal import Journal
from worker.state.presence import Markers

#: Conversations that are decided together, and how often one tick does that: what is due beyond waits for the next one.
CONVERSATIONS: Final = 200
STEPS: Final = 10


class _Known(NamedTuple):
    """What is known of users whose reminders are due."""

    apps: Mapping[str, AppSettings]
    settings: Mapping[UserKey, Quiet]
    present: Collection[UserKey]
    #: By a reminder's name, up to when (milliseconds) the user has read the conversation.
    read: Mapping[str, int]
    said: Mapping[Key, Said]
    removed: Collection[tuple[str, str, str]]
    channels: Mapping[ChannelKey, Channel]
    deleted: Collection[tuple[str, str, str]]
    devices: Mapping[str, Mapping[str, Sequence[Device]]]


class Reminders:
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

    def tell_due(self) -> Counter[Lane]:
        """Reminds of what is due by now. Returns how many batches are ready, by lane."""
        ready: Counter[Lane] = Counter()
        for _ in range(STEPS):
            now = self._now()
            due = reminders.due(self._sources.redis, now, CONVERSATIONS)
            if not due:
                break
            ready += self._tell(due, now)
        return ready

    def _tell(self, due: Sequence[Reminder], now: float) -> Counter[Lane]:
        while due:
            plan, known = Plan(self._new_id, self._batch, self._origins, now), self._read(due)
            records = []
            for one in due:
                following = self._decide(one, known, now)
                self._plan(one, following, known, plan, now)
                records.append((one, following, known.read.get(one.name, 0)))
            queued = plan.queued()
            stale = self._journal.remind(records, queued, plan.counts, plan.documents())
            if not stale:
                return Counter(queued.batch.lane for queued in queued)
            due = [one for one in due if one.name not in stale]
        return Counter()

    def _decide(self, one: Reminder, known: _Known, now: float) -> Next:
        app = known.apps.get(one.app)
        if app is None:
            return Next()
        reason = self._refused(one, app, known, now)
        deleted = {message for of_app, channel, message in known.deleted if (of_app, channel) == (one.app, one.channel)}
        return Next(reason=reason) if reason else next_of(one, app, known.read.get(one.name, 0), deleted, now)

    def _refused(self, one: Reminder, app: AppSettings, known: _Known, now: float) -> str:
        """Why the user is reminded of nothing, whatever is unread; ''."""
        key, row = (one.app, one.user), known.channels.get((one.app, one.channel))
        said = known.said.get((one.app, one.user, one.channel, one.thread))
        setting = known.settings.get(key)
        for reason, applies in (
            (PUSH_OFF, not app.push_enabled),
            (NOT_ALLOWED_HERE, not may_push_to(app, one.user)),
            ("not_a_member", (one.app, one.channel, one.user) in known.removed),
            ("channel_push_off", row is not None and not row.now.push),
            (
                "switched_off",
                said is not None and not is_wanted(said.rows, app.attention.remind_triggers, now),
            ),
            ("quiet", setting is not None and silence(setting, now) is not None),
            ("online", key in known.present),
            ("no_device", not known.devices.get(one.app, {}).get(one.user)),
        ):
            if applies:
                return reason
        return "" if self._disclosed(one, known).devices.get(one.user) else "no_key"

    def _plan(self, one: Reminder, following: Next, known: _Known, plan: Plan, now: float) -> None:
        if following.unread:
            self._send(one, following, known, plan, now)
            plan.counts[one.app]["reminders"] += 1
        elif following.reason and one.app in known.apps:
            plan.counts[one.app][f"reminders_skipped.{following.reason}"] += 1
        else:
            return
        plan.decided(one.app, one.user, one.event_id, following.reason)

    def _send(self, one: Reminder, following: Next, known: _Known, plan: Plan, now: float) -> None:
        row, disclosed = known.channels.get((one.app, one.channel)), self._disclosed(one, known)
        name = clean_name((row and row.now.name) or "")
        attention, number = known.apps[one.app].attention, len(following.unread)
        groups: dict[tuple[str | None, Disclosure], list[Device]] = {}
        for device in disclosed.devices[one.user]:
            groups.setdefault((device.locale, disclosed.disclosures.get(device.id, FULL)), []).append(device)
        for (locale, disclosure), some in groups.items():
            rendered = render(one, following.unread, name, locale, disclosure.form)
            sending = Sending(
                entry="",
                event_id=one.event_id,
                prefix=rendered.prefix.decode(),
                suffix=rendered.suffix.decode(),
                expires_at=int(now) + (attention.remind_after or 0),
                collapse_id=following.unread[-1].collapse_id,
                badge=SHOW,
                kind=KIND,
                at=int(now),
                importance="messages",
            )
            if disclosure.form == "sealed":
                text = placeholder(attention.placeholder, locale, number)
                sending = with_inside(sending, sealable(rendered, text, disclosure), attention.pad)
            plan.add_jobs(one.app, "bulk", sending, some)

    def _disclosed(self, one: Reminder, known: _Known) -> Disclosed:
        """The devices that may get it, and how much of it each is shown."""
        said = known.said.get((one.app, one.user, one.channel, one.thread))
        row, attention = known.channels.get((one.app, one.channel)), known.apps[one.app].attention
        asked = Asked(strictest(attention.privacy, row and row.now.privacy, said and said.privacy), {})
        devices = {one.user: known.devices[one.app][one.user]}
        return disclose(asked, devices, self._apps.provider, sealed_only=attention.sealed_only)

    def _read(self, due: Sequence[Reminder]) -> _Known:
        pool, redis = self._sources
        apps = {name: app for name in {one.app for one in due} if (app := self._apps.app(name)) is not None}
        due = [one for one in due if one.app in apps]
        users = {(one.app, one.user) for one in due}
        in_channels = {(one.app, one.channel, one.user) for one in due}
        keys_of = {key: _presence_key(apps[key[0]], key) for key in users if not apps[key[0]].push_to_online}
        marked = [Markers(keys.READ(one.app, one.conversation), [one.user]) for one in due]
        values, read = presence.read(redis, keys_of.values(), marked)
        of_apps = used.read(pool, apps)
        messages = {
            (one.app, one.channel, message.message)
            for one in due
            if "changes" in of_apps.get(one.app, ())
            for message in one.messages
        }
        return _Known(
            apps,
            quiet.read(pool, {name: app.attention for name, app in apps.items()}, users),
            {key for key, name in keys_of.items() if name in values},
            {one.name: marks[one.user] for one, marks in zip(due, read, strict=True) if one.user in marks},
            preferences.of_users(pool, {(one.app, one.user, one.channel, one.thread) for one in due}),
            members.removed(pool, in_channels),
            channels.read(pool, {(one.app, one.channel) for one in due}, NOW),
            {key for key, change in changes.read(pool, messages).items() if change.deleted},
            self._audience.reachable(users),
        )


def _presence_key(app: AppSettings, key: UserKey) -> str:
    return (keys.ACTIVE if app.attention.present == "active" else keys.ONLINE)(*key)
