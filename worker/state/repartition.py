"""Copies all that partitions have to the partitions of another layout, app by app. What is copied from stays as it is.

An app that is spread keeps in its home what was begun there; events that nobody has read, and what is remembered about a
channel, go to the channel's partition. One that is gathered comes home with everything.

Nobody may write to the old partitions meanwhile: no worker runs, and their streams are closed (`close`). So a copy that was
interrupted begins again, and comes to the same. The new partitions are in force when the layout says so, and not before.

An entry keeps its id where it can; its name changes with its partition. Entries that are open come first on the new streams,
then those that intake has still to read, each in the order of their ids.
"""

import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple

from msgspec import structs

from producers.events import FIELD
from producers.partitions import Layout
from producers.routing import channel_of
from worker.core import batch as batches
from worker.core.entry import Names, entries_in, entry_of, id_key, joined, mark_of
from worker.core.envelope import identify
from worker.state import app_of
from worker.state.copying import CHUNK, ITEMS, Writer, chunks, delete, items_of, text_of, values_of
from worker.state.keys import FAMILIES, FLEET, PREFIX
from worker.state.layout import CLOSED
from worker.state.redis import Redis
from worker.state.repartition_rules import (
    EVERYWHERE,
    LEFT,
    NAMING,
    STREAMS,
    WHOLE,
    channel_of_item,
    channel_of_key,
    is_by_hand,
    items_tell_channel,
    renamed,
    stays_as_well,
)
from worker.state.servers import beside

#: Stands behind the prefix of a stream that was closed, which is kept until it was copied.
_KEPT: Final = "closed:"
#: Entries that one command reads: each may be large.
_ENTRIES: Final = 50
#: Octets of entries that are written together.
_OCTETS: Final = 1 << 20
#: Fields of a batch about its badge numbers.
_OF_BADGES: Final = frozenset({"badges", "before", "uncounted", "again", "numbered"})
#: Families of the fleet that say what a process does right now.
_MOMENTARY: Final = frozenset({"WORKERS", "BEAT", "BUSY", "CANARY", "PROVIDER_TOKEN_LEASE", "CONDITIONS_LOOKED"})


def _shapes() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """By the first word of their names the families of partitions, each with what its names look like, the more special first."""
    found: dict[str, list[tuple[str, re.Pattern[str]]]] = defaultdict(list)
    ours = ((name, one.pattern) for name, one in FAMILIES.items() if one.scope == "partition")
    for name, pattern in sorted(ours, key=lambda of: (-len(of[1].partition("<")[0]), -of[1].count("<"))):
        shape = "(.+?)".join(map(re.escape, re.split("<[^>]*>", pattern)))
        found[pattern.partition(":")[0]].append((name, re.compile(shape, re.DOTALL)))
    return found


_SHAPES: Final = _shapes()


class NewCursor(NamedTuple):
    """Up to where the new stream counts as read, and how many of its entries that are."""

    stream: str
    id: str
    read: int


class Rename(NamedTuple):
    """A recorded message's entry."""

    app: str
    event_id: str
    before: str
    after: str


@dataclass
class Copied:
    cursors: list[NewCursor] = field(default_factory=list)
    renames: list[Rename] = field(default_factory=list)
    #: Entries that are open, and that were not read yet.
    entries: int = 0
    unread: int = 0
    keys: int = 0
    apps: set[str] = field(default_factory=set)


@dataclass
class _Old:
    """A partition that is copied from."""

    index: int
    prefix: str
    names: Names
    redis: Redis
    #: Family -> keys, each with the parts of its name.
    keys: dict[str, list[tuple[str, tuple[str, ...]]]] = field(default_factory=lambda: defaultdict(list))
    #: Entry -> its new name; and its app.
    entries: dict[str, str] = field(default_factory=dict)
    app_of_entry: dict[str, str] = field(default_factory=dict)
    app_of_batch: dict[str, str] = field(default_factory=dict)


class _Entry(NamedTuple):
    order: tuple[int, int]
    old: int
    stream: str
    id: str
    app: str
    fields: Mapping[bytes, bytes]


