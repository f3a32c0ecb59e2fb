"""Tells users what they missed in quiet time, once it is over: one notification each. The tick calls it.

Whoever is due is decided again: it may be quiet again, they may have read everything, or be there now. Counts and notification
change in one step of the journal, so a crash neither loses a digest nor sends it twice.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from worker.core.batch import Lane
from worker.core.digest import TOO_OLD, Conversation, Digest, digest_of, message_key, spread_of
from worker.core.digest_payload import event_id
from worker.core.fleet import may_push_to
from worker.core.model import AppSettings, Device
from worker.core.places import NOW
from worker.core.preferences import judge
from worker.core.privacy import NO_KEY, strictest
from worker.core.quiet import DAY, Quiet, silence
from worker.core.rules import NOT_ALLOWED_HERE, PUSH_OFF
from worker.core.rules import TOO_OLD as EXPIRED
from worker.database.audience import Audience, UserKey
from worker.facts import changes, channels, members, preferences, quiet
from worker.facts.base import Sources
from worker.facts.channels import Channel, ChannelKey
from worker.facts.preferences import Key, Said
from worker.pipeline.apps import Apps
from worker.pipeline.digest_rendering import Names, badge_sending, sendings
from worker.pipeline.expansion.disclose import Asked, disclose
from worker.pipeline.plan import OriginsOf, Plan
from worker.state import keys, missed, presence
from worker.state.journal import Journal
from worker.state.missed import DueBadge, DueDigest
from worker.state.presence import Markers

#: Users who are decided together, and how often one tick does that: what is due beyond waits for the next one.
USERS: Final = 200
STEPS: Final = 10

# Reasons for no digest, beside those of a message.
READ: Final = "read"
UNWANTED: Final = "channel_muted"
ONLINE: Final = "online"
NO_DEVICE: Final = "no_device"
#: Modes of privacy in which nothing is named.
PRIVATE: Final = ("id", "sealed")

_NOBODY: Final[Mapping[str, int]] = {}


class Later(NamedTuple):
    """A digest is put off. Times in UNIX seconds."""

    due: float
    #: When the silence ends, or has ended.
    end: float
    #: Whether it is for the user's presence, which is out of the question the next time.
    looked: bool = False


class _Known(NamedTuple):
    """What is known of users whose digests are due."""

    apps: Mapping[str, AppSettings]
    settings: Mapping[UserKey, Quiet]
    present: Collection[UserKey]
    #: Up to when (milliseconds) users have read what: by app and the name of a conversation.
    read: Mapping[tuple[str, str], Mapping[str, int]]
    said: Mapping[Key, Said]
    removed: Collection[tuple[str, str, str]]
    channels: Mapping[ChannelKey, Channel]
    #: Keys of messages that were deleted.
    deleted: Mapping[ChannelKey, Collection[str]]
    devices: Mapping[str, Mapping[str, Sequence[Device]]]


class Digests:
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
        """Tells what is due by now. Returns how many batches are ready, by lane."""
        ready: Counter[Lane] = Counter()
        for _ in range(STEPS):
            now = self._now()
            digests = missed.due_digests(self._sources.redis, now, USERS)
            badges = missed.due_badges(self._sources.redis, now, USERS)
            if not digests and not badges:
                break
            ready += self._tell(digests, badges, now)
        return ready

    def _tell(self, digests: Sequence[DueDigest], badges: Sequence[DueBadge], now: float) -> Counter[Lane]:
        while digests or badges:
            plan = Plan(self._new_id, self._batch, self._origins, now)
            known = self._read(digests, badges)
            records = [self._take(one, known, plan, now) for one in digests]
            for badge in badges:
                self._show(badge, known, plan, now)
            queued = plan.queued()
            stale = self._journal.tell_missed(records, badges, queued, plan.counts, plan.documents())
            if not stale:
                return Counter(one.batch.lane for one in queued)
            digests = [one for one in digests if (one.app, one.user) not in stale]
            badges = [one for one in badges if (one.app, one.user) not in stale]
        return Counter()

    def _take(self, one: DueDigest, known: _Known, plan: Plan, now: float) -> tuple[str, ...]:
        """Plans what becomes of a digest. Returns its record for the journal."""
        decided = self._decide(one, known, now)
        if isinstance(decided, Later):
            later = repr(decided.due), repr(decided.end), "1" if decided.looked else ""
            return one.app, one.user, one.counted, *later
        if one.app in known.apps:
            reason = decided if isinstance(decided, str) else self._send(one, decided, known, plan, now)
            plan.counts[one.app][f"digests_skipped.{reason}" if reason else "digests"] += 1
            plan.decided(one.app, one.user, event_id(one.user, one.pending.end), reason)
        return one.app, one.user, one.counted, "", "", ""

    def _decide(self, one: DueDigest, known: _Known, now: float) -> Digest | Later | str:
        """The digest, or when it is decided again, or the reason for none; '' of an app that is no more."""
        key, end = (one.app, one.user), one.pending.end
        app = known.apps.get(one.app)
        if app is None or not one.counted:
            return ""
        if not app.push_enabled:
            return PUSH_OFF
        if not may_push_to(app, one.user):
            return NOT_ALLOWED_HERE
        spread = spread_of(*key, app.attention.digest_spread)
        setting = known.settings.get(key)
        if setting is not None and (quiet_now := silence(setting, now)) is not None:
            until = quiet_now.until
            return Later(now + DAY, end) if until is None else Later(until + spread, until)
        if end > now:  # the row was replaced: it has ended already
            return Later(now + spread, now)
        if now > end + TOO_OLD:
            return EXPIRED
        if key in known.present and not one.pending.looked:
            delay = app.attention.online_delay
            return ONLINE if delay is None else Later(now + delay, end, looked=True)
        return self._missed(one, known, now)

    def _missed(self, one: DueDigest, known: _Known, now: float) -> Digest | str:
        marks = {of.name: known.read.get((one.app, of.name), _NOBODY) for of in one.pending.conversations}
        read = {name: of_users[one.user] for name, of_users in marks.items() if one.user in of_users}
        deleted = {of.channel: known.deleted.get((one.app, of.channel), ()) for of in one.pending.conversations}
        all_of_it = digest_of(one.pending, read, deleted, ())
        if not all_of_it.messages:
            return READ
        unwanted = {of.name for of in one.pending.conversations if _is_unwanted(one, of, known, now)}
        found = digest_of(one.pending, read, deleted, unwanted)
        if not found.messages:
            return UNWANTED
        return found if known.devices.get(one.app, {}).get(one.user) else NO_DEVICE

    def _send(self, one: DueDigest, digest: Digest, known: _Known, plan: Plan, now: float) -> str:
        """Returns the reason where it goes to no device, or ''."""
        devices, rows = known.devices[one.app][one.user], known.channels
        attention = known.apps[one.app].attention
        of_user = next((said.privacy for key, said in known.said.items() if key[:2] == (one.app, one.user)), None)
        asked = Asked(strictest(attention.privacy, of_user), {})
        disclosed = disclose(asked, {one.user: devices}, self._apps.provider, sealed_only=attention.sealed_only)
        names, open_names = {}, {}
        for count in digest.channels:
            row = rows.get((one.app, count.channel))
            names[count.channel] = (row and row.now.name) or ""
            if row is None or row.now.privacy not in PRIVATE:
                open_names[count.channel] = names[count.channel]
        some_devices, templates = disclosed.devices[one.user], self._apps.templates_of(one.app)
        all_names = Names(open_names, names)
        made = sendings(one, digest, all_names, some_devices, disclosed.disclosures, templates, attention, now)
        for sending, some in made:
            plan.add_jobs(one.app, "bulk", sending, some)
        return "" if some_devices else NO_KEY

    def _show(self, one: DueBadge, known: _Known, plan: Plan, now: float) -> None:
        app, devices = known.apps.get(one.app), known.devices.get(one.app, {}).get(one.user, ())
        if app is not None and app.push_enabled and may_push_to(app, one.user) and devices:
            plan.add_jobs(one.app, "bulk", badge_sending(one, now), devices)
            plan.counts[one.app]["badges_told"] += len(devices)
            plan.decided(one.app, one.user, f"badge:{one.user}:{int(one.due)}", "")

    def _read(self, digests: Sequence[DueDigest], badges: Sequence[DueBadge]) -> _Known:
        pool, redis = self._sources
        names = {one.app for one in digests} | {one.app for one in badges}
        apps = {name: app for name in names if (app := self._apps.app(name)) is not None}
        digests = [one for one in digests if one.app in apps]
        users = {(one.app, one.user) for one in digests}
        there = [(one, of) for one in digests for of in one.pending.conversations]
        in_channels = {(one.app, of.channel, one.user) for one, of in there}
        where = {key[:2] for key in in_channels}
        markers: dict[tuple[str, str], set[str]] = {}
        for one, of in there:
            markers.setdefault((one.app, of.name), set()).add(one.user)
        keys_of = {key: _presence_key(apps[key[0]], key) for key in users if not apps[key[0]].push_to_online}
        values, read = presence.read(
            redis, keys_of.values(), [Markers(keys.READ(*key), list(some)) for key, some in markers.items()]
        )
        return _Known(
            apps,
            quiet.read(pool, {name: app.attention for name, app in apps.items()}, users),
            {key for key, name in keys_of.items() if name in values},
            dict(zip(markers, read, strict=True)),
            preferences.of_users(pool, {(one.app, one.user, of.channel, of.thread) for one, of in there}),
            members.removed(pool, in_channels),
            channels.read(pool, where, NOW),
            {key: {message_key(id) for id in ids} for key, ids in changes.deleted_in(pool, where).items()},
            self._audience.reachable(users | {(one.app, one.user) for one in badges if one.app in apps}),
        )


def _is_unwanted(one: DueDigest, of: Conversation, known: _Known, now: float) -> bool:
    """Whether the user left the channel or muted the conversation, or the channel's pushes are off."""
    row = known.channels.get((one.app, of.channel))
    if (one.app, of.channel, one.user) in known.removed or (row is not None and not row.now.push):
        return True
    said = known.said.get((one.app, one.user, of.channel, of.thread))
    return said is not None and not judge(("mention", "message"), said.rows, now).on


def _presence_key(app: AppSettings, key: UserKey) -> str:
    return (keys.ACTIVE if app.attention.present == "active" else keys.ONLINE)(*key)
