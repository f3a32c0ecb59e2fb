"""Everything that a user got or missed since a time, also of one device only. Changes nothing."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from worker.database import lookups
from worker.database.lookups import Reached, Said
from worker.database.postgres import Connection, Pool
from worker.database.push_log import Choice, LedgerEntry, bounded, newest
from worker.reports.delivery_report import State, Tried, Via, delayed_in, device_line, published, state_of
from worker.reports.looking_up import of_entry, still_open, waiting_in
from worker.reports.reasons import MEMBERS, MESSAGES, WHOSE
from worker.reports.words import counted, instant
from worker.state.journal import Journal
from worker.state.partition import Keyspace

#: Messages that are listed.
LISTED: Final = 200
#: `delayed`: they are decided again. `nobody`: the message was skipped as a whole. `counted`: members of the channel were counted
#: without a look at each.
Decision = Literal["pushed", "skipped", "delayed", "nobody", "counted"]
#: Devices of a user that are looked up.
_DEVICES: Final = 100


class Happened(NamedTuple):
    """What one message was for the user. `at`: when that was decided, in UNIX seconds."""

    user: str
    event: str
    at: float
    decision: Decision
    reason: str = ""
    #: device id -> its tries, the last one at the end
    devices: Mapping[int, Sequence[Tried]] = {}
    said: Said | None = None
    #: Whose preference it was, where one decided.
    by: str = ""


@dataclass(frozen=True)
class History:
    """The messages of a user, the newest first. Times in UNIX seconds."""

    app: str
    since: float
    happened: Sequence[Happened]
    #: Whether there are older ones since that time.
    more: bool = False
    #: device id -> its provider, and event id -> device id -> when it is tried next
    vias: Mapping[int, Via] = field(default_factory=dict)
    following: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    #: Messages of the app that wait to be expanded: some may concern the user.
    unexpanded: int = 0


def of_user(
    keyspace: Keyspace,
    pool: Pool,
    app: str,
    users: Sequence[str],
    since: float,
    *,
    device: int | None = None,
    secrets: bool = True,
) -> History:
    """What these users, usually one, got or missed since then; with `device` only that one's share.

    Raises `TooMuchError` if the store cannot look through so much in time. `secrets` as of `look_up`.
    """
    with bounded(pool) as db:
        found = [one for user in users for one in _decided(db, app, user, since)]
        found.sort(key=lambda one: one.at, reverse=True)
        found, more = found[:LISTED], len(found) > LISTED
        known = lookups.said(db, [(app, one.event) for one in found])
        found = [one._replace(said=known.get((app, one.event))) for one in found]
        entries = {one.said.entry: one.event for one in found if one.said is not None and one.decision == "pushed"}
        of_partitions: defaultdict[int, list[str]] = defaultdict(list)
        for entry in entries:
            of_partitions[of_entry(keyspace, app, entry).index].append(entry)
        partitions = {index: keyspace.partitions[index] for index in of_partitions}
        still = {entry for index, some in of_partitions.items() for entry in still_open(partitions[index], some)}
        entries = {entry: event for entry, event in entries.items() if entry in still}
        found = [_of_device(one, device) for one in _with_outcomes(db, app, found, set(entries.values()))]
        ids = {id for one in found for id in one.devices}
        reached: Mapping[int, Reached] = (lookups.providers if secrets else lookups.providers_only)(db, [*ids])
        names = {id: name for id, (_, name, _) in lookups.provider_names(db).items()}
    held = waiting_in(keyspace.all_of(app), reached, entries)
    following = {event: {**held.cooldowns, **held.retries.get(entry, {})} for entry, event in entries.items()}
    unexpanded = sum(Journal(one, lease=0.0).load().get(app, (0, 0))[0] for one in keyspace.all_of(app))
    return History(app, since, found, more, held.vias, following, names, unexpanded)


def _decided(db: Connection, app: str, user: str, since: float) -> Iterator[Happened]:
    """What was decided about the user for each message, once."""
    needle = json.dumps(user, ensure_ascii=False)
    choice = Choice(datetime.fromtimestamp(since, UTC), None, app, None, "decisions", [needle], member=user)
    named: dict[str, Happened] = {}
    unnamed: dict[str, Happened] = {}
    for entry in newest(db, choice, None, 2 * LISTED):
        if (one := _decision(entry, user)) is not None:
            (unnamed if one.decision == "counted" else named).setdefault(one.event, one)
    # Of a channel's pages one may name the user, and another one only counts members.
    yield from (unnamed | named).values()


def _decision(entry: LedgerEntry, user: str) -> Happened | None:
    about, account = (user, entry.place.event, entry.moment), entry.account
    if user in account.get("pushed", ()):
        return Happened(*about, "pushed")
    for reason, users in account.get("skipped", {}).items():
        if user in users:
            return Happened(*about, "skipped", reason, by=account.get("by", {}).get(user, ""))
    if user in account.get("delayed", ()):
        return Happened(*about, "delayed", delayed_in(account)[user].words)
    if "message" in account:
        return Happened(*about, "nobody", str(account["message"]))
    if account.get("rest"):
        return Happened(*about, "counted", ", ".join(account["rest"]))
    return None


def _with_outcomes(db: Connection, app: str, found: Sequence[Happened], is_open: Collection[str]) -> Iterator[Happened]:
    """The same with the tries of the users' devices; of an event that is not done also with devices that have none yet."""
    users = sorted({one.user for one in found if one.decision == "pushed"})
    owned: dict[str, dict[int, float]] = {user: {} for user in users}
    for user, id, registered in lookups.devices(db, app, users, _DEVICES):
        owned[user][id] = registered
    tries = {
        user: _tries(db, app, user, [one.event for one in found if (one.user, one.decision) == (user, "pushed")])
        for user in users
    }
    for one in found:
        if one.decision != "pushed":
            yield one
            continue
        devices: dict[int, Sequence[Tried]] = {**tries[one.user].get(one.event, {})}
        if one.event in is_open or not devices:
            waiting = {id: () for id, registered in owned[one.user].items() if registered <= one.at}
            devices = {**waiting, **devices}
        yield one._replace(devices=devices)


