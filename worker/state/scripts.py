"""Loads the Lua scripts and calls them with their arguments by name. Knows no script by its name.

A script touches keys of one partition, and always gets one of them, so that a cluster runs it on the node that has them.

A script begins with a header of comments, after what it does:

    -- KEYS: names of its keys                        where the caller knows them all
    -- ARGV: lane, limit: number, messages [entry, app]
    -- Returns: what it returns
    -- Twice: what a second call with the same arguments does
    -- With: parts of `lua/parts/` that it uses, beside `base`

Each name is a local of the script; one with `: number` is a number, the others are text. `messages [entry, app]` is a list of
records, which `each` goes over. Names of `worker/state/keys.py` in capitals stand for the beginnings of keys. They are constants
of the text, so each partition has scripts of its own.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any, Final, NamedTuple

from redis.exceptions import NoScriptError

from worker.state.keys import FAMILIES, PREFIX, Keys
from worker.state.redis import Redis

_LUA: Final = files("worker.state").joinpath("lua")
_LINE: Final = re.compile(r"^-- (KEYS|ARGV|Returns|Twice|With): (.*(?:\n--   .*)*)$", re.MULTILINE)
_CAPITALS: Final = re.compile(r"\b[A-Z][A-Z0-9_]*\b")
#: Times that a call loads its script: the primary that loaded it may be replaced before it runs it.
_LOADS: Final = 2
_ARGUMENT: Final = re.compile(r"(\w+)(: number)?(?: \[([^\]]*)\])?(?:,\s*|$)")


class Argument(NamedTuple):
    """One name of a header. With `fields` it is a list of records."""

    name: str
    number: bool
    fields: Sequence[str]


class Source(NamedTuple):
    """A script as its file has it, and as Redis gets it."""

    header: dict[str, str]
    keys: Sequence[Argument]
    argv: Sequence[Argument]
    text: str


class Script:
    """A script of one partition, called with its arguments by name. Raises `TypeError` for names or records that it has not."""

    def __init__(self, redis: Redis, keys: Keys, name: str, *, preamble: str = "") -> None:
        self._name, self._source = name, source(name, keys.prefix, keys.mark, preamble)
        self._names = {argument.name for argument in (*self._source.keys, *self._source.argv)}
        #: For a call that names no key: the partition's.
        self._home = [keys.prefix + FAMILIES["NONE"].pattern]
        self._redis = redis
        #: Its name in Redis.
        self._sha = hashlib.sha1(self._source.text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, **given: Any) -> Any:
        if given.keys() != self._names:
            raise TypeError(f"{self._name}.lua takes {sorted(self._names)}, not {sorted(given)}")
        keys: list[Any] = []
        argv: list[Any] = []
        for one in self._source.keys:
            self._add(keys, one, given[one.name], counted=False)
        for one in self._source.argv:
            self._add(argv, one, given[one.name], counted=True)
        keys = keys or self._home
        command = ("EVALSHA", self._sha, len(keys), *keys, *argv)
        for _ in range(_LOADS):
            try:
                return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]
            except NoScriptError:
                self._redis.script_load(self._source.text)
        return self._redis.execute_command(*command)  # type: ignore[no-untyped-call]

    def _add(self, values: list[Any], argument: Argument, given: Any, *, counted: bool) -> None:
        if not (width := len(argument.fields)):
            values.append(given)
            return
        if counted:
            values.append(len(given))
        before = len(values)
        values.extend(given if width == 1 else chain.from_iterable(given))
        if len(values) - before != len(given) * width:
            raise TypeError(f"{self._name}.lua: a record of `{argument.name}` is {', '.join(argument.fields)}")


class Scripts:
    """The scripts of one partition: `scripts.open(messages=...)` calls `lua/open.lua`."""

    #: Lua that stands before every script. Tests check there which keys a script touches.
    preamble = ""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis, self._keys = redis, keys

    def __getattr__(self, name: str) -> Script:
        # The next time it is found without us.
        preamble = self.preamble.replace("PREFIX", self._keys.prefix)
        script = self.__dict__[name] = Script(self._redis, self._keys, name, preamble=preamble)
        return script


def names() -> list[str]:
    """Of all scripts."""
    return sorted(file.name.removesuffix(".lua") for file in _LUA.iterdir() if file.name.endswith(".lua"))


@cache
def source(name: str, prefix: str = PREFIX, mark: str = "", preamble: str = "") -> Source:
    """A script by its name, for keys that begin with `prefix`, and entries with this `mark`.

    Raises `ValueError` where its header is wrong.
    """
    body = _LUA.joinpath(f"{name}.lua").read_text()
    header = _header(body)
    if missing := {"Returns", "Twice"} - header.keys():
        raise ValueError(f"{name}.lua: its header does not say {sorted(missing)}")
    keys, argv = (list(_arguments(name, header.get(part, ""))) for part in ("KEYS", "ARGV"))
    parts = {} if header.get("With") == "nothing" else {"base": _part("base")}
    if any(argument.fields for argument in argv):
        parts["arguments"] = _part("arguments")
    _add_parts(parts, header)
    text = "".join((*parts.values(), _bound(keys, argv), body))
    # What Redis reads of a script before it runs it has to come first.
    shebang = body[: body.index("\n") + 1] if body.startswith("#!") else ""
    return Source(
        header, keys, argv, shebang + preamble + _constants(text, prefix, mark) + text.replace(shebang, "", 1)
    )


def _header(body: str) -> dict[str, str]:
    comments = body[: re.search(r"^(?!--|#!)|\Z", body, re.MULTILINE).start()]  # type: ignore[union-attr]
    return {part: re.sub(r"\n--   ", " ", text) for part, text in _LINE.findall(comments)}


def _arguments(script: str, text: str) -> Iterator[Argument]:
    at = 0
    while at < len(text):
        if (found := _ARGUMENT.match(text, at)) is None:
            raise ValueError(f"{script}.lua: its header cannot be read at {text[at:]!r}")
        yield Argument(found[1], found[2] is not None, found[3].split(", ") if found[3] else ())
        at = found.end()


def _part(name: str) -> str:
    return _LUA.joinpath("parts", f"{name}.lua").read_text()


def _add_parts(parts: dict[str, str], header: dict[str, str]) -> None:
    """Adds what a header names, each part behind those that it uses itself."""
    for name in header.get("With", "").split(", "):
        if name and name != "nothing" and name not in parts:
            text = _part(name)
            _add_parts(parts, _header(text))
            parts[name] = text


def _constants(text: str, prefix: str, mark: str) -> str:
    """The beginnings of keys that the text names, and the mark of entries. Raises `ValueError` for keys of no partition."""
    words = set(_CAPITALS.findall(text))
    named = {name: one for name, one in FAMILIES.items() if name in words}
    if other := [name for name, one in named.items() if one.scope != "partition"]:
        raise ValueError(f"a script touches keys of its partition, not {', '.join(other)}")
    values = {"MARK": mark} if "MARK" in words else {}
    values |= {name: one.below(prefix).beginning for name, one in named.items()}
    return "".join(f"local {name} = '{value}'\n" for name, value in values.items())


def _bound(keys: Sequence[Argument], argv: Sequence[Argument]) -> str:
    """Lua that binds the arguments to their names."""
    lines = [f"local {one.name} = KEYS[{at}]\n" for at, one in enumerate(keys, 1) if not one.fields]
    before, at = "", 1
    for one in argv:
        place = f"{before}{at}"
        if one.fields:
            lines.append(f"local {one.name} = list_at({place}, {len(one.fields)})\n")
            before, at = f"{one.name}.last + ", 1
        else:
            value = f"ARGV[{place}]"
            lines.append(f"local {one.name} = {f'tonumber({value})' if one.number else value}\n")
            at += 1
    return "".join(lines)
