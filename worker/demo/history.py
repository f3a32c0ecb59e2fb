"""The world as a chat server would publish it: the events that bring it about, and its messages. Order matters, rules do not.

Not all of it is in order, because it never is: some registrations come late, some devices change hands, some people leave.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, get_args

from producers import events
from producers.fields import Day
from worker.demo.world import MAX_AGE, Choice, Device, Edit, KindName, Line, Quiet, Room, Sync, World

_DAY_MS = 24 * 3600 * 1000
_PLATFORMS: Final[dict[KindName, str]] = {"apns": "ios", "fcm": "android", "web": "web"}


def beginnings(world: World, seed: int, now: datetime) -> list[events.AnyEvent]:
    """What must be published before the first message."""
    random = Random(seed + 1)
    ids = list(world.people)
    published: list[events.AnyEvent] = []
    for room in world.rooms.values():
        published += _room(world.app, room, random.choice(ids), now)
    for device in world.devices:
        published += _device(world.app, device, random.choice(ids), random.random())
    published += [
        events.UserMuted(id=f"mute-{number}", app=world.app, at=now, user=who, target=whom)
        for number, (who, whom) in enumerate(sorted(world.mutes))
    ]
    published += [_choice(world.app, *who, choice, now) for who, choice in sorted(world.choices.items())]
    published += [_quiet(world.app, user, quiet, now) for user, quiet in sorted(world.quiet.items())]
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
            mentions=_mentions(line),
            urgency="urgent" if line.urgent else "normal",
            skip_push=line.skip_push,
            kind="system" if line.skip_push else "regular",
        ),
        sender=events.Sender(id=line.sender, name=world.people[line.sender]),
        recipients=None if line.recipients is None else list(line.recipients),
    )


def edit(world: World, one: Edit, now: datetime) -> events.MessageUpdated:
    """The event of an edit that is made `now`."""
    line = one.line
    return events.MessageUpdated(
        id=one.event,
        app=world.app,
        at=now,
        channel=events.Channel(id=line.room),
        message=events.EditedMessage(id=line.id, text=line.text, mentioned=[*line.mentioned, one.named]),
        sender=events.Sender(id=line.sender, name=world.people[line.sender]),
    )


def deletion(world: World, line: Line, now: datetime) -> events.MessageDeleted:
    """What is said of a line that is taken back."""
    return events.MessageDeleted(
        id=f"{line.event}-deleted",
        app=world.app,
        at=now,
        channel=events.ChannelId(id=line.room),
        message=events.MessageId(id=line.id),
    )


def _mentions(line: Line) -> events.Mentions:
    groups = [events.Group(id="crew", name="Crew", users=list(line.group))] if line.group else []
    return events.Mentions(here=line.here, everyone=line.everyone, groups=groups)


def _choice(app: str, user: str, room: str, choice: Choice, now: datetime) -> events.PreferencesUpdated:
    return events.PreferencesUpdated(
        id=f"choice-{user}-{room}",
        app=app,
        at=now,
        user=user,
        channel=events.ChannelId(id=room) if room else None,
        level=choice.level,
        triggers=dict(choice.switches),  # type: ignore[arg-type]  # names of triggers
    )


def _quiet(app: str, user: str, quiet: Quiet, now: datetime) -> events.QuietUpdated:
    days = list(get_args(Day))
    return events.QuietUpdated(
        id=f"quiet-{user}",
        app=app,
        at=now,
        user=user,
        zone=quiet.zone,
        quiet=[events.Window(days=days, begin=quiet.begin, to=quiet.end)],
        allow=events.Allow(triggers=["direct"] if quiet.direct else [], users=list(quiet.friends)),
    )


def silent(app: str, sync: Sync, now: datetime) -> events.PushSend:
    """The event of a silent push that is sent `now`."""
    where = events.Where(user=events.OneOf(any_of=list(sync.users)))
    return events.PushSend(id=sync.id, app=app, at=now, where=where, data={"sync": sync.id}, push_type="background")


def _room(app: str, room: Room, stranger: str, now: datetime) -> Iterator[events.AnyEvent]:
    settings = events.ChannelSettings(
        id=room.id,
        name=room.name,
        push_notifications=None if room.push else False,
        level=room.level,
        kind="direct" if room.is_direct else None,
    )
    yield events.ChannelUpdated(id=f"name-{room.id}", app=app, at=now, channel=settings)
    channel, members = events.ChannelId(id=room.id), sorted(room.members)
    if stranger not in room.members:
        # Joined and left again; the news of it arrives in the wrong order.
        joined, left = now - timedelta(hours=2), now - timedelta(hours=1)
        yield events.MemberRemoved(id=f"left-{room.id}", app=app, at=left, channel=channel, users=[stranger])
        yield events.MemberAdded(id=f"came-{room.id}", app=app, at=joined, channel=channel, users=[stranger])
    yield events.MemberAdded(id=f"join-{room.id}", app=app, at=now, channel=channel, users=members)


def _device(app: str, device: Device, other: str, chance: float) -> Iterator[events.AnyEvent]:
    registered = _registered(app, device, device.user, device.registered_at)
    before = _registered(app, device, other, device.registered_at - _DAY_MS)
    if chance < 0.02:  # it was somebody else's, who is not notified any more
        yield from (before, registered)
    elif chance < 0.04:  # the same, but the news of it arrives late
        yield from (registered, before)
    elif chance < 0.06:  # its former owner signs out after it has changed hands
        yield registered
        yield events.DeviceUnregistered(
            id=f"out-{_name(device)}",
            app=app,
            at=_instant(device.registered_at + 1000),
            user=f"not.{device.user}",
            device=events.DeviceToken(token=device.token),
        )
    else:
        yield registered


def _registered(app: str, device: Device, user: str, at_ms: int) -> events.DeviceRegistered:
    platform = _PLATFORMS[device.kind]
    return events.DeviceRegistered(
        id=f"device-{_name(device)}-{at_ms}",
        app=app,
        at=_instant(at_ms),
        user=user,
        device=events.Device(platform=platform, subscription=_subscription(device))
        if device.kind == "web"
        # The case of a token of APNs says nothing.
        else events.Device(platform=platform, token=device.token.upper() if device.kind == "apns" else device.token),
    )


def _subscription(device: Device) -> events.Subscription:
    p256dh, auth = device.keys
    return events.Subscription(endpoint=device.token, keys=events.SubscriptionKeys(p256dh=p256dh, auth=auth))


def _name(device: Device) -> str:
    return hashlib.blake2b(device.token.encode(), digest_size=8).hexdigest()


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
