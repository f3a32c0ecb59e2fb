"""Every key that Carillon has in Redis: its content, its writer, its end and its bound.

A key is built here and nowhere else. Scripts get their keys from the caller, or the beginnings of keys from the loader
(`worker/state/scripts.py`). Every family has a scope:

- `partition`: the keys of one partition. A script touches these alone, and those of one partition only.
- `fleet`: what all processes share, key by key.
- `producers`: what chat servers write, under names that never change. No script touches them.

On a server with one partition every key begins with `PREFIX`. With more partitions, or on a cluster, keys of a partition begin
with `carillon:{<tag>}:`, and those of the fleet with `carillon:{fleet}:` (`worker/state/partition.py`).

A name in Redis outlives a release: while workers are replaced one by one, both releases read and write it. So it stays even if
the family has a better name here, as with `parked` and `suspects`.

Parts of keys: an *entry* is `<id>` or `<id>@<app>` (`worker/core/entry.py`), a *channel* `<16 hex digits>@<app>`, a *group*
`<0 to 31>@<app>`, a *lane* `urgent` or `bulk`, a *way* `<provider>` or `<provider>@<origin>` (`worker/core/way.py`); a *provider*
and a *device* are numbers.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final, Literal

PREFIX: Final = "carillon:"
#: What a tagged layout puts behind `PREFIX` for keys of the fleet.
FLEET: Final = "{fleet}:"
Scope = Literal["partition", "fleet", "producers"]
Type = Literal["stream", "string", "hash", "list", "set", "zset"]
_PART: Final = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True)
class Family:
    """Keys of one kind. Called with the parts of a key's name, it returns the key."""

    #: The key behind its prefix; each `<...>` is a part.
    pattern: str
    type: Type
    #: Its fields, members or value.
    holds: str
    #: Who writes it.
    writer: str
    #: When it goes.
    ends: str
    #: What its size, or the number of such keys, grows with.
    bound: str
    scope: Scope = "partition"
    prefix: str = PREFIX
    _texts: tuple[str, ...] = field(init=False, repr=False)
    #: The same with a `%s` for each part: a message makes a key for each of its users.
    _form: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        first, *others = _PART.split(self.pattern)
        object.__setattr__(self, "_texts", (self.prefix + first, *others))
        object.__setattr__(self, "_form", "%s".join(text.replace("%", "%%") for text in self._texts))

    def __call__(self, *parts: object) -> str:
        """The key. Raises `ValueError` for too few or too many parts."""
        if len(parts) != len(self._texts) - 1:
            raise ValueError(f"{self.pattern}: {len(parts)} parts given")
        return self._form % parts

    @property
    def beginning(self) -> str:
        """What every key of the family begins with; the key itself where it has no parts."""
        return self._texts[0]

    def parts(self, key: str) -> tuple[str, ...] | None:
        """The parts of the key's name; None where it is none of these. The last part may have colons."""
        found = re.fullmatch("(.+?)".join(map(re.escape, self._texts)), key, re.DOTALL)
        return None if found is None else found.groups()

    def below(self, prefix: str) -> "Family":
        """The same family, with keys that begin with `prefix`."""
        return self if prefix == self.prefix else replace(self, prefix=prefix)


_WORKED_ON: Final = "entries that are being worked on"
_JOURNAL: Final = "journal"

# A family takes two or three lines.
# fmt: off

