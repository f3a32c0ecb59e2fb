"""Reminds users of conversations that stay unread."""

from collections.abc import Sequence

from worker.core.batch import SHOW, Sending
from worker.core.model import AppSettings, Device
from worker.core.names import clean_name
from worker.core.privacy import FULL, Disclosure, placeholder, sealable, with_inside
from worker.core.quiet import silence
from worker.core.reminder import KIND, Next, Reminder, is_wanted, next_of, render
from worker.pipeline.due_users import MOST, DueUsers, Known
from worker.pipeline.expansion.disclose import Disclosed
from worker.pipeline.plan import Plan
from worker.state import reminders
from worker.state.journal import QueuedBatch


class Reminders(DueUsers[Reminder]):
    def _due(self, now: float) -> Sequence[Reminder]:
        return reminders.due(self._sources.partition, now, MOST)

    def _write(
        self, records: Sequence[tuple[Reminder, Next, int]], queued: Sequence[QueuedBatch], plan: Plan
    ) -> set[str]:
        return self._journal.remind(records, queued, plan.counts, plan.documents())

    def _decide(self, one: Reminder, known: Known, plan: Plan, now: float) -> tuple[Reminder, Next, int]:
        app, read = known.apps.get(one.app), known.read.get(one.key, 0)
        if app is None:
            return one, Next(), read
        if reason := self._refused(one, app, known, now):
            following = Next(reason=reason)
        else:
            following = next_of(one, app, read, known.deleted.get((one.app, one.channel), ()), now)
        if following.unread:
            self._send(one, following, known, plan, now)
            plan.counts[one.app]["reminders"] += 1
        elif following.reason:
            plan.counts[one.app][f"reminders_skipped.{following.reason}"] += 1
        if following.unread or following.reason:
            plan.decided(one.app, one.user, one.event_id, following.reason)
        return one, following, read

    def _refused(self, one: Reminder, app: AppSettings, known: Known, now: float) -> str:
        """Why the user is reminded of nothing, whatever is unread; ''."""
        key, row = (one.app, one.user), known.channels.get((one.app, one.channel))
        said, setting = known.said.get(one.key), known.quiet.get(key)
        if refusal := known.refusal(*key):
            return refusal
        for reason, applies in (
            ("not_a_member", (one.app, one.channel, one.user) in known.removed),
            ("channel_push_off", row is not None and not row.now.push),
            ("switched_off", said is not None and not is_wanted(said.rows, app.attention.remind_triggers, now)),
            ("quiet", setting is not None and silence(setting, now) is not None),
            ("online", key in known.present),
            ("no_device", not known.devices_of(*key)),
        ):
            if applies:
                return reason
        return "" if self._shown(one, known).devices[one.user] else "no_key"

    def _send(self, one: Reminder, following: Next, known: Known, plan: Plan, now: float) -> None:
        row, disclosed = known.channels.get((one.app, one.channel)), self._shown(one, known)
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

    def _shown(self, one: Reminder, known: Known) -> Disclosed:
        """The devices that may get it, and how much of it each is shown."""
        row, said = known.channels.get((one.app, one.channel)), known.said.get(one.key)
        return self._disclosed(one, known, row and row.now.privacy, said and said.privacy)
