"""`why` agrees, line by line, with an account that this test keeps by itself of a thousand random events.

The account has two sources, and neither is the code under test: the rules as docs/rules.md has them, read a second time below,
and the provider's own record of what it answered. What was held back is decided by the state at the moment at which it went.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, cast

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Apns, Pipeline, Tokens, message, stamp, token
from worker.core.model import ACCEPTED, Answer, Response
from worker.core.push_ids import apns_id
from worker.providers.apns.client import ApnsClient
from worker.reports.delivery_report import as_json
from worker.reports.got_and_missed import of_user
from worker.reports.looking_up import look_up, write_up

SEED: Final = 16
PAGE, CAP, MAX_AGE, GROUP = 10, 6, 3600, 50
USERS: Final = [f"u{n:02}" for n in range(48)]
#: What a provider answers to a device at first, or always, and what the ledger calls that.
NATURES: Final = {
    "live": (ACCEPTED, "accepted"),
    "busy": (Answer(429, "TooManyRequests"), "retry.TooManyRequests"),
    "failing": (Answer(500, "InternalServerError"), "retry.InternalServerError"),
    "narrow": (Answer(413, "PayloadTooLarge"), "dropped.PayloadTooLarge"),
    "gone": (Answer(410, "Unregistered", timestamp=int(START.timestamp() * 1000) + 10**9), "retired.Unregistered"),
}
#: What becomes of a notification that waits for an earlier one, or with it: of devices only that a provider put off.
WAITS: Final = ("limited.device_held", "overtook")
PUT_OFF: Final = ("busy", "failing")
Line = tuple[Any, ...]


class Provider(Apns):
    """Answers by the device's nature, and keeps a record of its answers for each notification."""

    def __init__(self, natures: dict[str, str]) -> None:
        super().__init__()
        self.natures = natures
        self.record_of: defaultdict[str, list[str]] = defaultdict(list)
        self.gone: set[str] = set()

    def _answer(self, token: str) -> Response:
        answers, nature = self.record_of[self.sent[-1].id], self.natures[token]
        response, label = NATURES["live" if answers and nature in PUT_OFF else nature]
        answers.append(label)
        if nature == "gone":
            self.gone.add(token)
        return response


@dataclass
class Must:
    """What must become of one event: a line for each decision, and the devices that are to get it."""

    lines: list[Line] = field(default_factory=list)
    #: (user, device) -> what became of it apart from the provider's answers
    devices: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    repeats: int = 0
    letters: int = 0
    scheduled: bool = False
    #: For what is decided again: sender, channel, and whether its recipients were listed.
    about: tuple[str, str, bool] = ("", "", False)