# What producers share with the workers. `producers/` has these names as well: it imports nothing of ours.
LAYOUT: Final = Family(
    "layout", "string", "JSON of the partitions and their tags; none: one partition without a tag", "the first worker, commands",
    "never", "one", scope="producers",
)
EVENTS: Final = Family(
    "events", "stream", "event documents of any app: the inlet", "producers, relay",
    "an entry: when every device of the event has its outcome; the stream: never, its ids must not begin anew",
    "what is published; publishers hold back at the backlog limit and at 80 % of `maxmemory`",
)
APP_EVENTS: Final = Family(
    "events:<app>", "stream", "an app's own event documents", "producers, and the leader with what it moves there",
    "as `events`", "as `events`",
)
PRESSURE: Final = Family(
    "pressure", "hash", "`redis_percent`, `at`, and app -> entries that wait unread; see contract.md", "leader, tick",
    "30 s after the last write", "apps",
)
ONLINE: Final = Family(
    "online:<app>:<user>", "string", "nothing: while it is there, the user is online", "producers",
    "the life time that the producer gave; without one, seven days; a value longer than 64 bytes is cut",
    "users who are online", scope="producers",
)
ACTIVE: Final = Family(
    "active:<app>:<user>", "string", "nothing: while it is there, the user has just touched a desktop or web client", "producers",
    "as `online`", "users who are active", scope="producers",
)
VIEWING: Final = Family(
    "viewing:<app>:<user>", "string", "the channel that the user has open, or channel, line break and thread", "producers",
    "as `online`; a value longer than 2,048 bytes is cut", "users who have a channel open", scope="producers",
)
READ: Final = Family(
    "read:<app>:<channel>", "zset", "user -> milliseconds of the newest message read; a thread: channel, line break, thread",
    "producers", "the life time that the producer gives with each write; without one, 25 hours",
    "who read a channel within a day", scope="producers",
)
REPLY: Final = Family(
    "reply:<id>", "list", "JSON answers to a device event", "intake", "60 s after the last answer",
    "device events that ask for an answer: 16 answers an id", scope="producers",
)

# The streams, and who leads.
APPS: Final = Family(
    "apps", "set", "apps whose events may be moved to a stream of their own", "leader", "the app is removed", "apps",
)
MOVED: Final = Family("moved", "hash", "stream -> entries that were moved from it", "leader", "you remove the field", "streams")
TRIMMED: Final = Family(
    "trimmed", "hash", "stream -> `<entries> <UNIX seconds>`: what was gone from it before its time, and when",
    "leader, expansion", "you remove the field", "streams",
)
INTAKE_TOKEN: Final = Family(
    "intake:token", "string", "token of the newest leader: an older one moves and opens nothing", "leader", "never", "one",
)
LEADER: Final = Family("leader", "string", "`<owner> <token>`: a hint, Postgres decides", "leader", "its lease is over", "one")

