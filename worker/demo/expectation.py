"""The delivery rules, read a second time: for every message who must get it, on which devices, and why nobody else does.

Written from the rules' text, as plainly as it goes and without a line of the code under test. A message nobody gets:

    skip_push          it says so itself
    too_old            it is older than the app's maximum age
    deleted            it was taken back
    unknown_channel    nobody ever said who is in its channel, and neither does the message
    channel_push_off   its channel has pushes switched off

Otherwise everybody who is named below is looked at, once, in this order: who is mentioned, who is in a group that it calls, who
takes part in the thread, the channel's members; the latter two by the bytes of their ids. A user who is not skipped gets a push.
The first that applies:

    sender             wrote it
    not_a_member       is not in the channel
    not_in_thread      it is a reply, and the user neither takes part in the thread nor is called by it
    muted_sender       has muted its sender
    channel_muted      wants nothing of this channel
    level_none         wants nothing, or nobody does who has not chosen
    mentions_only      wants only to be called, or less
    switched_off       wants none of what it is for them
    read               has read it on another device
    quiet              it is their quiet time, and nothing of it comes through
    viewing            has the channel open
    no_device          has no device
    over_member_cap    not called with their name or with everybody, and as many others as the app allows have it already

Who is at a desktop is looked at half a minute later. Nothing of the above changes for them by then.

Of a channel with more than a thousand members a further thousand is looked at only while there is still somebody to be found:
not in a thread, whose people came first, and not once the cap is reached. The others are counted with that reason.

Whom an edit names is looked at as for a message that mentions them, and nobody else is.

A message is shown by devices of each kind. A silent push to some users goes to all of their devices but their browsers:

    no_silent_push     a browser ends the subscription of a page that shows nothing
"""

from collections import Counter
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from worker.demo.world import PAGE, Choice, Device, Edit, Line, Sync, World


class Reading(NamedTuple):
    """What must become of one message."""

    line: Line
    #: Why nobody gets it.
    whole: str | None
    #: User -> all of the user's devices, for those who get a push.
    notified: dict[str, list[Device]]
    #: Reason -> how many are skipped for it.
    skipped: Counter[str]

    @property
    def considered(self) -> int:
        return len(self.notified) + sum(self.skipped.values())


class EditReading(NamedTuple):
    """What must become of one edit."""

    edit: Edit
    devices: list[Device]
    #: Why whom it names gets no push.
    skipped: str | None


class SilentReading(NamedTuple):
    """What must become of one silent push."""

    sync: Sync
    devices: list[Device]
    #: Browsers, which get none.
    withheld: list[Device]


def read_silent(world: World) -> list[SilentReading]:
    """A reading of each of the world's silent pushes."""
    readings = []
    for sync in world.syncs:
        devices = [device for user in sync.users for device in world.devices_of(user)]
        showing = [device for device in devices if device.kind == "web"]
        readings.append(SilentReading(sync, [device for device in devices if device not in showing], showing))
    return readings


def read_all(world: World) -> list[Reading]:
    """A reading of each of the world's messages, in their order.

    A thread is who wrote or was mentioned in its root or in a reply, up to and with the message in question.
    """
    threads: dict[str, set[str]] = {}
    readings = []
    for line in world.lines:
        thread = threads.setdefault(line.id if line.parent is None else line.parent, set())
        thread |= {line.sender, *line.mentioned}
        readings.append(_read(world, line, set(thread)))
    return readings


def read_edits(world: World) -> list[EditReading]:
    """A reading of each of the world's edits: whom it names, and nobody else, may be notified of the message now."""
    readings = []
    for edit in world.edits:
        line, named = edit.line, edit.named
        reason = _skipped(
            world, line._replace(mentioned=(*line.mentioned, named)), named, set(world.rooms[line.room].members), None
        )
        readings.append(EditReading(edit, [] if reason else world.devices_of(named), reason))
    return readings


