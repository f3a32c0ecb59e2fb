"""Who takes part in a thread: a user who wrote its root or a reply, or was mentioned there, from that message on."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from producers.events import MessageNew
from worker.core.places import held
from worker.database import bulk
from worker.database.messages import MessageRow
from worker.database.postgres import Connection, Pool
from worker.database.retention import DAY, Forget, forget
from worker.facts.base import Fact, Origin
from worker.facts.members import memberships_in
from worker.facts.standings import Ids

#: People that a thread has at most. It is read for each of its replies, and a client can name whom it likes.
THREAD_PEOPLE: Final = 5_000


class Reply(NamedTuple):
    app: str
    channel: str
    root: str
    event_id: str
    entry: str
    #: Who wrote the root, where the event says so.
    parent_sender: str | None


class ThreadKey(NamedTuple):
    """A thread by its root. `listed`: about users who need not be stored as members of its channel."""

    app: str
    channel: str
    root: str
    listed: bool


class Thread(NamedTuple):
    """The participants of a thread, each with the place of the message that added them."""

    people: dict[str, int]
    #: The latest of those places.
    newest: int
    #: Whether its root was recorded: only then is it known who took part before the first reply.
    root_seen: bool
    #: Whether it adds nobody more.
    full: bool


class Threads(Fact[Reply]):
    changed_by = (MessageNew,)
    of_messages = True
    of_replies = True

    def rows(self, event: MessageNew, origin: Origin) -> Sequence[Reply]:
        root = event.message.parent_id
        assert root is not None, "it is of replies"
        return [Reply(event.app, event.channel.id, root, event.id, origin.entry, event.message.parent_sender)]

    def write(self, db: Connection, rows: Sequence[Reply]) -> None:
        recorded = db.execute(
            b"SELECT k.entry, m.position, m.sender, m.mentioned FROM unnest(%b::text[], %b::text[], %b::text[])"
            b" AS k (app, event_id, entry) JOIN carillon.messages m USING (app, event_id, entry)",
            bulk.columns([(row.app, row.event_id, row.entry) for row in rows]),
        )
        said = {entry: (place, (sender, *(mentioned or ()))) for entry, place, sender, mentioned in recorded}
        since: dict[tuple[str, str, str, str], int] = {}
        for row in rows:
            if row.entry in said:
                place, people = said[row.entry]
                for user in (*people, *([row.parent_sender] if row.parent_sender else ())):
                    since.setdefault((row.app, row.channel, row.root, user), place)
        if since:
            _write_threads(db, sorted({key[:3] for key in since}))
            _write_people(db, [(*key, place) for key, place in sorted(since.items())])

    def forgets(self, days: int) -> Sequence[Forget]:
        # A thread may have thousands of people: as many threads as have a bite of them.
        silent = (
            "WITH old AS (SELECT app, channel, id FROM (SELECT t.*, sum(people) OVER (ORDER BY day, app, channel, id) AS n"
            f" FROM (SELECT * FROM carillon.threads WHERE day < {DAY} ORDER BY day LIMIT %(bite)s) t) o"
            " WHERE n - people < %(bite)s),"
            " gone AS (DELETE FROM carillon.threads t USING old o WHERE t.app = o.app AND t.channel = o.channel"
            f" AND t.id = o.id AND t.day < {DAY} RETURNING t.app, t.channel, t.id),"
            " people AS (DELETE FROM carillon.thread_participants p USING gone g WHERE p.app = g.app AND p.thread = g.id"
            " AND p.channel = g.channel RETURNING 1)"
            " SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM people)"
        )
        return [forget(silent, days)]


THREADS: Final = Threads()


def taking_part(db: Connection, rows: Sequence[MessageRow]) -> list[MessageRow]:
    """The messages with those of their mentioned who take part in the thread: members, or whom the event lists.

    Runs inside the leader's transaction, when the members are written.
    """
    asked: dict[Ids, int] = {}
    for row in rows:
        if row.recipients is None:
            for user in row.mentioned:
                asked.setdefault((row.app, row.channel, user), row.place)
    members = memberships_in(db, asked)

    def among(row: MessageRow) -> list[str]:
        named = dict.fromkeys(row.mentioned)
        if row.recipients is not None:
            listed = set(row.recipients)
            return [user for user in named if user in listed]
        return [user for user in named if held(members.get((row.app, row.channel, user), ()), row.place)]

    return [replace(row, mentioned=among(row)[:THREAD_PEOPLE]) if row.mentioned else row for row in rows]


def read(pool: Pool, keys: Collection[ThreadKey]) -> dict[ThreadKey, Thread]:
    """Each of the threads with its people, as far as they have to do with the channel; at most `THREAD_PEOPLE` of each.

    Whether they are members at a message's place is for members to say.
    """
    rows = bulk.read(
        pool,
        "SELECT k.app, k.channel, k.root, k.listed, coalesce(t.root_seen, true), coalesce(t.people, 0), p.users, p.since"
        " FROM unnest(%b::text[], %b::text[], %b::text[], %b::boolean[]) AS k (app, channel, root, listed)"
        " LEFT JOIN carillon.threads t ON t.app = k.app AND t.channel = k.channel AND t.id = k.root,"
        " LATERAL (SELECT array_agg(s.user_id) AS users, array_agg(s.since) AS since FROM"
        " (SELECT p.user_id, p.since FROM carillon.thread_participants p"
        # Rows under no channel are of an older release.
        " WHERE p.app = k.app AND p.thread = k.root AND p.channel = ANY(ARRAY['', k.channel])"
        " AND (k.listed OR EXISTS (SELECT FROM carillon.members m"
        " WHERE m.app = k.app AND m.channel = k.channel AND m.user_id = p.user_id))"
        " LIMIT %s) s) p",
        keys,
        2 * THREAD_PEOPLE,
    )
    found = {}
    for app, channel, root, listed, root_seen, count, users, places in rows:
        people: dict[str, int] = {}
        for user, since in zip(users or (), places or (), strict=True):
            people[user] = min(since, people.get(user, since))
        newest = max(people.values(), default=0)
        found[ThreadKey(app, channel, root, listed)] = Thread(people, newest, root_seen, count >= THREAD_PEOPLE)
    return found


def _write_threads(db: Connection, threads: Sequence[tuple[str, str, str]]) -> None:
    """They had a reply today."""
    bulk.write(
        db,
        "INSERT INTO carillon.threads AS t (app, channel, id, root_seen, day)"
        " SELECT k.app, k.channel, k.id, EXISTS (SELECT FROM carillon.messages m"
        " WHERE m.app = k.app AND m.message_id = k.id AND m.channel = k.channel), now.day"
        " FROM unnest(%b::text[], %b::text[], %b::text[]) AS k (app, channel, id)"
        " CROSS JOIN (SELECT (now() AT TIME ZONE 'utc')::date AS day) now LEFT JOIN carillon.threads t USING (app, channel, id)"
        " WHERE t.day IS NULL OR t.day < now.day OR NOT t.root_seen"
        " ON CONFLICT (app, channel, id) DO UPDATE SET day = excluded.day, root_seen = t.root_seen OR excluded.root_seen"
        " WHERE t.day < excluded.day OR t.root_seen <> excluded.root_seen",
        threads,
    )


def _write_people(db: Connection, since: Sequence[tuple[str, str, str, str, int]]) -> None:
    """These take part from a place on. A new thread takes over its root's people and what an older release knew of it.

    The root's people outlive the message's row that way.
    """
    db.execute(
        b"WITH given AS (SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[])"
        b" AS g (app, channel, thread, user_id, since)),"
        b" fresh AS (SELECT t.app, t.channel, t.id FROM (SELECT DISTINCT app, channel, thread FROM given) g"
        b" JOIN carillon.threads t ON t.app = g.app AND t.channel = g.channel AND t.id = g.thread WHERE t.people = 0),"
        b" earlier AS (SELECT * FROM given"
        b" UNION ALL SELECT f.app, f.channel, f.id, u, m.position FROM fresh f JOIN carillon.messages m"
        b" ON m.app = f.app AND m.message_id = f.id AND m.channel = f.channel, unnest(m.sender || m.mentioned) AS u"
        b" UNION ALL SELECT f.app, f.channel, f.id, p.user_id, p.since FROM fresh f JOIN carillon.thread_participants p"
        b" ON p.app = f.app AND p.thread = f.id AND p.channel = ''),"
        b" ranked AS (SELECT app, channel, thread, user_id, min(since) AS since,"
        b" row_number() OVER (PARTITION BY app, channel, thread ORDER BY min(since), user_id) AS n FROM earlier e"
        b" WHERE NOT EXISTS (SELECT FROM carillon.thread_participants p WHERE p.app = e.app AND p.thread = e.thread"
        b" AND p.channel = e.channel AND p.user_id = e.user_id) GROUP BY app, channel, thread, user_id),"
        b" added AS (INSERT INTO carillon.thread_participants (app, thread, channel, user_id, since)"
        b" SELECT r.app, r.thread, r.channel, r.user_id, r.since FROM ranked r JOIN carillon.threads t"
        b" ON t.app = r.app AND t.channel = r.channel AND t.id = r.thread WHERE t.people + r.n <= %s"
        b" RETURNING app, thread, channel)"
        b" UPDATE carillon.threads t SET people = t.people + a.n"
        b" FROM (SELECT app, channel, thread, count(*) AS n FROM added GROUP BY 1, 2, 3) a"
        b" WHERE t.app = a.app AND t.channel = a.channel AND t.id = a.thread",
        (*bulk.columns(since), THREAD_PEOPLE),
    )