# The journal: entries.
OPEN: Final = Family(
    "open", "hash", "entry -> open units: its expansion, its second looks, and each batch that names it", _JOURNAL,
    "the entry has no unit left", _WORKED_ON,
)
OPENED: Final = Family(
    "opened", "hash", "stream -> the last entry up to which all are open or done", _JOURNAL, "you remove the field", "streams",
)
TRIES: Final = Family("tries", "hash", "entry -> failed expansions", _JOURNAL, "the entry is done", _WORKED_ON)
EXPANDING: Final = Family(
    "expanding", "hash", "entry -> app, cursor of the page to expand next, place, key of its channel; by line breaks",
    _JOURNAL, "the expansion is done", _WORKED_ON,
)
EXPANDING_CHANNELS: Final = Family(
    "expanding_channels", "hash", "channel -> the entry of it whose expansion goes on or is tried again", _JOURNAL,
    "that expansion is done", _WORKED_ON,
)
CHANNEL_LINE: Final = Family(
    "held:<channel>", "zset", "`<place>/<entry>` -> 0: messages that wait until that one is expanded", _JOURNAL,
    "30 s at most", _WORKED_ON,
)
EXPANDING_GROUPS: Final = Family(
    "expanding_groups", "hash", "group -> turn of the task that expands messages of it", _JOURNAL,
    "the task is done, or its lease is over", "32 an app",
)
TAKEN: Final = Family(
    "taken:<group>", "list", "the messages of the group that this task has", _JOURNAL, "the task is done with them",
    _WORKED_ON,
)
READY: Final = Family(
    "ready:e:<lane>", "list", "apps with messages to take, in turn; lane `looks`: with second looks", _JOURNAL, "none waits",
    "apps",
)
READY_OF_APP: Final = Family(
    "ready:e:<lane>:<app>", "list", "entries, but those of channels in the urgent lane; lane `looks`: second looks", _JOURNAL,
    "none waits", _WORKED_ON,
)
GROUPS_IN_TURN: Final = Family(
    "ready:e:groups:<app>", "list", "groups with messages that no task has, in turn", _JOURNAL, "none waits", "32 an app",
)
READY_IN_GROUP: Final = Family(
    "ready:e:group:<group>", "list", "entries of the group's channels, in order", _JOURNAL, "none waits", _WORKED_ON,
)
SCHEDULED: Final = Family(
    "parked", "set", "entries that wait for their time: open, but no load", _JOURNAL, "their time has come",
    "scheduled pushes",
)
SECOND_LOOKS: Final = Family(
    "looks", "hash", "second look (`<n>/<entry>`) -> app, JSON of its kind and its delayed users, place; by line breaks",
    _JOURNAL, "these users are decided", "delayed users: some 30 bytes each, and 200 a second look of up to 500 of them",
)
SECOND_LOOKS_DUE: Final = Family(
    "looks:due", "zset", "second look -> its time, or when its lease is over", _JOURNAL, "it is ready, or done", "second looks",
)
REMINDERS: Final = Family(
    "reminders", "zset", "app, channel, thread if any, user, by line breaks -> when the user is reminded of that conversation",
    _JOURNAL, "they have read or answered it, or were reminded", "unread conversations of apps that remind",
)
REMINDER: Final = Family(
    "reminder:<app, channel, thread, user>", "zset",
    "message, its collapse id and the sender's name, by line breaks -> its time (ms)",
    _JOURNAL, "the reminder ends, or nine days after the last message", "as `reminders`: the 20 latest messages of each",
)
REMINDERS_SENT: Final = Family(
    "reminders:sent", "hash", "a reminder, named as in `reminders` -> how often it was sent", _JOURNAL, "the reminder ends",
    "as `reminders`",
)
TAKEN_AT_ONCE: Final = Family(
    "taken_at_once", "string", "turn of the last task that took messages of no channel as they were opened", _JOURNAL,
    "its lease is over", "one",
)
WOKEN: Final = Family(
    "woken", "string", "nothing: a wake-up for urgent messages is on its way", _JOURNAL,
    "a second, or somebody takes messages", "one",
)