def _read(world: World, line: Line, people: set[str]) -> Reading:
    whole = _nobody(world, line)
    reading = Reading(line, whole, {}, Counter())
    if whole is not None:
        return reading
    stored = line.recipients is None
    members = set(world.rooms[line.room].members if line.recipients is None else line.recipients)
    thread = None if line.parent is None else people
    ahead = list(dict.fromkeys([*line.mentioned, *line.group, *sorted(thread or (), key=str.encode)]))
    unseen = sorted(members, key=str.encode)
    page = PAGE if stored else max(1, len(unseen))
    candidates = [*ahead, *(user for user in unseen[:page] if user not in ahead)]
    capped = 0
    while True:
        for user in candidates:
            reason = _skipped(world, line, user, members, thread)
            devices = world.devices_of(user)
            if reason is None and _salient(world, line, user, thread) not in ("mention", "everyone"):
                if capped == world.member_cap:
                    reason = "over_member_cap"
                else:
                    capped += 1
            if reason is None:
                reading.notified[user] = devices
            else:
                reading.skipped[reason] += 1
        unseen = unseen[page:]
        left = [user for user in unseen if user not in ahead]
        if not unseen:
            return reading
        if thread is not None or capped == world.member_cap:
            reading.skipped["over_member_cap" if thread is None else "not_in_thread"] += len(left)
            return reading
        candidates = [user for user in unseen[:page] if user not in ahead]


def _nobody(world: World, line: Line) -> str | None:
    if line.skip_push:
        return "skip_push"
    if line.late:
        return "too_old"
    if line.deleted:
        return "deleted"
    room = world.rooms.get(line.room)
    if room is None:
        return "unknown_channel" if line.recipients is None else None
    return None if room.push else "channel_push_off"


def _skipped(world: World, line: Line, user: str, members: set[str], thread: set[str] | None) -> str | None:
    if user == line.sender:
        return "sender"
    if user not in members:
        return "not_a_member"
    what = _triggers(world, line, user, thread)
    if not what:
        return "not_in_thread"
    if (user, line.sender) in world.mutes:
        return "muted_sender"
    answers = [_ask(world, line, user, trigger) for trigger in what]
    if None not in answers:
        return answers[0]
    if line.parent is None and (user, line.room) in world.readers:
        return "read"
    if _is_quiet(world, line, user, [one for one, answer in zip(what, answers, strict=True) if answer is None]):
        return "quiet"
    if line.parent is None and world.viewing.get(user) == line.room:
        return "viewing"
    if not world.devices_of(user):
        return "no_device"
    return None


def _triggers(world: World, line: Line, user: str, thread: set[str] | None) -> list[str]:
    """What a message is for somebody, the most important first. Within a thread only those who take part are called together."""
    room = world.rooms.get(line.room)
    within = thread is None or user in thread
    found = {
        "direct": room is not None and room.is_direct and within,
        "mention": user in line.mentioned,
        "thread": thread is not None and user in thread,
        "group": user in line.group,
        "here": line.here and user in world.online and within,
        "everyone": line.everyone and within,
        "message": thread is None,
    }
    return [trigger for trigger, so in found.items() if so]


def _salient(world: World, line: Line, user: str, thread: set[str] | None) -> str:
    """The most important thing that it is for somebody who wants it."""
    return next(one for one in _triggers(world, line, user, thread) if _ask(world, line, user, one) is None)


#: What each level lets through.
_THROUGH = {
    "all": {"direct", "mention", "thread", "group", "here", "everyone", "message"},
    "mentions": {"direct", "mention", "thread", "group", "here", "everyone"},
    "personal": {"direct", "mention"},
    "none": set[str](),
}


def _ask(world: World, line: Line, user: str, trigger: str) -> str | None:
    """Why somebody does not want what a message is for them; None: they do.

    What they said of the channel comes before what they said of everything, and that before the channel's own level. A switch
    counts wherever it stands, but for behind a level of nothing at all.
    """
    of_channel, of_all = world.choices.get((user, line.room)), world.choices.get((user, ""))
    room = world.rooms.get(line.room)
    noted: str | None = ""
    for who, choice in (
        ("user's channel", of_channel),
        ("user", of_all),
        ("channel", Choice(room.level) if room else None),
    ):
        if choice is None:
            continue
        if trigger in choice.switches:
            return None if choice.switches[trigger] else "switched_off"
        if choice.level is not None and noted == "":
            if choice.level == "none":
                return "channel_muted" if who == "user's channel" else "level_none"
            noted = None if trigger in _THROUGH[choice.level] else "mentions_only"
    return noted or None


def _is_quiet(world: World, line: Line, user: str, wanted: list[str]) -> bool:
    quiet = world.quiet.get(user)
    if quiet is None or line.urgent or line.sender in quiet.friends or (quiet.direct and "direct" in wanted):
        return False
    clock = datetime.fromtimestamp(world.now_ms / 1000, ZoneInfo(quiet.zone)).strftime("%H:%M")
    if quiet.begin < quiet.end:
        return quiet.begin <= clock < quiet.end
    return clock >= quiet.begin or clock < quiet.end
