"""Whom an environment may push to: those who are named, and in a copy of another fleet's database nobody else."""

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import message, stamp, user_of
from worker.core.model import AppSettings
from worker.database import fleet


@pytest.fixture
def channel(pipeline):
    pipeline.member("general", "leia", "han", "eve")
    return pipeline


def copied(pipeline) -> None:
    """The database becomes that of another fleet than the pipeline's, which has no name."""
    with pipeline.pool.connection() as db:
        fleet.take_over(db, "production")


def skips(pipeline, event: str = "e1"):
    return pipeline.account(event)["page:0"]


def test_only_those_who_are_named_get_a_message(channel):
    channel.save_app(only_to=("han",))
    channel.publish(message(mentioned=["eve"]))
    assert [user_of(n) for n in channel.run()] == ["han"]
    assert skips(channel)["skipped"]["not_allowed_here"] == ["eve"]


def test_a_targeted_push_and_a_badge_go_to_them_alone(channel):
    channel.publish(message())
    channel.run()
    channel.save_app(only_to=("han",))
    push = ev.PushSend(**stamp(3), where=ev.Where(everyone=True), alert="hello")
    cleared = [ev.BadgeCleared(**stamp(4 + n), user=user) for n, user in enumerate(("han", "eve"))]
    channel.publish(push, *cleared)
    channel.apns.sent.clear()
    assert [user_of(n) for n in channel.run()] == ["han", "han"]
    page = skips(channel, push.id)
    assert (page["pushed"], page["skipped"]["not_allowed_here"]) == (["han"], ["eve", "leia"])


def test_what_was_expanded_before_goes_to_them_alone(channel):
    channel.publish(message())
    channel.take()
    channel.expand()
    channel.save_app(only_to=("han",))
    channel.deliver()
    assert [user_of(n) for n in channel.apns.sent] == ["han"]
    assert channel.journal.counts("demo")["dropped.not_allowed_here"] == 1


def test_a_copied_database_pushes_to_nobody(channel):
    channel.publish(message())
    channel.take()
    channel.expand()
    copied(channel)
    push = ev.PushSend(**stamp(3), where=ev.Where(everyone=True), alert="hello")
    channel.publish(message(id="e2"), push)
    channel.take()
    channel.expand()
    channel.deliver()
    assert channel.apns.sent == []
    dropped = {name: n for name, n in channel.journal.counts("demo").items() if name.startswith("dropped.")}
    assert dropped == {"dropped.not_allowed_here": 2}, "what was expanded before"
    assert skips(channel, "e2")["message"] == "not_allowed_here"
    assert skips(channel, push.id)["message"] == "not_allowed_here"
    assert channel.journal.backlog() == (0, 0)


def test_in_a_copied_database_those_who_are_named_still_get_theirs(channel):
    channel.save_app(only_to=("han",))
    copied(channel)
    channel.publish(message())
    assert [user_of(n) for n in channel.run()] == ["han"]


def test_a_database_that_is_taken_over_pushes_again(channel):
    copied(channel)
    assert channel.apps.app("demo") == AppSettings("demo", only_to=())
    with channel.pool.connection() as db:
        assert not fleet.record(db, "staging"), "somebody said whose it is"
        fleet.take_over(db, "")
    channel.publish(message())
    assert sorted(user_of(n) for n in channel.run()) == ["eve", "han"]