# The journal: batches.
BATCH: Final = Family(
    "batch:<id>", "hash",
    "`doc`, `app`, `lane`, `devices`, `entries`, `provider` (its way), `turn`, then `badges`, `outcomes`, `accepted`, `failures`,"
    " `claimed`, `leased`, `taken` (when); `lines`: its part of `later`; of badges, `before` (what a number that was set"
    " replaced), `uncounted` (jobs that gave theirs back), `again` (the batch was taken again); `here` (it was first"
    " taken as it was written); of a spread app, `numbered` (its badges were taken at home)."
    " `<id>~<partition>`: what such a batch holds at home, without a lane, until its lease is over",
    _JOURNAL, "the batch is done; of a stopped provider, when it is too old", "devices to push to",
)
HOMEWARD: Final = Family(
    "homeward", "list", "`<number> <home> <JSON>`: what messages of spread apps leave for users' homes in other partitions",
    _JOURNAL, "it was carried there: at once, else by the next tick", "messages for users in quiet time while home is away",
)
HOMEWARD_LAST: Final = Family("homeward:last", "string", "the last such number", _JOURNAL, "never", "one")
CARRIED: Final = Family(
    "carried", "hash", "partition -> the number of its last note that was taken here", _JOURNAL, "never", "partitions",
)
NUMBERED: Final = Family(
    "numbered:<batch>", "hash",
    "of a spread app, for a batch `<id>~<partition>` that lies in another partition: `app`, `provider`, `devices`, `badges`,"
    " `before`, `uncounted`, `again`, as of `batch:<id>`; `done`",
    _JOURNAL, "a minute after the batch is done; a day after it was last taken",
    "batches of spread apps that were taken: devices to push to; and 80 bytes for each that was done within a minute",
)
TURNS: Final = Family("turns:<lane>", "list", "apps with batches to take, in turn", _JOURNAL, "none waits", "apps")
TURNS_OF_APP: Final = Family(
    "turns:<lane>:<app>", "list", "the app's ways that have any, in turn", _JOURNAL, "none waits", "ways",
)
LINE: Final = Family("line:<lane>:<way>", "zset", "batches to take -> turn", _JOURNAL, "none waits", "devices to push to")
OUT_OF_TURN: Final = Family(
    "out_of_turn:<lane>", "zset", "ways with such a line that do not flow -> when they may have a turn again", _JOURNAL,
    "the way is in turn again", "ways",
)
TURN: Final = Family(
    "turn", "string", "the last turn that was given: the order of batches, and a task's number", _JOURNAL, "never", "one",
)
SENDING: Final = Family(
    "sending:<way>", "hash", "device -> the last batch taken with a job for it, until that is done; '' -> filling",
    _JOURNAL, "the batch is done; a day after the last was taken", "devices of batches that were taken",
)
WAITS: Final = Family(
    "waits:<batch>", "set", "batches before this one that have any of its devices", _JOURNAL, "none is left", _WORKED_ON,
)
FOLLOWERS: Final = Family(
    "followers:<batch>", "list", "batches that wait until this one is done", _JOURNAL, "the batch is done", _WORKED_ON,
)
LATER: Final = Family(
    "later:<way>", "zset", "`<device>/<channel key>/<place>/<UNIX seconds>/<batch>` -> 0: what is put off", _JOURNAL,
    "the batch is done", "notifications that are put off",
)
DUE: Final = Family(
    "due", "zset",
    "`e:<entry>`, `b:<batch>`, `g:<group>` -> when its lease or its wait is over; `c:<channel>`: who waits there goes then",
    _JOURNAL, "it is ready, or done", _WORKED_ON,
)
ASKED: Final = Family("asked", "string", "when the last tick made ready what is due", "tick", "never", "one")
WATCHED: Final = Family("watched", "string", "nothing: somebody ticks", "tick", "3 s after the last tick", "one")
OLD_READY: Final = Family(
    "ready:b:<lane>", "list", "apps with batches that a release before made ready", "release before", "the next tick", "apps",
)
OLD_READY_OF_APP: Final = Family("ready:b:<lane>:<app>", "list", "those batches", "release before", "the next tick", _WORKED_ON)
NONE: Final = Family(
    "none", "string", "nothing, ever: scripts delete it first, and may then write at `maxmemory`", "nobody", "-", "none",
)

# What is counted.
BADGE: Final = Family(
    "badge:<app>", "hash", "device -> badge number", _JOURNAL, "the field: when the device is forgotten", "devices",
)
CLEARED: Final = Family(
    "cleared:<app>", "hash", "device -> place that cleared its badge last, and under '' the latest of them", _JOURNAL,
    "30 days after the last; the field: when the device is forgotten", "devices",
)
SHOWN: Final = Family(
    "shown:<app>", "zset",
    "channel, line break, user -> milliseconds of the newest message whose banner may be up there; a thread stands in between",
    _JOURNAL, "the user has read it; three days after the message", "what is shown by apps that take clearings: 500,000",
)
CLEARING: Final = Family(
    "clearing:<app>:<user>", "hash",
    "`ends` (when the user's devices may be woken again), `by`, `until` (of the last), `newest:` + channel (of those that wait)",
    "expansion", "200 s after the last", "users who read elsewhere",
)
COUNTS: Final = Family(
    "counts:<app>", "hash", "counter -> total, changed in the same step as what it counts", "journal, intake, tick",
    "you remove the key", "names of counters: 256, further ones count as `other`",
)
ACCOUNTS: Final = Family(
    "accounts", "list", "JSON of what the ledger has still to write", _JOURNAL,
    "the ledger has it, once a second; while Postgres is away nothing new is expanded either", "outcomes",
)
BURST: Final = Family(
    "burst:<app>:<channel>:<window>", "hash",
    "user -> messages; line break + page of a message -> the most that it was for anybody; tab + user -> when a fold is due (ms)",
    "expansion", "two windows of `fold_window`, which is a day at most", "users of busy channels",
)
SOUNDS: Final = Family(
    "sounds:<app>:<channel>:<window>", "hash",
    "user, or tab + user for those who are called -> when their last sound was (ms), and for which message; no channel: for all",
    "expansion", "two windows of `sound_every` or `sound_every_user`, which is 10 minutes at most",
    "users who were notified within two windows",
)
PUSHES_OF_DAY: Final = Family(
    "pushes:<app>:<day>", "hash", "user -> pushes on that day of theirs, and the message of the last one", "expansion",
    "two days after the last push of an app with a `daily_cap`", "users who were notified on a day",
)
FOLDS: Final = Family(
    "folds:<app>:<channel>", "hash", "user -> the place of the newest message up to which a fold was shown", "expansion",
    "an hour after the last", "users of channels that fold",
)