def _tries(db: Connection, app: str, user: str, events: Sequence[str]) -> dict[str, dict[int, list[Tried]]]:
    """The tries of the user's devices by event, in the order of their time."""
    found: dict[str, dict[int, list[Tried]]] = {}
    for event, _, at, account, provider, took in lookups.outcomes_of(
        db, app, events, json.dumps(user, ensure_ascii=False)
    ):
        for label, pairs in account.items():
            for device in (device for of, device in pairs if of == user):
                found.setdefault(event, {}).setdefault(device, []).append(Tried(label, at, provider, took))
    return found


def _of_device(one: Happened, device: int | None) -> Happened:
    if device is None or one.decision != "pushed":
        return one
    return one._replace(devices={id: tries for id, tries in one.devices.items() if id == device})


def states(one: Happened) -> dict[int, State]:
    """What became of it on each device."""
    return {id: state_of(tries) for id, tries in one.devices.items()}


def lines(history: History) -> Iterator[str]:
    """The history in words."""
    for one in history.happened:
        yield f"{instant(one.at)}  {one.event}{_where(one)}: {reason_of(one)}"
        for id in one.devices:
            yield f"  device {id}: {line_of(history, one, id)}"
    if history.more:
        yield f"These are the newest {LISTED}; there are more since {instant(history.since)}: name a shorter time"
    if history.unexpanded:
        yield f"{counted(history.unexpanded, 'message')} of the app wait to be expanded: some may be for them"


def _where(one: Happened) -> str:
    if one.said is None or not (one.said.channel or one.said.message):
        return ""
    return f" ({one.said.message} in {one.said.channel})"


def reason_of(one: Happened) -> str:
    """The decision in words."""
    if one.decision == "pushed":
        return "gets a push" if one.devices else "gets a push, on other devices"
    if one.decision == "delayed":
        return one.reason
    if one.decision == "nobody":
        return f"nobody got a push: {MESSAGES.get(one.reason, one.reason)} ({one.reason})"
    if one.decision == "counted":
        return f"one of those who were only counted, if a member then ({one.reason})"
    whose = f", by {WHOSE.get(one.by, one.by)}" if one.by else ""
    return f"no push: {MEMBERS.get(one.reason, one.reason)} ({one.reason}){whose}"


def line_of(history: History, one: Happened, device: int) -> str:
    """What became of it on a device, in words."""
    following = history.following.get(one.event, {}).get(device)
    return device_line(one.devices[device], history.vias.get(device), following)


def as_json(history: History) -> dict[str, Any]:
    """The history as one JSON object. Device ids are strings, times are RFC 3339."""
    return {
        "app": history.app,
        "since": instant(history.since),
        "events": [_event_json(history, one) for one in history.happened],
        "more": history.more,
        "unexpanded": history.unexpanded,
    }


def _event_json(history: History, one: Happened) -> dict[str, Any]:
    said = one.said
    return {
        "event": one.event,
        "user": one.user,
        "message": said and (said.message or None),
        "channel": said and (said.channel or None),
        "published": instant(published(said.entry)) if said is not None and said.entry else None,
        "taken": None if said is None else instant(said.at),
        "expanded": instant(one.at),
        "decision": one.decision,
        "reason": one.reason or None,
        "by": one.by or None,
        "devices": {
            str(id): {
                "state": state,
                "outcomes": [tried.outcome for tried in one.devices[id]],
                "at": instant(one.devices[id][-1].at) if one.devices[id] else None,
                "provider": history.names.get(one.devices[id][-1].provider) if one.devices[id] else None,
                "words": line_of(history, one, id),
            }
            for id, state in states(one).items()
        },
    }
