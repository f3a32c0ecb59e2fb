"""A fact for the tests: who has switched off all pushes for a while. A mute of oneself says so."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from producers import events
from worker.core.rules import Rule, so
from worker.database.postgres import Connection
from worker.database.retention import Forget
from worker.facts.base import CandidateFact, Candidates, Origin, Sources
from worker.facts.standings import StandingWrite, Table

_TABLE: Final = Table("snoozes", "user_id", "what", "snoozed", "snooze_past")


class Snoozes(CandidateFact[StandingWrite]):
    changed_by = (events.UserMuted, events.UserUnmuted)
    name = "snoozed"

    def rows(self, event: events.UserMuted | events.UserUnmuted, origin: Origin) -> Sequence[StandingWrite]:
        if event.user != event.target:
            return ()
        snoozed = isinstance(event, events.UserMuted)
        return [StandingWrite((event.app, event.user, "all"), origin.at, snoozed, origin.place)]

    def write(self, db: Connection, rows: Sequence[StandingWrite]) -> None:
        _TABLE.write(db, rows)

    def read(self, sources: Sources, asked: Sequence[Candidates]) -> Mapping[int, Collection[str]]:
        return _TABLE.so_of(sources.pool, dict(enumerate(asked)), lambda one, user: (one.event.app, user, "all"))

    def forgets(self, days: int) -> Sequence[Forget]:
        return _TABLE.forgets(days)


SNOOZES: Final = Snoozes()
#: Its line among the rules.
RULE: Final = Rule("snoozed", "switched off all pushes for a while", so("snoozed"))
#: Its migration.
MIGRATION: Final = """
CREATE TABLE carillon.snoozes (
    app        text COLLATE "C" NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    what       text COLLATE "C" NOT NULL,
    at         bigint NOT NULL,
    snoozed    boolean NOT NULL,
    since      bigint NOT NULL,
    changed_on date NOT NULL DEFAULT (now() AT TIME ZONE 'utc')::date,
    PRIMARY KEY (app, user_id, what)
);
CREATE INDEX snoozes_ended ON carillon.snoozes (changed_on) WHERE NOT snoozed;
CREATE TABLE carillon.snooze_past (
    app      text COLLATE "C" NOT NULL,
    user_id  text COLLATE "C" NOT NULL,
    what     text COLLATE "C" NOT NULL,
    since    bigint NOT NULL,
    until    bigint NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (app, user_id, what, until)
);
CREATE INDEX snooze_past_age ON carillon.snooze_past (ended_at);
"""