class World:
    """A chat, its pipeline, and the account."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.random = pipeline, Random(SEED)
        self.events: dict[str, Must] = {}
        self.members: defaultdict[str, set[str]] = defaultdict(set)
        #: Also those who have left.
        self.ever: defaultdict[str, set[str]] = defaultdict(set)
        self.off: set[str] = set()
        self.mutes: set[tuple[str, str]] = set()
        self.threads: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.online: set[str] = set()
        self.push_enabled = True
        #: device id -> its user, and the provider's name
        self.devices: dict[int, tuple[str, str]] = {}
        self.tokens: dict[int, str] = {}
        self.number = self.done = 0
        #: Held back: (event, user, device).
        self.held: dict[tuple[str, str, int], None] = {}
        self.paused = False
        natures = {}
        pipeline.save_app(member_cap=CAP, max_age=MAX_AGE)
        second = pipeline.add_provider("second")
        self.second = second.id
        kinds = ["live"] * 12 + ["busy", "failing", "narrow", "gone", "gone"]
        for user in USERS:
            for n in range(self.random.choice((0, 1, 1, 2, 3))):
                natures[token(user, n)] = self.random.choice(kinds)
                name = ("apns", "second")[n % 2]
                device = ev.Device(token=token(user, n), provider=name)
                pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=device))
        for n in range(12):
            self.join(f"c{n}", *self.random.sample(USERS, (3, 5, 9, 14, 30)[n % 5]))
        pipeline.take()
        with pipeline.pool.connection() as db:
            rows = db.execute(
                "SELECT d.id, d.user_id, d.token, p.name FROM carillon.devices d"
                " JOIN carillon.providers p ON p.id = d.provider_id"
            ).fetchall()
        for id, user, of, name in rows:
            self.devices[id], self.tokens[id] = (user, name), of
        self.provider = Provider(natures)
        self.provider.record = pipeline.apns.record
        pipeline.clients["apns"] = ApnsClient(cast("Any", self.provider), cast("Any", Tokens()))
        pipeline.apns = self.provider

    # what chat servers do

    def join(self, channel: str, *users: str) -> None:
        self.members[channel] |= set(users)
        self.ever[channel] |= set(users)
        self.pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id=channel), users=list(users)))

    def leave(self, channel: str, user: str) -> None:
        self.members[channel].discard(user)
        self.pipeline.publish(ev.MemberRemoved(**stamp(), channel=ev.ChannelId(id=channel), users=[user]))

    def mute(self, user: str, target: str) -> None:
        self.mutes.add((user, target))
        self.pipeline.publish(ev.UserMuted(**stamp(), user=user, target=target))

    def switch(self, channel: str, *, on: bool) -> None:
        (self.off.discard if on else self.off.add)(channel)
        settings = ev.ChannelSettings(id=channel, push_notifications=on)
        self.pipeline.publish(ev.ChannelUpdated(**stamp(), channel=settings))

    def change(self) -> None:
        """Now and then something is different from now on."""
        match self.random.randrange(16):
            case 0 | 1:
                self.mute(self.random.choice(USERS), self.random.choice(USERS))
            case 2:
                channel = self.random.choice(sorted(self.members))
                self.switch(channel, on=channel in self.off)
            case _:
                pass

    def move(self) -> None:
        """Some join, some leave. Which members are only counted depends on who is about to join, so messages come after it."""
        for _ in range(4):
            channel, user = self.random.choice(sorted(self.members)), self.random.choice(USERS)
            if user not in self.members[channel]:
                self.join(channel, user)
            elif len(self.members[channel]) > 2:
                self.leave(channel, user)
        self.pipeline.take()

    def part(self) -> None:
        """Some leave, or mute who wrote, before they get what is held back for them."""
        for id, user, _ in self.random.sample([*self.held], 12):
            sender, channel, _ = self.events[id].about
            if sender and self.random.random() < 0.5:
                self.mute(user, sender)
            elif user in self.members.get(channel, ()):
                self.leave(channel, user)
        self.switch(self.random.choice(sorted(self.members.keys() - self.off)), on=False)

    def presence(self) -> None:
        for user in self.online:
            self.pipeline.redis.delete(ev.online_key("demo", user))
        self.online = set(self.random.sample(USERS, 6))
        for user in self.online:
            self.pipeline.redis.set(ev.online_key("demo", user), 1)

    def say(self) -> None:
        """One random message, what must become of it, and now and then a repeat."""
        random, self.number = self.random, self.number + 1
        id = f"e{self.number}"
        channel = random.choice([*sorted(self.members), "nowhere"] if random.random() < 0.1 else sorted(self.members))
        sender = random.choice(sorted(self.members[channel]) or USERS) if channel != "nowhere" else random.choice(USERS)
        fields: dict[str, Any] = {}
        roots = sorted(root for of, root in self.threads if of == channel)
        if roots and random.random() < 0.25:
            fields["parent_id"] = random.choice(roots)
        elif random.random() < 0.05:
            fields["mentions_everyone"] = True
        if random.random() < 0.25:
            fields["mentioned"] = random.sample(USERS, random.randrange(1, 4))
        fields["skip_push"] = random.random() < 0.03
        recipients = random.sample(USERS, random.randrange(2, 9)) if random.random() < 0.1 else None
        late = random.random() < 0.04
        seconds = self.pipeline.now - START.timestamp() - (MAX_AGE + 60 if late else 0)
        event = message(channel, sender, id, seconds=seconds, recipients=recipients, **fields)
        self.pipeline.publish(event)
        self.events[id] = self.reading(event, late=late)
        if random.random() < 0.06:
            self.events[id].repeats = random.randrange(1, 4)
            self.pipeline.publish(*[event] * self.events[id].repeats)

    def refused(self) -> None:
        self.number += 1
        self.events[f"e{self.number}"] = Must(letters=1)
        self.pipeline.publish(b'{"v": 1, "type": "message.new", "app": "demo", "id": "e%d"}' % self.number)

    def targeted(self, *, scheduled: bool = False) -> None:
        self.number += 1
        id, user = f"e{self.number}", self.random.choice(USERS)
        at = datetime.fromtimestamp(self.pipeline.now, UTC)
        later = datetime.now(UTC) + timedelta(days=3) if scheduled else None
        named = stamp() | {"id": id, "at": datetime.now(UTC) if scheduled else at}
        self.pipeline.publish(ev.PushSend(**named, where=ev.Where(user=user), alert="x", send_at=later))
        must = self.events[id] = Must(scheduled=scheduled)
        theirs = self.of(user)
        if scheduled:
            return
        if not self.push_enabled:
            must.lines.append(("nobody", "app_push_off"))
        elif theirs:
            must.lines.append(("pushed", user))
            must.devices = {(user, id): [] for id in theirs}

    # the rules, read a second time

    def of(self, user: str) -> list[int]:
        return [id for id, (owner, _) in self.devices.items() if owner == user]

    def reading(self, event: ev.MessageNew, *, late: bool) -> Must:
        channel, said = event.channel.id, event.message
        listed = event.recipients is not None
        must = Must(about=(event.sender.id, channel, listed))
        thread = self.threads[channel, said.parent_id or said.id]
        thread |= {
            event.sender.id,
            *(set(said.mentioned) & (set(event.recipients or ()) or self.members.get(channel, set()))),
        }
        whole = self.nobody(event, late=late)
        if whole is not None:
            must.lines.append(("nobody", whole))
            return must
        members = set(event.recipients or ()) if listed else set(self.members.get(channel, ()))
        people = (thread if listed else thread & self.ever.get(channel, set())) if said.parent_id else None
        ahead = list(dict.fromkeys([*said.mentioned, *sorted(people or ())]))
        behind, size = sorted(members), max(1, len(members)) if listed else PAGE
        capped, candidates = 0, [*ahead, *(user for user in behind[:size] if user not in ahead)]
        while True:
            for user in candidates:
                reason = self.skipped(event, user, members, people)
                if reason is None and not said.mentions_everyone and user not in said.mentioned:
                    reason, capped = ("over_member_cap", capped) if capped == CAP else (None, capped + 1)
                if reason is not None:
                    must.lines.append(("skipped", user, reason))
                    continue
                must.lines.append(("pushed", user))
                must.devices |= {(user, id): [] for id in self.of(user)}
            behind = behind[size:]
            left = [user for user in behind if user not in ahead]
            if not behind:
                return must
            if people is not None or (capped == CAP and not said.mentions_everyone):
                if left:
                    must.lines.append(("counted", "over_member_cap" if people is None else "not_in_thread", len(left)))
                return must
            candidates = [user for user in behind[:size] if user not in ahead]

    def nobody(self, event: ev.MessageNew, *, late: bool) -> str | None:
        if not self.push_enabled:
            return "app_push_off"
        if event.message.skip_push:
            return "skip_push"
        if late:
            return "too_old"
        if event.channel.id not in self.members and event.recipients is None:
            return "unknown_channel"
        return "channel_push_off" if event.channel.id in self.off else None

    def skipped(self, event: ev.MessageNew, user: str, members: set[str], people: set[str] | None) -> str | None:
        if user == event.sender.id:
            return "sender"
        if user not in members:
            return "not_a_member"
        if people is not None and user not in people and user not in event.message.mentioned:
            return "not_in_thread"
        if (user, event.sender.id) in self.mutes:
            return "muted_sender"
        if user in self.online:
            return "online"
        return None if self.of(user) else "no_device"

    # what workers do

    def work(self) -> None:
        """Everything that was published is done, but for what is held back."""
        self.pipeline.run()
        while self.pipeline.later() and self.pipeline.deliver():
            pass
        for id, must in [*self.events.items()][self.done :]:
            for user, device in must.devices:
                held = self.paused and self.devices[device][1] == "second"
                if held and not (must.devices[user, device] or self.answers(id, device)):
                    self.held[id, user, device] = None
        self.done = len(self.events)
        self.devices = {id: of for id, of in self.devices.items() if self.tokens[id] not in self.provider.gone}

    def answers(self, event: str, device: int) -> list[str]:
        return self.provider.record_of.get(apns_id(event, "demo", device), [])

    def group(self, size: int = GROUP) -> None:
        self.presence()
        self.move()
        for _ in range(size):
            self.change()
            match self.random.randrange(30):
                case 0:
                    self.refused()
                case 1:
                    self.targeted()
                case _:
                    self.say()
        self.work()

    def pause(self) -> None:
        self.pipeline.breaker.stop(self.second, "new key", self.pipeline.now, manual=True)
        self.paused = True

    def resume(self, after: float) -> None:
        """Lets everything go that was held back, so many seconds later, and decides about it again."""
        self.pipeline.take()
        self.pipeline.now += after
        self.paused = False
        for id, user, device in self.held:
            must = self.events[id]
            sender, channel, listed = must.about
            if after > MAX_AGE:
                reason = "expired"
            elif channel and not listed and user not in self.members[channel]:
                reason = "left"
            elif channel and (user, sender) in self.mutes:
                reason = "muted"
            elif channel and channel in self.off:
                reason = "channel_off"
            else:
                continue
            must.devices[user, device] = [f"dropped.{reason}"]
        self.held = {}
        self.pipeline.breaker.resume(self.second, by_hand=True)
        self.work()


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url, page=PAGE, batch=60)
    yield made
    made.close()


def lived(pipeline: Pipeline) -> World:
    """A thousand events, with everything that can become of one."""
    world = World(pipeline)
    while len(world.events) < 300:
        world.group()
    for after in (100.0, MAX_AGE + 100.0, 100.0):
        world.pause()
        for _ in range(3):
            world.group()
        world.part()
        world.resume(after)
    world.push_enabled = False
    pipeline.save_app(member_cap=CAP, max_age=MAX_AGE, push_enabled=False)
    world.group()
    world.push_enabled = True
    pipeline.save_app(member_cap=CAP, max_age=MAX_AGE)
    world.pause()
    while len(world.events) < 950:
        world.group()
    world.group(40)
    for _ in range(10):
        world.targeted(scheduled=True)
    pipeline.take()
    return world


def expected(world: World, id: str) -> list[Line]:
    must = world.events[id]
    lines = [*must.lines]
    for (user, device), others in must.devices.items():
        lines += [("tried", user, device, n, label) for n, label in enumerate([*world.answers(id, device), *others])]
    waits = {device for of, _, device in world.held if of == id}
    lines += [("waits", device, "second") for device in waits]
    lines += [("repeats", must.repeats), ("letters", must.letters), ("scheduled", must.scheduled)]
    return sorted(lines, key=str)


def found(report: dict[str, Any]) -> list[Line]:
    lines: list[Line] = [] if report["nobody"] is None else [("nobody", report["nobody"])]
    lines += [("skipped", user, reason) for user, reason in report["skipped"].items()]
    lines += [("counted", reason, n) for reason, n in report["counted"].items() if n]
    for user, devices in report["pushed"].items():
        lines.append(("pushed", user))
        for device, outcomes in devices.items():
            answered = [label for label in outcomes if label not in WAITS]
            lines += [("tried", user, int(device), n, label) for n, label in enumerate(answered)]
    states = {device: of["state"] for devices in report["devices"].values() for device, of in devices.items()}
    lines += [
        ("waits", int(device), of["provider"])
        for device, of in report["waits"].items()
        if states.get(device) == "waits" and of["stopped"]
    ]
    lines += [("repeats", report["repeats"]), ("letters", len(report["dead_letters"]))]
    return sorted([*lines, ("scheduled", report["scheduled"] is not None)], key=str)


def waiting(report: dict[str, Any]) -> set[int]:
    pushed = (devices.items() for devices in report["pushed"].values())
    return {int(device) for devices in pushed for device, outcomes in devices if set(WAITS) & set(outcomes)}


def test_O4_why_agrees_with_an_independent_account_of_a_thousand_events(pipeline: Pipeline) -> None:
    world = lived(pipeline)
    write_up(pipeline.journal, pipeline.ledger)
    kinds: Counter[str] = Counter()
    for id in world.events:
        must, report = expected(world, id), as_json(*look_up(pipeline.keyspace, pipeline.pool, "demo", id))
        has = found(report)
        assert has == must, (id, sorted(set(has) ^ set(must), key=str))
        assert waiting(report) <= {id for id, of in world.tokens.items() if world.provider.natures[of] in PUT_OFF}
        kinds.update(".".join(map(str, line[:1] + line[-1:])) for line in must)
    assert len(world.events) == 1000
    # The account would also agree about nothing: everything that can become of an event is among them.
    reasons = {kind.partition(".")[2] for kind in kinds}
    assert {label for _, label in NATURES.values()} <= reasons
    assert {"dropped.expired", "dropped.left", "dropped.muted", "dropped.channel_off"} <= reasons
    assert {
        "sender",
        "not_a_member",
        "not_in_thread",
        "muted_sender",
        "online",
        "no_device",
        "over_member_cap",
    } <= reasons
    assert {"app_push_off", "skip_push", "too_old", "unknown_channel", "channel_push_off"} <= reasons
    assert all(any(kind.startswith(f"{of}.") for kind in kinds) for of in ("waits", "counted", "pushed"))
    whole_histories(world)


def whole_histories(world: World) -> None:
    """What users are shown is what the events say of them."""
    pipeline = world.pipeline
    for user in USERS[::8]:
        history = of_user(pipeline.keyspace, pipeline.pool, "demo", [user], 0.0)
        decided = {one.event for one in history.happened}
        named = {id for id, must in world.events.items() if any(line[1] == user for line in must.lines)}
        assert history.more or named <= decided
        assert len(decided) == len(history.happened) >= 20
        for one in history.happened:
            lines = world.events[one.event].lines
            if one.decision == "pushed":
                assert ("pushed", user) in lines
                for device, tries in one.devices.items():
                    must = [*world.answers(one.event, device), *world.events[one.event].devices[user, device]]
                    assert [tried.outcome for tried in tries] == must
            elif one.decision == "skipped":
                assert ("skipped", user, one.reason) in lines
            else:
                assert any(line[:2] == (one.decision, one.reason) for line in lines)