# Calls.
CALL: Final = Family(
    "call:<app>:<call>", "hash",
    "`by` (the event that began it), `document` of that, `ended:` + user ('' for everybody) -> reason and event, `shown:` +"
    " device that accepted its notification",
    "expansion, delivery", "ten minutes after the last that was heard of it", "calls of the last minutes: 100 users each",
)

# Live Activities.
ACTIVITY: Final = Family(
    "activity:<app>:<activity>", "zset", "user -> time of the newest update for them (microseconds)", "expansion",
    "12 hours after the last update", "users of activities",
)
ACTIVITY_URGENT: Final = Family(
    "activity_urgent:<app>:<activity>", "string", "the event that was urgent last", "expansion", "15 s", "activities",
)
ACTIVITY_STARTS: Final = Family(
    "activity_starts:<app>:<user>", "zset", "event -> when it was sent (UNIX seconds)", "expansion",
    "an hour after the last", "users: 8 each",
)

# What was not notified of in quiet time.
DIGEST: Final = Family(
    "digest:<app>:<user>", "hash",
    "what was not notified of in quiet time: conversation (a channel, or channel, line break, thread) -> how many messages and"
    " mentions, and the latest 20; under names that begin with a line break `end`, `counted`, `further`, `looked`",
    _JOURNAL, "the digest is due, or nine days after the last message", "users in quiet time: 300 conversations each",
)
DIGESTS: Final = Family(
    "digests", "zset", "app, line break, user -> when the digest is due", _JOURNAL, "the digest is due, or its counts are gone",
    "users in quiet time",
)
SILENT_BADGES: Final = Family(
    "silent_badges", "zset", "app, line break, user -> when the number on the icon is to be shown without a sound", _JOURNAL,
    "a minute after a message in quiet time", "users in quiet time",
)

# Push to talk.
SPEAKER: Final = Family(
    "speaker:<app>:<channel>", "zset", "`newest` -> when the newest speaker began (microseconds)", "expansion", "20 s",
    "channels in which somebody speaks",
)
SPEAKER_SENT: Final = Family(
    "speaker_sent:<app>:<channel>", "string", "the event that was sent last", "expansion", "2 s",
    "channels in which somebody speaks",
)

