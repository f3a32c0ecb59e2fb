"""The delivery rules, read a second time: for every message who must get it, on which devices, and why nobody else does.

Written from the rules' text, as plainly as it goes and without a line of the code under test. A message nobody gets:

    skip_push          it says so itself
    too_old            it is older than the app's maximum age
    unknown_channel    nobody ever said who is in its channel, and neither does the message
    channel_push_off   its channel has pushes switched off

Otherwise everybody who is named below is looked at, once, in this order: who is mentioned, who takes part in the thread, the
channel's members; the latter two by the bytes of their ids. A user who is not skipped gets a push. The first that applies:

    sender             wrote it
    not_a_member       is not in the channel
    not_in_thread      it is a reply, and the user neither takes part in the thread nor is mentioned
    muted_sender       has muted its sender
    online             is looking at the screen
    no_device          has no device
    over_member_cap    not mentioned, and as many members who are not mentioned as the app allows have it already

Of a channel with more than a thousand members a further thousand is looked at only while there is still somebody to be found:
not in a thread, whose people came first, and not once the cap is reached. The others are counted with that reason.

A message is shown by devices of each kind. A silent push to some users goes to all of their devices but their browsers:

    no_silent_push     a browser ends the subscription of a page that shows nothing
"""

from collections import Counter
from typing import NamedTuple

from worker.demo.world import PAGE, Device, Line, Sync, World


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


def _read(world: World, line: Line, people: set[str]) -> Reading:
    whole = _nobody(world, line)
    reading = Reading(line, whole, {}, Counter())
    if whole is not None:
        return reading
    stored = line.recipients is None
    members = set(world.rooms[line.room].members if line.recipients is None else line.recipients)
    thread = None if line.parent is None else people
    ahead = list(dict.fromkeys([*line.mentioned, *sorted(thread or (), key=str.encode)]))
    unseen = sorted(members, key=str.encode)
    page = PAGE if stored else max(1, len(unseen))
    candidates = [*ahead, *(user for user in unseen[:page] if user not in ahead)]
    capped = 0
    while True:
        for user in candidates:
            reason = _skipped(world, line, user, members, thread)
            devices = world.devices_of(user)
            if reason is None and user not in line.mentioned:
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
    room = world.rooms.get(line.room)
    if room is None:
        return "unknown_channel" if line.recipients is None else None
    return None if room.push else "channel_push_off"


def _skipped(world: World, line: Line, user: str, members: set[str], thread: set[str] | None) -> str | None:
    if user == line.sender:
        return "sender"
    if user not in members:
        return "not_a_member"
    if thread is not None and user not in thread and user not in line.mentioned:
        return "not_in_thread"
    if (user, line.sender) in world.mutes:
        return "muted_sender"
    if user in world.online:
        return "online"
    if not world.devices_of(user):
        return "no_device"
    return None
