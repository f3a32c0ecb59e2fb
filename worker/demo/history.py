"""The world as a chat server would publish it: the events that bring it about, and its messages. Order matters, rules do not.

Not all of it is in order, because it never is: some registrations come late, some devices change hands, some people leave.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from producers import events
from worker.demo.world import MAX_AGE, Line, Phone, Room, World

_DAY_MS = 24 * 3600 * 1000


def beginnings(world: World, seed: int, now: datetime) -> list[events.AnyEvent]:
    """What must be published before the first message."""
    random = Random(seed + 1)
    ids = list(world.people)
    published: list[events.AnyEvent] = []
    for room in world.rooms.values():
        published += _room(world.app, room, random.choice(ids), now)
    for phone in world.phones:
        published += _phone(world.app, phone, random.choice(ids), random.random())
    published += [
        events.UserMuted(id=f"mute-{number}", app=world.app, at=now, user=who, target=whom)
        for number, (who, whom) in enumerate(sorted(world.mutes))
    ]
    return published


def mistakes(app: str, now: datetime) -> list[events.AnyEvent]:
    """Events of the right form that cannot be processed: they must be dead-lettered and hold up nobody."""

    def device(number: int, token: str, provider: str) -> events.AnyEvent:
        return events.DeviceRegistered(
            id=f"mistake-{number}",
            app=app,
            at=now,
            user="han",
            device=events.Device(token=token, provider=provider),
        )

    return [device(1, "not hexadecimal", "apns"), device(2, "ab" * 32, "no such provider")]


def message(world: World, line: Line, now: datetime) -> events.MessageNew:
    """The event of a line that is said `now`."""
    at = now - timedelta(seconds=MAX_AGE + 60) if line.late else now
    return events.MessageNew(
        id=line.event,
        app=world.app,
        at=at,
        channel=events.Channel(id=line.room),
        message=events.Message(
            id=line.id,
            text=line.text,
            parent_id=line.parent,
            mentioned=list(line.mentioned),
            skip_push=line.skip_push,
            kind="system" if line.skip_push else "regular",
        ),
        sender=events.Sender(id=line.sender, name=world.people[line.sender]),
        recipients=None if line.recipients is None else list(line.recipients),
    )


def _room(app: str, room: Room, stranger: str, now: datetime) -> Iterator[events.AnyEvent]:
    settings = events.ChannelSettings(id=room.id, name=room.name, push_notifications=None if room.push else False)
    yield events.ChannelUpdated(id=f"name-{room.id}", app=app, at=now, channel=settings)
    channel, members = events.ChannelId(id=room.id), sorted(room.members)
    if stranger not in room.members:
        # Joined and left again; the news of it arrives in the wrong order.
        joined, left = now - timedelta(hours=2), now - timedelta(hours=1)
        yield events.MemberRemoved(id=f"left-{room.id}", app=app, at=left, channel=channel, users=[stranger])
        yield events.MemberAdded(id=f"came-{room.id}", app=app, at=joined, channel=channel, users=[stranger])
    yield events.MemberAdded(id=f"join-{room.id}", app=app, at=now, channel=channel, users=members)


def _phone(app: str, phone: Phone, other: str, chance: float) -> Iterator[events.AnyEvent]:
    registered = _registered(app, phone.token, phone.user, phone.registered_at)
    before = _registered(app, phone.token, other, phone.registered_at - _DAY_MS)
    if chance < 0.02:  # it was somebody else's, who is not notified any more
        yield from (before, registered)
    elif chance < 0.04:  # the same, but the news of it arrives late
        yield from (registered, before)
    elif chance < 0.06:  # its former owner signs out after it has changed hands
        yield registered
        yield events.DeviceUnregistered(
            id=f"out-{phone.token[:16]}",
            app=app,
            at=_instant(phone.registered_at + 1000),
            user=f"not.{phone.user}",
            device=events.DeviceToken(token=phone.token),
        )
    else:
        yield registered


def _registered(app: str, token: str, user: str, at_ms: int) -> events.DeviceRegistered:
    return events.DeviceRegistered(
        id=f"device-{token[:16]}-{at_ms}",
        app=app,
        at=_instant(at_ms),
        user=user,
        device=events.Device(token=token.upper()),
    )


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