# The health of ways. That of a provider without an origin counts for all of its ways.
ORIGINS: Final = Family(
    "origins:<provider>", "zset", "origin that has a way of its own -> when a push was last made for it (UNIX seconds)",
    "expansion", "30 days after the last of all; an origin that long after its last, if another one needs a way",
    "origins: 257 a provider",
)
BREAKER: Final = Family(
    "breaker:<way>", "hash", "`reason`, `since`, `manual`, `probes`: the way is stopped", "delivery, commands",
    "the way is resumed", "ways",
)
PROBE: Final = Family(
    "probe:<way>", "string", "nothing: no probe may be sent yet", "delivery", "the time until the next probe",
    "ways",
)
LOOKED: Final = Family(
    "looked:<way>", "string", "nothing: a batch was looked at for what is too old", _JOURNAL, "60 s", "ways",
)
STOPPED: Final = Family(
    "stopped:<way>:<reason>", "string",
    "nothing: answers stopped it for this, whether or not it is resumed; a way's `mass_refusal` counts for its provider too",
    "delivery", "two minutes", "ways",
)
REFUSED: Final = Family(
    "refused:<way>", "set", "devices whose token was refused since any other answer", "delivery",
    "another answer, or a day", "devices refused in a row",
)
FIRST_REFUSALS: Final = Family(
    "first_refusals:<way>", "zset", "<device>/<its registration, ms>, which was refused and may be well -> its first refusal",
    "delivery", "the device accepts a push, or a day", "devices that were refused",
)
ANSWERS: Final = Family(
    "answers:<way>", "hash",
    "`answered`, `refused` (guarded refusals of a device token), `gone` (410), `failed`; of the batches in a row of which"
    " nothing was answered `row` (how many), `since`, `last`; `proved` (when what was accepted last was sent), `credential`",
    "delivery", "a day after the last, or the way is resumed", "ways",
)
DEFERRED_PROVIDERS: Final = Family(
    "suspects", "set", "ways that have devices whose retirement is deferred", "delivery, tick", "they are decided",
    "ways",
)
DEFERRED: Final = Family(
    "suspects:<way>", "zset", "[device, not after, reason] -> when it is time to decide", "delivery, tick",
    "5 s, or the way is stopped", "devices that were refused",
)
DEFERRED_ASKED: Final = Family("suspects:asked", "string", "when the last tick asked for them", "tick", "never", "one")
RATE: Final = Family(
    "notbefore:<limit>", "hash", "`full` (when the bucket is full again), `ahead`, `moved`; a limit is named as `app:demo`",
    "delivery", "a second after it is full", "limits that were used",
)
COOLDOWNS: Final = Family(
    "notbefore:device:<way>", "zset", "device -> until when it gets nothing", "delivery",
    "a minute after the last cooldown", "devices that were refused",
)
COOLDOWN_REFUSALS: Final = Family(
    "notbefore:device:<way>:refusals", "hash", "device -> cooldowns in a row", "delivery", "as its cooldowns",
    "devices that were refused",
)
QUOTA: Final = Family(
    "quota:<way>", "hash",
    "`until` (nothing goes there before that), `since`, `reason`, `row` (refusals in a row), `taken` (batches since `until`)",
    "delivery", "ten seconds after `until`, or the provider is resumed by hand", "ways that are over a quota",
)
BUSY_DEVICES: Final = Family(
    "pushes:<way>:<minute>", "string", "a byte for each of 1,048,576 groups of devices: pushes to them in the minute",
    "delivery", "two minutes", "ways of kinds that limit a device: 1 MiB each",
)
PROVIDER_TOKEN: Final = Family(
    "jwt:<team>:<key>:<fingerprint>", "string", "the provider token of the whole fleet", "delivery", "an hour",
    "keys of teams", scope="fleet",
)
PROVIDER_TOKEN_LEASE: Final = Family(
    "jwt:<team>:<key>:<fingerprint>:lease", "string", "nothing: a process makes a new token", "delivery", "5 s",
    "keys of teams", scope="fleet",
)