def close(client: Redis, stream: str) -> None:
    """From now on nothing is added to the stream, by whatever producer. A second time does nothing."""
    kept = _kept(stream)
    while True:
        kind: Any = client.type(stream)
        if kind == b"string":
            return
        if kind == b"none":
            if client.set(stream, CLOSED, nx=True):
                return
            continue
        with client.pipeline(transaction=True) as pipe:
            pipe.renamenx(stream, kept)
            pipe.set(stream, CLOSED)
            pipe.execute()
        return


def close_rest(layout: Layout, client_of: Callable[[str], Redis]) -> None:
    """The same for every stream that the layout's partitions have."""
    for client, prefixes in _by_client(layout, client_of):
        for prefix, key in list(keys_of(client, prefixes)):
            if _is_stream(prefix, key):
                close(client, key)


def _by_client(layout: Layout, client_of: Callable[[str], Redis]) -> list[tuple[Redis, set[str]]]:
    """Each server's client with the prefixes of its partitions."""
    found: dict[int, tuple[Redis, set[str]]] = {}
    for p in range(layout.partitions):
        client = client_of(layout.prefix(p))
        found.setdefault(id(client), (client, set()))[1].add(layout.prefix(p))
    return list(found.values())


def _kept(stream: str) -> str:
    """The name under which a closed stream stays until it was copied."""
    prefix = stream[: stream.index(":events") + 1]
    return f"{prefix}{_KEPT}{stream[len(prefix) :]}"


def streams_of(layout: Layout, apps: Iterable[str]) -> list[str]:
    """All inlets of the layout, and the streams of these apps."""
    inlets = [f"{layout.prefix(p)}events" for p in range(layout.partitions)]
    own = [
        f"{inlet}:{app}"
        for app in apps
        for p, inlet in enumerate(inlets)
        if layout.is_spread(app) or layout.home_of(app) == p
    ]
    return [*inlets, *own]


def clients(any_slot: Redis) -> Callable[[str], Redis]:
    """Of a key or a prefix the client of the server that has it; one for each tag of a cluster."""

    @cache
    def of_tag(tag: str) -> Redis:
        return beside(any_slot, f"{PREFIX}{tag}:")

    return lambda key: of_tag(key[len(PREFIX) : key.find("}:") + 1]) if "}:" in key else any_slot


