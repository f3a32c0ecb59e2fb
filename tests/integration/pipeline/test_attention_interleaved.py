"""Any interleaving of messages, reads, presence, preferences, deletions and kills: nobody misses what they wanted throughout, and
nobody is notified of what they had read, or what was deleted, before its sending began.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, stamp, token, user_of
from worker.core.attention import Attention
from worker.core.push_ids import apns_id

USERS = ("ann", "bob", "cem")
SOMEBODY = st.sampled_from(USERS)
#: Seconds after which who is present is decided again, and between two acts: what was decided a moment ago is sent as it is.
DELAY, PAUSE = 30, 2


@dataclass
class Said:
    """A message, and what has happened to it."""

    event: str
    message: str
    #: Milliseconds since the epoch.
    at: int
    mentioned: frozenset[str]
    #: Whether the workers know that it was deleted.
    deleted: bool = False
    is_deleting: bool = False
    #: Who at some time did not want it, or had read it.
    unwanted: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    #: Who was notified although they had read it, or it was deleted.
    wrong: set[str] = field(default_factory=set)
    notified: Counter[str] = field(default_factory=Counter)


class Attention_(RuleBasedStateMachine):  # noqa: N801 - `Attention` is the settings'
    """A channel of its own for each example; the engines are the same for all."""

    pipeline: Pipeline
    numbers = count()

    def __init__(self) -> None:
        super().__init__()
        self.channel, self.said = f"c{next(self.numbers)}", list[Said]()
        self.levels: dict[str, str] = dict.fromkeys(USERS, "all")
        self.seen = 0

    @initialize()
    def begins(self) -> None:
        for user in USERS:
            self.pipeline.redis.delete(ev.active_key("demo", user))
            self._publish(ev.PreferencesUpdated(**self._stamp(), user=user))
        members = ["leia", *USERS]
        self._publish(ev.MemberAdded(**self._stamp(), channel=ev.ChannelId(id=self.channel), users=members))
        self.pipeline.run()
        self.seen = len(self.pipeline.apns.sent)

    def _stamp(self) -> dict[str, Any]:
        self.pipeline.now += PAUSE
        return stamp(self.pipeline.now - START.timestamp())

    def _publish(self, event: ev.AnyEvent) -> None:
        self.pipeline.publish(event)

    # what happens

    @rule(mentioned=st.frozensets(SOMEBODY, max_size=2))
    def says(self, mentioned: frozenset[str]) -> None:
        about = self._stamp()
        one = Said(f"{self.channel}-{len(self.said)}", f"m{len(self.said)}", int(self.pipeline.now * 1000), mentioned)
        content = ev.Message(id=one.message, text="hello", mentioned=sorted(mentioned))
        about["id"] = one.event
        channel, sender = ev.Channel(id=self.channel), ev.Sender(id="leia")
        self._publish(ev.MessageNew(**about, channel=channel, message=content, sender=sender))
        self.said.append(one)
        self._want(one)

    @precondition(lambda self: self.said)
    @rule(user=SOMEBODY)
    def reads(self, user: str) -> None:
        self.pipeline.now += PAUSE
        self.pipeline.redis.zadd(ev.read_key("demo", self.channel), {user: self.said[-1].at}, gt=True)
        for one in self.said:
            one.read.add(user)

    @rule(user=SOMEBODY, here=st.booleans())
    def comes_or_goes(self, user: str, here: bool) -> None:
        self.pipeline.now += PAUSE
        if here:
            self.pipeline.redis.set(ev.active_key("demo", user), 1)
        else:
            self.pipeline.redis.delete(ev.active_key("demo", user))

    @rule(user=SOMEBODY, level=st.sampled_from(["all", "mentions", "none"]))
    def chooses(self, user: str, level: str) -> None:
        self.levels[user] = level
        given = ev.PreferencesUpdated(**self._stamp(), user=user, level=level)  # type: ignore[arg-type]
        self._publish(given)
        for one in self.said:
            self._want(one)

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def deletes(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.said))
        one.is_deleting = True
        channel, which = ev.ChannelId(id=self.channel), ev.MessageId(id=one.message)
        self._publish(ev.MessageDeleted(**self._stamp(), channel=channel, message=which))

    # what workers do

    @rule()
    def leader_reads(self) -> None:
        self.pipeline.now += PAUSE
        self.pipeline.take()
        for one in self.said:
            one.deleted = one.is_deleting

    @rule()
    def worker_expands(self) -> None:
        self.pipeline.expand()
        self.pipeline.now += PAUSE

    @rule()
    def worker_delivers(self) -> None:
        self.pipeline.deliver()
        self._look()

    @rule()
    def expander_is_killed(self) -> None:
        """With messages and second looks in its hands."""
        for lane in ("urgent", "bulk"):
            self.pipeline.journal.take_messages(lane, 3)

    @rule()
    def sender_is_killed(self) -> None:
        """With a batch in its hands, of which it has sent nothing."""
        self.pipeline.journal.take_batch("urgent")

    @rule()
    def time_passes(self) -> None:
        """Leases are over, and who was present is decided again."""
        self.pipeline.now += DELAY
        self.pipeline.later(DELAY)

    def teardown(self) -> None:
        self.leader_reads()
        for _ in range(6):
            self.worker_expands()
            self.worker_delivers()
            self.time_passes()
        assert self.pipeline.journal.backlog() == (0, 0)
        for one in self.said:
            wanted = set() if one.is_deleting else {*USERS} - one.unwanted - one.read
            assert wanted <= one.notified.keys(), f"{one}: {wanted - one.notified.keys()} were lost"
            assert not one.wrong, f"{one}: {one.wrong} had read it, or it was deleted"
            assert set(one.notified.values()) <= {1}, f"{one}: somebody was notified twice"

    def _want(self, one: Said) -> None:
        for user in USERS:
            level = self.levels[user]
            if level == "none" or (level == "mentions" and user not in one.mentioned):
                one.unwanted.add(user)

    def _look(self) -> None:
        """What was sent since the last look."""
        sent, self.seen = self.pipeline.apns.sent[self.seen :], len(self.pipeline.apns.sent)
        for notification in sent:
            user = user_of(notification)
            [one] = [one for one in self.said if apns_id(one.event, "demo", self.devices[user]) == notification.id]
            one.notified[user] += 1
            if user in one.read or one.deleted:
                one.wrong.add(user)

    devices: dict[str, int]


@pytest.mark.timeout(300)
def test_nobody_misses_what_they_want_and_nobody_is_notified_of_what_is_over(pipeline: Pipeline) -> None:
    pipeline.save_app(attention=Attention(online_delay=DELAY, present="active", retract="off"), max_age=86_400)
    for user in USERS:
        pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=ev.Device(token=token(user))))
    pipeline.take()
    with pipeline.pool.connection() as db:
        rows = db.execute("SELECT user_id, id FROM carillon.devices").fetchall()
    machine = type("Attention", (Attention_,), {"pipeline": pipeline, "devices": dict(rows)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