# What processes tell each other, and operators.
CONDITIONS: Final = Family(
    "conditions:seen", "hash", "key of a condition -> JSON of it, when it was seen first and last, and whether it is open",
    "workers", "15 s after it was seen last", "conditions, 50 of a name", scope="fleet",
)
LOOK: Final = Family(
    "conditions:look", "string", "JSON of what was watched, with its values, and of what could not be looked at", "workers",
    "a day after the last look", "one", scope="fleet",
)
OLD_CONDITIONS: Final = Family(
    "conditions", "hash", "key of a condition -> JSON of it", "release before", "a day after this release looked first",
    "conditions, 50 of a name", scope="fleet",
)
CONDITIONS_LOOKED: Final = Family(
    "conditions:looked", "string", "nothing: somebody has just looked", "workers", "5 s", "one",
    scope="fleet",
)
ACTS: Final = Family(
    "acts", "list", "JSON of what operators did, the oldest first", "commands", "a tick has logged it, within a second",
    "the last 1,000", scope="fleet",
)
CERTIFICATES: Final = Family(
    "certificates", "hash", "provider -> UNIX seconds at which its certificate ends", "workers", "a day after the last word",
    "providers with a certificate", scope="fleet",
)
UNREADABLE: Final = Family(
    "unreadable", "hash", "provider -> `<UNIX seconds> <host>` of a worker whose keys do not open its credential", "workers",
    "40 s after the last word", "providers", scope="fleet",
)
UNREADABLE_DEVICES: Final = Family(
    "unreadable:devices", "string", "host of a worker whose keys did not open a device's secret", "workers",
    "ten minutes after the last", "one", scope="fleet",
)
WORKERS: Final = Family(
    "workers", "hash", "worker -> JSON: `at` (Redis' clock), `lanes`, `ahead` (seconds by which its clock is)", "workers",
    "the worker ends, or is silent for two minutes", "workers", scope="fleet",
)
BEAT: Final = Family("beat", "string", "nothing: beat sends ticks", "beat", "30 s", "one", scope="fleet")
BUSY: Final = Family(
    "busy:<queue>", "string", "a host whose worker has all its threads at work", "workers", "9 s after the last word",
    "queues", scope="fleet",
)
CANARY: Final = Family(
    "canary:<key>", "string", "nothing: the canary came through", "workers", "60 s, or `doctor` has seen it", "looks",
    scope="fleet",
)
PRUNED: Final = Family(
    "pruned", "string", "nothing: old rows were just removed", "tick", "the time between two", "one",
    scope="fleet",
)
SAMPLED: Final = Family(
    "history:sampled", "string", "the beginning of the last 30 s that were sampled", "tick", "never", "one",
    scope="fleet",
)
DEVICES_WALK: Final = Family(
    "devices:walk", "string", "the last device that the walk over all of them has looked at", "tick", "never", "one",
    scope="fleet",
)
PRESENCE_CURSOR: Final = Family(
    "presence_cursor", "string", "cursor of the walk over presence keys", "tick", "never", "one",
    scope="fleet",
)
RECENT: Final = Family(
    "recent:<app>:<day>", "hash", "bucket of a channel -> a recent message document of it", "intake", "two days",
    "channels: 4,096 documents of 4 KiB",
)
NEXT_LAYOUT: Final = Family(
    "layout:next", "string", "while the partitions are changed: the JSON of the layout of before, and of the one to come",
    "commands", "the change is done", "one", scope="producers",
)
OUTBOX: Final = Family(
    "outbox:<source>", "hash", "`holder`: the relay that moves now; `rows`: those of the last batch", "relay", "never",
    "outboxes",
)

# fmt: on

#: By the name that they have here and in scripts.
FAMILIES: Final = {name: one for name, one in globals().items() if isinstance(one, Family)}


class Keys:
    """The families of one scope below one prefix, by name: `keys.OPEN()`. Raises `AttributeError` for those of another scope."""

    def __init__(self, prefix: str, scope: Scope, mark: str = "") -> None:
        #: `mark` stands behind the ids of entries (`worker/core/entry.py`).
        self.prefix, self.mark, self._scope = prefix, mark, scope

    def __getattr__(self, name: str) -> Family:
        family = FAMILIES.get(name)
        if family is None or family.scope != self._scope:
            raise AttributeError(f"no keys of a {self._scope} are named {name}" if family else name)
        # The next time it is found without us.
        bound = self.__dict__[name] = family.below(self.prefix)
        return bound