class Copy:
    """`client_of` gives a client for the keys that begin with a prefix. `app_of`: provider -> its app."""

    def __init__(
        self,
        before: Layout,
        after: Layout,
        client_of: Callable[[str], Redis],
        app_of: Mapping[int, str],
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._before, self._after, self._client_of = before, after, client_of
        self._app_of, self._note = dict(app_of), note
        self._old = [self._partition(before, p) for p in range(before.partitions)]
        self._clients = [client_of(after.prefix(p)) for p in range(after.partitions)]
        self._names = [_names(after, p) for p in range(after.partitions)]
        self._done = Copied()

    def run(self) -> Copied:
        """Empties the new partitions, and copies. Returns what Postgres has to know."""
        self._empty()
        self._find_keys()
        for one in self._old:
            self._find_apps(one)
        self._note("keys found")
        self._copy_streams()
        self._note("streams copied")
        for one in self._old:
            for family, found in one.keys.items():
                self._copy_family(one, family, found)
        self._copy_everywhere()
        self._copy_numbered()
        if not self._before.tags:
            self._copy_fleet()
        self._note("keys copied")
        return self._done

    # what there is

    def _partition(self, layout: Layout, p: int) -> _Old:
        prefix = layout.prefix(p)
        return _Old(p, prefix, _names(layout, p), self._client_of(prefix))

    def _empty(self) -> None:
        for client, prefixes in _by_client(self._after, self._client_of):
            delete(client, (key for _, key in keys_of(client, prefixes)))

    def _find_keys(self) -> None:
        old = {one.prefix: one for one in self._old}
        for client, prefixes in _by_client(self._before, self._client_of):
            for prefix, key in keys_of(client, prefixes):
                if (found := family_of(client, prefix, key)) is not None:
                    old[prefix].keys[found[0]].append((key, found[1]))

    def _find_apps(self, old: _Old) -> None:
        """The apps of batches, and of entries where their streams do not tell."""
        for some in chunks(old.keys["BATCH"], CHUNK):
            with old.redis.pipeline(transaction=False) as pipe:
                for key, _ in some:
                    pipe.hmget(key, "app", "entries", "provider")
                answers = pipe.execute()
            for (_, (id,)), answer in zip(some, answers, strict=True):
                app, entries, way = (text_of(one or b"") for one in answer)
                old.app_of_batch[id] = app
                old.app_of_entry |= dict.fromkeys(entries_in(entries), app)
                # Also of a provider that was removed.
                if (provider := way.partition("@")[0]).isdigit():
                    self._app_of.setdefault(int(provider), app)
        for entry, state in items_of(old.redis, old.prefix + FAMILIES["EXPANDING"].pattern, "hash"):
            old.app_of_entry[entry] = text_of(state).partition("\n")[0]

    def _target(self, old: _Old, app: str, channel: str | None = None) -> int:
        """Where what `old` has of the app goes; `channel`: what it is about.

        Work that was begun stays where it is, and what an app had before it was spread in its home.
        """
        if self._after.is_spread(app) and self._before.is_spread(app):
            return old.index
        return self._after.partition_of(app, channel)

    # streams

    def _copy_streams(self) -> None:
        last: dict[str, str] = {}
        opened: dict[str, list[str]] = defaultdict(list)
        last |= {names.inlet: "0-0" for names in self._names}
        self._append(self._entries(unread=False), last, opened)
        self._done.entries = sum(map(len, opened.values()))
        read = dict(last)
        unread: dict[str, list[str]] = defaultdict(list)
        # What an app had in its home is in force before what was published to its channels.
        for of_home in (True, False) if self._before.spread else (True,):
            self._append(self._entries(unread=True, of_home=of_home), last, unread, unread=True)
        self._done.unread = sum(map(len, unread.values()))
        newest = max(self._last_ids(), key=id_key, default="0-0")
        for stream, id in last.items():
            end = max(newest, id, key=id_key)
            client = self._client_of(stream)
            if not client.exists(stream):
                client.xgroup_create(stream, "made", "0", mkstream=True)
                client.xgroup_destroy(stream, "made")
            if end != "0-0":
                xsetid: Any = client.execute_command  # redis-py has no method for it
                xsetid("XSETID", stream, end)
            self._done.cursors.append(
                NewCursor(stream, read.get(stream, "0-0") if unread[stream] else end, len(opened[stream]))
            )
            if opened[stream]:
                prefix = stream[: stream.index(":events") + 1]
                client.hset(prefix + FAMILIES["OPENED"].pattern, stream, opened[stream][-1])

    def _append(
        self, entries: Iterator[_Entry], last: dict[str, str], added: dict[str, list[str]], *, unread: bool = False
    ) -> None:
        pipes = [client.pipeline(transaction=False) for client in self._clients]
        octets = 0
        for one in entries:
            old = self._old[one.old]
            spread = unread and self._after.is_spread(one.app)
            if spread:
                p = self._after.partition_of(one.app, channel_of(one.fields.get(FIELD.encode(), b"")))
            else:
                p = self._target(old, one.app)
            names = self._names[p]
            own = spread or old.names.app_of(one.stream) is not None
            stream = names.stream_for(one.app) if own else names.inlet
            id = _behind(one.id, last.get(stream, "0-0"))
            last[stream] = id
            added[stream].append(id)
            fields: Any = one.fields
            pipes[p].xadd(stream, fields, id=id)
            octets += sum(map(len, one.fields.values())) + 100
            if octets > _OCTETS:
                for pipe in pipes:
                    pipe.execute()
                octets = 0
            name, new = old.names.entry(one.stream, one.id), names.entry(stream, id)
            old.entries[name] = new
            self._done.apps.add(one.app)
            app, event_id = identify(one.fields.get(FIELD.encode(), b""))
            if app is not None and event_id is not None:
                self._done.renames.append(Rename(app, event_id, name, new))
        for pipe in pipes:
            pipe.execute()

    def _entries(self, *, unread: bool, of_home: bool = True) -> Iterator[_Entry]:
        """Those that are open, or the others, of all old streams in the order of their ids.

        Of unread ones those in the homes of their apps, or those in other partitions of spread apps.
        """
        return heapq.merge(
            *(
                self._of_stream(n, key, unread=unread, of_home=of_home)
                for n, old in enumerate(self._old)
                for family in ("EVENTS", "APP_EVENTS")
                for key, _ in old.keys[family]
            ),
            key=lambda one: (one.order, one.old, one.stream),
        )

    def _of_stream(self, n: int, kept: str, *, unread: bool, of_home: bool) -> Iterator[_Entry]:
        old = self._old[n]
        stream = kept.replace(_KEPT, "", 1)
        own = old.names.app_of(stream)
        after = "-"
        while some := _entries_behind(old.redis, kept, after):
            ids = [text_of(id) for id, _ in some]
            open_: Any = old.redis.hmget(
                old.prefix + FAMILIES["OPEN"].pattern, [old.names.entry(stream, id) for id in ids]
            )
            for id, (_, fields), units in zip(ids, some, open_, strict=True):
                if (units is None) == unread:
                    app = own or identify(fields.get(FIELD.encode(), b""))[0] or ""
                    away = self._before.is_spread(app) and self._before.home_of(app) != n
                    if unread and away is of_home:
                        continue
                    old.app_of_entry[old.names.entry(stream, id)] = app
                    yield _Entry(id_key(id), n, stream, id, app, fields)
            after = f"({ids[-1]}"

    def _last_ids(self) -> Iterator[str]:
        for old in self._old:
            for family in ("EVENTS", "APP_EVENTS"):
                for key, _ in old.keys[family]:
                    info: Any = old.redis.xinfo_stream(key)
                    yield text_of(info["last-generated-id"])

    # the other keys

    def _copy_family(self, old: _Old, family: str, found: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        if family in STREAMS or family in LEFT or family in EVERYWHERE:
            return
        kind = FAMILIES[family].type
        for some in chunks(found, CHUNK):
            writer = Writer(self._clients)
            for (key, parts), value, life in values_of(old.redis, some, kind):
                if family in WHOLE:
                    app = self._belongs(old, app_of.of_key(family, parts) or "")
                    if app is None:
                        continue
                    self._done.apps.add(app)
                    for p, items in self._whole(old, family, app, parts, value):
                        how = "counts" if family == "COUNTS" else kind
                        writer.write(p, self._after.prefix(p) + key[len(old.prefix) :], how, items, life)
                else:
                    self._split(old, family, key, value, life, writer)
                self._done.keys += 1
            writer.flush()

    def _whole(
        self, old: _Old, family: str, app: str, parts: tuple[str, ...], value: Iterable[tuple[str, Any]]
    ) -> Iterator[tuple[int, list[tuple[str, Any]]]]:
        """The partitions that a key of the app goes to, each with its items there."""
        found: dict[int, list[tuple[str, Any]]] = defaultdict(list)
        if items_tell_channel(family):
            for item, of in value:
                found[self._target(old, app, channel_of_item(family, item))].append((item, of))
        else:
            targets = {self._target(old, app, channel_of_key(family, parts))}
            if stays_as_well(family):
                targets.add(self._target(old, app))
            whole = list(value)
            if is_by_hand(family, whole) and self._after.is_spread(app):
                targets |= {*range(self._after.partitions)}
            for p in targets:
                found[p] = whole
        for p, items in found.items():
            name = self._rename(old, p, app)
            if family == "BATCH":
                fields = self._batch(dict(items), name)
                if self._comes_home(old, app):
                    fields = self._with_badges(old, app, parts[0], fields)
                yield p, list(fields.items())
            elif family in NAMING:
                yield p, [renamed(family, item, of, name) for item, of in items]
            else:
                yield p, items

    def _split(
        self, old: _Old, family: str, key: str, value: Iterable[tuple[str, Any]], life: int, writer: Writer
    ) -> None:
        parts: dict[int, list[tuple[str, Any]]] = defaultdict(list)
        for item, of in value:
            app = self._belongs(old, app_of.ITEMS[family](item, text_of(of) if isinstance(of, bytes) else ""))
            if app is not None:
                p = self._target(old, app, channel_of_item(family, item))
                parts[p].append(renamed(family, item, _decoded(family, of), self._rename(old, p, app)))
        for p, items in parts.items():
            writer.write(p, self._after.prefix(p) + key[len(old.prefix) :], FAMILIES[family].type, items, life)

    def _belongs(self, old: _Old, what: str) -> str | None:
        kind, _, name = what.partition(" ")
        match kind:
            case "app":
                return name
            case "way":
                provider = name.partition("@")[0]
                return self._app_of.get(int(provider)) if provider.isdigit() else None
            case "batch":
                return old.app_of_batch.get(name)
        entry = entry_of(name)
        return entry.partition("@")[2] or old.app_of_entry.get(entry)

    def _rename(self, old: _Old, p: int, app: str) -> Callable[[str], str]:
        names = self._names[p]

        def name(entry: str) -> str:
            # What is open although it has left its stream keeps its id, on the app's own.
            return old.entries.get(entry) or names.entry(
                names.stream_for(app), entry.partition("@")[0].partition("~")[0]
            )

        return name

    def _batch(self, fields: Mapping[str, Any], name: Callable[[str], str]) -> dict[str, Any]:
        made = dict(fields)
        made["entries"] = joined(map(name, entries_in(text_of(fields.get("entries", b"")))))
        try:
            batch = batches.decode(fields["doc"])
        except (KeyError, ValueError):
            return made  # delivery dead-letters it
        sendings = [structs.replace(one, entry=name(one.entry)) for one in batch.sendings]
        return made | {"doc": batches.encode(structs.replace(batch, sendings=sendings))}

    def _comes_home(self, old: _Old, app: str) -> bool:
        """Whether what `old` has of the app was made elsewhere than in its home, and goes there now."""
        was_away = self._before.is_spread(app) and self._before.home_of(app) != old.index
        return was_away and not self._after.is_spread(app)

    def _with_badges(self, old: _Old, app: str, id: str, fields: dict[str, Any]) -> dict[str, Any]:
        """A batch that had its badge numbers from the home of its app, as one that was made there.

        It has those that it got, as home remembers them. One that got none counts when it is taken.
        """
        try:
            orders = batches.device_orders(batches.decode(fields["doc"]))
        except (KeyError, ValueError):
            return fields
        home = self._old[self._before.home_of(app)]
        answer: Any = home.redis.hgetall(f"{home.prefix}{FAMILIES['NUMBERED'].below('').beginning}{id}~{old.index}")
        made = {name: of for name, of in fields.items() if name not in _OF_BADGES}
        numbered = {text_of(name): of for name, of in answer.items() if text_of(name) in _OF_BADGES}
        if "numbered" in fields and not numbered:
            # Home has forgotten it, after a day: what it counted shows as it is.
            numbered = {"badges": "", "again": "1"}
        return made | numbered | {"devices": orders}

    def _copy_everywhere(self) -> None:
        turns, rows = [0], dict[str, list[str]]()
        for old in self._old:
            for key, _ in old.keys["TURN"]:
                turn: Any = old.redis.get(key)
                turns.append(int(turn))
            for key, (source,) in old.keys["OUTBOX"]:
                moved: Any = old.redis.hget(key, "rows")
                rows.setdefault(source, []).extend([text_of(moved)] if moved else [])
            for some in chunks(old.keys["RATE"], CHUNK):
                writer = Writer(self._clients)
                for (key, _), value, life in values_of(old.redis, some, "hash"):
                    items = list(value)
                    for p in range(self._after.partitions):
                        writer.write(p, self._after.prefix(p) + key[len(old.prefix) :], "hash", items, life)
                writer.flush()
        for p, client in enumerate(self._clients):
            client.set(self._after.prefix(p) + FAMILIES["TURN"].pattern, max(turns))
            for source, moved in rows.items():
                if moved:
                    client.hset(f"{self._after.prefix(p)}outbox:{source}", "rows", ",".join(moved))

    def _copy_numbered(self) -> None:
        """What batches of apps that stay spread were answered by their homes."""
        for old in self._old:
            writer = Writer(self._clients)
            for some in chunks(old.keys["NUMBERED"], CHUNK):
                for (key, _), value, life in values_of(old.redis, some, "hash"):
                    items = dict(value)
                    if self._after.is_spread(text_of(items.get("app", b""))):
                        target = self._after.prefix(old.index) + key[len(old.prefix) :]
                        writer.write(old.index, target, "hash", items.items(), life)
                writer.flush()

    def _copy_fleet(self) -> None:
        source, target = self._client_of(PREFIX), self._client_of(PREFIX + FLEET)
        for family, key in fleet_keys(source):
            kind = FAMILIES[family].type
            if family in _MOMENTARY:
                continue
            writer = Writer([target])
            for _, value, life in values_of(source, [(key, ())], kind):
                writer.write(0, PREFIX + FLEET + key[len(PREFIX) :], kind, value, life)
            writer.flush()


def forget(layout: Layout, client_of: Callable[[str], Redis]) -> None:
    """Deletes what the partitions of a layout that is in force no more have, but for what closes their streams."""
    for client, prefixes in _by_client(layout, client_of):
        found = keys_of(client, prefixes)
        ours = ((prefix, key) for prefix, key in found if family_of(client, prefix, key) is not None)
        delete(client, (key for prefix, key in ours if not _is_stream(prefix, key)))
    if not layout.tags:
        client = client_of(PREFIX)
        delete(client, (key for _, key in fleet_keys(client)))


def keys_of(client: Redis, prefixes: Collection[str]) -> Iterator[tuple[str, str]]:
    """The prefix and the name of each key below one of these, also of the one without a tag. One walk over all keys."""
    seen: set[str] = set()
    for key in client.scan_iter(match=f"{PREFIX}*", count=ITEMS):
        name = text_of(key)
        # What follows the prefix begins with a brace where it has a tag.
        end = name.find("}:") + 2 if name.startswith("{", len(PREFIX)) else len(PREFIX)
        if name[:end] in prefixes and name not in seen:
            seen.add(name)
            yield name[:end], name


def family_of(client: Redis, prefix: str, key: str) -> tuple[str, tuple[str, ...]] | None:
    """The family of a partition's key, and the parts of its name. A stream counts once it is closed."""
    name = key[len(prefix) :]
    kept = name.startswith(_KEPT)
    name = name.removeprefix(_KEPT) if kept else name
    for family, shape in _SHAPES.get(name.partition(":")[0], ()):
        found = shape.fullmatch(name)
        if found is None or (FAMILIES[family].type == "stream") != kept:
            continue
        if family in ("PUSHES_OF_DAY", "BUSY_DEVICES"):
            kind: Any = client.type(key)
            return ("BUSY_DEVICES" if kind == b"string" else "PUSHES_OF_DAY"), found.groups()
        return family, found.groups()
    return None


def fleet_keys(client: Redis) -> Iterator[tuple[str, str]]:
    """Keys of the fleet without a tag, each with its family."""
    families = {name: one for name, one in FAMILIES.items() if one.scope == "fleet"}
    for _, key in keys_of(client, {PREFIX}):
        for name, one in sorted(families.items(), key=lambda of: -len(of[1].pattern)):
            if one.parts(key) is not None:
                yield name, key
                break


def _decoded(family: str, value: Any) -> Any:
    """Values that name an entry are text."""
    return text_of(value) if family == "EXPANDING_CHANNELS" else value


def _entries_behind(client: Redis, stream: str, after: str) -> Sequence[tuple[bytes, Mapping[bytes, bytes]]]:
    found: Any = client.xrange(stream, after, "+", count=_ENTRIES)
    return list(found)


def _behind(id: str, last: str) -> str:
    if id_key(id) > id_key(last):
        return id
    ms, sequence = id_key(last)
    return f"{ms}-{sequence + 1}"


def _names(layout: Layout, p: int) -> Names:
    return Names(f"{layout.prefix(p)}events", mark_of(p) if layout.tags else "")


def _is_stream(prefix: str, key: str) -> bool:
    return key == f"{prefix}events" or key.startswith(f"{prefix}events:")
