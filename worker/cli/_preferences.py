"""Preferences in words: what the rows of a user say, and which of them decided about a message."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from producers.events import MessageNew, online_key
from worker.core.keywords import called_by
from worker.core.model import AppSettings
from worker.core.places import NOW
from worker.core.preferences import Rows, Verdict, common_rows, judge, walk
from worker.core.triggers import Triggers, triggers
from worker.database.postgres import Pool
from worker.facts import channels, members, preferences, threads
from worker.facts.threads import ThreadKey
from worker.reports.reasons import WHOSE
from worker.reports.words import instant
from worker.state.redis import Redis


def decided(pool: Pool, app: str, user: str, channel: str, by: str, at: float) -> str:
    """Which row decided at a moment (UNIX seconds), in words. A row that was changed since is not quoted."""
    whose = WHOSE.get(by, by)
    if by not in ("member", "user"):
        return whose
    row = preferences.rows_of(pool, app, user, preferences.ROWS).get((channel if by == "member" else "", ""))
    if row is None or row.at / 1e6 > at:
        return f"{whose}, which was changed since"
    return f"{whose}, of {instant(row.at / 1e6)[:10]}: {row.words}"


class Explained(NamedTuple):
    """What a message would be for a user now, by their preferences alone."""

    #: Which triggers it has for them.
    triggers: Triggers
    rows: Rows
    verdict: Verdict


def explain(pool: Pool, redis: Redis, app: AppSettings, event: MessageNew, user: str, now: float) -> Explained:
    """`now` in UNIX seconds."""
    key, root = (event.app, event.channel.id), event.message.parent_id
    channel = channels.read(pool, [key], NOW).get(key)
    row = channel and channel.now
    said = preferences.of_users(pool, [(app.name, user, event.channel.id, root or "")])
    own = next(iter(said.values()), None)
    online = event.message.mentions.here and redis.exists(online_key(app.name, user))
    of_message = triggers(
        event,
        kind=event.channel.kind or (row and row.kind),
        thread=None if root is None or event.message.mentions_everyone else _thread(pool, event, root),
        online=[user] if online else [],
        keyword=called_by(event.message.text, {user: own.keywords}) if own else (),
        wide=_is_wide(pool, app, event),
    )
    rows = [*(own.rows if own else ()), *common_rows(row and row.level, app.attention.level, app.attention.triggers)]
    return Explained(of_message, rows, judge(of_message.of(user), rows, now))


def _thread(pool: Pool, event: MessageNew, root: str) -> set[str]:
    place = (event.app, event.channel.id, root)
    thread = threads.read(pool, [ThreadKey(*place, event.recipients is not None)])
    followers = preferences.first(pool, [place])
    return {*(user for one in thread.values() for user in one.people), *followers.get(place, ())}


def _is_wide(pool: Pool, app: AppSettings, event: MessageNew) -> bool:
    limit = app.attention.wide_mention_limit
    return limit is None or not members.are_more(pool, event.app, event.channel.id, limit)


def lines(explained: Explained, user: str, now: float) -> Iterator[str]:
    """The walk of each trigger, step by step."""
    of_user = explained.triggers.of(user)
    verdict = explained.verdict
    if not of_user:
        yield f"it is not for {user}: a reply in a thread that they are no part of"
        return
    for trigger in of_user:
        *steps, last = walk(trigger, explained.rows, now)
        assert last.answer is not None
        yield f"{trigger}: {'on' if last.answer.on else 'off'}, by {last.by}"
        for step in (*steps, last):
            yield f"  {step.by}: {step.said}"
    if verdict.on:
        yield f"{user} is notified, for {verdict.on[0]}, by {verdict.by}"
    else:
        yield f"{user} is not notified: {verdict.reason}, by {verdict.by}"


def as_json(explained: Explained, user: str, now: float) -> Mapping[str, object]:
    """The same as JSON types."""
    verdict = explained.verdict
    return {
        "triggers": {
            trigger: [{"by": step.by, "says": step.said} for step in walk(trigger, explained.rows, now)]
            for trigger in explained.triggers.of(user)
        },
        "on": list(verdict.on),
        "by": verdict.by,
        "reason": verdict.reason or None,
    }
