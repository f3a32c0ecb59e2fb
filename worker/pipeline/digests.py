"""Tells users what they missed in quiet time, once it is over: one notification each."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from worker.core.digest import TOO_OLD, Conversation, Digest, digest_of, message_key, spread_of
from worker.core.digest_payload import event_id
from worker.core.preferences import judge
from worker.core.privacy import NO_KEY
from worker.core.quiet import DAY, silence
from worker.core.rules import TOO_OLD as EXPIRED
from worker.facts.preferences import Key
from worker.pipeline.digest_rendering import Names, badge_sending, sendings
from worker.pipeline.due_users import MOST, DueUsers, Known
from worker.pipeline.plan import Plan
from worker.state import missed
from worker.state.journal import QueuedBatch
from worker.state.missed import DueBadge, DueDigest

# Reasons for no digest, beside those of a message.
READ: Final = "read"
UNWANTED: Final = "channel_muted"
ONLINE: Final = "online"
NO_DEVICE: Final = "no_device"
#: Modes of privacy in which nothing is named.
PRIVATE: Final = ("id", "sealed")


class Later(NamedTuple):
    """A digest is put off. Times in UNIX seconds."""

    due: float
    #: When the silence ends, or has ended.
    end: float
    #: Whether it is for the user's presence, which is out of the question the next time.
    looked: bool = False


class Digests(DueUsers[DueDigest | DueBadge]):
    """Digests, and the numbers on icons that change without one."""

    def _due(self, now: float) -> Sequence[DueDigest | DueBadge]:
        partition = self._sources.partition
        return [*missed.due_digests(partition, now, MOST), *missed.due_badges(partition, now, MOST)]

    def _write(
        self, records: Sequence[tuple[str, ...] | DueBadge], queued: Sequence[QueuedBatch], plan: Plan
    ) -> set[str]:
        badges = [one for one in records if isinstance(one, DueBadge)]
        digests = [one for one in records if not isinstance(one, DueBadge)]
        return self._journal.tell_missed(digests, badges, queued, plan.counts, plan.documents())

    def _decide(self, one: DueDigest | DueBadge, known: Known, plan: Plan, now: float) -> tuple[str, ...] | DueBadge:
        if isinstance(one, DueBadge):
            self._show(one, known, plan, now)
            return one
        found = self._digest(one, known, now)
        if isinstance(found, Later):
            return one.app, one.user, one.counted, repr(found.due), repr(found.end), "1" if found.looked else ""
        if one.app in known.apps:
            reason = found if isinstance(found, str) else self._send(one, found, known, plan, now)
            plan.counts[one.app][f"digests_skipped.{reason}" if reason else "digests"] += 1
            plan.decided(one.app, one.user, event_id(one.user, one.pending.end), reason)
        return one.app, one.user, one.counted, "", "", ""

    def _digest(self, one: DueDigest, known: Known, now: float) -> Digest | Later | str:
        """The digest, or when it is decided again, or the reason for none; '' of an app that is no more."""
        key, end = (one.app, one.user), one.pending.end
        app = known.apps.get(one.app)
        if app is None or not one.counted:
            return ""
        if refusal := known.refusal(*key):
            return refusal
        spread = spread_of(*key, app.attention.digest_spread)
        setting = known.quiet.get(key)
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
        return _missed(one, known, now)

    def _send(self, one: DueDigest, digest: Digest, known: Known, plan: Plan, now: float) -> str:
        """Returns the reason where it goes to no device, or ''."""
        # Whatever conversation it is asked of: the mode is of the user's row for everything.
        of_user = next((said.privacy for key in one.about if (said := known.said.get(key)) is not None), None)
        disclosed = self._disclosed(one, known, of_user)
        names, open_names = {}, {}
        for count in digest.channels:
            row = known.channels.get((one.app, count.channel))
            names[count.channel] = (row and row.now.name) or ""
            if row is None or row.now.privacy not in PRIVATE:
                open_names[count.channel] = names[count.channel]
        devices, templates = disclosed.devices[one.user], self._apps.templates_of(one.app)
        all_names, attention = Names(open_names, names), known.apps[one.app].attention
        for sending, some in sendings(
            one, digest, all_names, devices, disclosed.disclosures, templates, attention, now
        ):
            plan.add_jobs(one.app, "bulk", sending, some)
        return "" if devices else NO_KEY

    def _show(self, one: DueBadge, known: Known, plan: Plan, now: float) -> None:
        devices = known.devices_of(one.app, one.user)
        if one.app in known.apps and not known.refusal(one.app, one.user) and devices:
            plan.add_jobs(one.app, "bulk", badge_sending(one, now), devices)
            plan.counts[one.app]["badges_told"] += len(devices)
            plan.decided(one.app, one.user, f"badge:{one.user}:{int(one.due)}", "")


def _missed(one: DueDigest, known: Known, now: float) -> Digest | str:
    """The digest, or the reason for none."""
    conversations = one.pending.conversations
    read = {of.name: at for of in conversations if (at := known.read.get(_key(one, of))) is not None}
    where = {of.channel for of in conversations}
    deleted = {channel: {*map(message_key, known.deleted.get((one.app, channel), ()))} for channel in where}
    if not digest_of(one.pending, read, deleted, ()).messages:
        return READ
    unwanted = {of.name for of in conversations if _is_unwanted(one, of, known, now)}
    found = digest_of(one.pending, read, deleted, unwanted)
    if not found.messages:
        return UNWANTED
    return found if known.devices_of(one.app, one.user) else NO_DEVICE


def _is_unwanted(one: DueDigest, of: Conversation, known: Known, now: float) -> bool:
    """Whether the user left the channel or muted the conversation, or the channel's pushes are off."""
    row = known.channels.get((one.app, of.channel))
    if (one.app, of.channel, one.user) in known.removed or (row is not None and not row.now.push):
        return True
    said = known.said.get(_key(one, of))
    return said is not None and not judge(("mention", "message"), said.rows, now).on


def _key(one: DueDigest, of: Conversation) -> Key:
    return one.app, one.user, of.channel, of.thread
