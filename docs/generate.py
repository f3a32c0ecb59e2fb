"""Fills the reference pages from the code while mkdocs builds the site, and brings the pages of the top level into it.

A line `<!-- generated: NAME -->` stands for what the function of that name in `GENERATED` returns.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from click import Context

from config.settings import SECRET, Settings, variable
from producers import events
from producers.json_schema import schema
from worker.cli._commands import GROUPS, group_of, load, names
from worker.metrics.families import FAMILIES as METRICS
from worker.reports import reasons
from worker.reports.invariants import SENTENCES
from worker.state.keys import FAMILIES

ROOT: Final = Path(__file__).parents[1]
#: Pages of the top level, where forges look for them, and their names on the site.
FROM_TOP: Final = {"CONTRIBUTING.md": "contributing.md", "SECURITY.md": "reporting.md", "CHANGELOG.md": "changes.md"}
_PLACE: Final = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
#: A link to a file of the repository that is no page.
_TO_CODE: Final = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!docs/)[^)#]+\.(?:py|sql|lua|yml|yaml|toml)\)")
_CODE: Final = re.compile(r"`[^`\n]+`")
#: What stands for the type of an option's value.
_KINDS: Final = {"int": "N", "int range": "N", "float": "N", "float range": "N", "str": "TEXT", "list[str]": "TEXT"}
_RANGE: Final = re.compile(r"([\d.]+)<=x<=([\d.]+)")
#: A bound from which on it only says that the value is stored somewhere.
_ENDLESS: Final = 2**31 - 1
#: How JSON spells what Python's comments say.
_SPELLING: Final = {"None:": "`null`:", "True:": "`true`:", "False:": "`false`:"}


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs: adds the pages of the top level."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - only a build has mkdocs

    for source, name in FROM_TOP.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs: a page as the site has it."""
    return for_site(filled(markdown), page.file.src_uri)


def filled(markdown: str) -> str:
    """The page with what is generated in its places."""
    return _PLACE.sub(lambda found: GENERATED[found[1]](), markdown)


def for_site(markdown: str, name: str) -> str:
    """The page with links that lead to pages of the site, and tables as Python-Markdown reads them."""
    if name in FROM_TOP.values():
        markdown = markdown.replace("](docs/", "](")
    for source, target in FROM_TOP.items():
        markdown = markdown.replace(f"]({source}", f"]({target}").replace(f"](../{source}", f"]({target}")
        markdown = markdown.replace(f"](../../{source}", f"](../{target}")
    markdown = _TO_CODE.sub(r"\1", markdown)
    lines = markdown.split("\n")
    # Forges want a bar within code in a table escaped; Python-Markdown would show the backslash.
    return "\n".join(
        _CODE.sub(lambda code: code[0].replace("\\|", "|"), line) if line.startswith("|") else line for line in lines
    )


def settings() -> str:
    """Every setting: its variable, default and values, and the sentence in front of its field."""
    fields, sentences = Settings.model_json_schema()["properties"], comments(Settings)
    return "\n\n".join(_setting(name, field, sentences[name]) for name, field in fields.items())


def _setting(name: str, field: Mapping[str, Any], sentence: str) -> str:
    def spelt(word: re.Match[str]) -> str:
        return f"`{variable(word[1])}`" if word[1] in Settings.model_fields else word[0]

    notes = []
    if "default" in field:
        notes.append(f"Default: {_default(field['default'])}.")
    if (values := value(field)) not in ("string", "list: string"):
        notes.append(f"Values: {values}.")
    if name in SECRET:
        notes.append(f"May be in a file that `{variable(name)}_FILE` names.")
    text = re.sub(r"\bNone:", "Unset:", re.sub(r"`(\w+)`", spelt, sentence))
    return f"## `{variable(name)}`\n\n{text}\n\n{' '.join(notes)}"


def _default(given: object) -> str:
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    return "unset" if given in (None, "", []) else f"`{given}`"


def commands() -> str:
    """Every command with its arguments, options and example, under the headings of `carillon --help`."""
    headings = [*GROUPS, *sorted({group_of(name) for name in names()} - GROUPS.keys())]
    parts = []
    for heading in headings:
        parts.append(f"## {heading}")
        parts += [part for name in names() if group_of(name) == heading for part in _command([name], load(name))]
    return "\n\n".join(parts)


def _command(path: list[str], command: Any) -> Iterator[str]:
    name, context = f"carillon {' '.join(path)}", Context(command)
    yield f"{'#' * (len(path) + 2)} `{name}`"
    if command.help:
        yield _plain(" ".join(command.help.split()))
    records = [record for one in command.params if not one.hidden and (record := one.get_help_record(context))]
    if records:
        rows = (f"| `{_argument(left)}` | {_plain(_RANGE.sub(_range, right))} |" for left, right in records)
        yield "\n".join(["| argument | what |", "|---|---|", *rows])
    if command.epilog:
        yield _plain(command.epilog)
    if hasattr(command, "list_commands"):
        for below in command.list_commands(context):
            yield from _command([*path, below], command.get_command(context, below))


def _argument(left: str) -> str:
    """`--port <int range>` as `--port N`."""
    return re.sub(r"<([^>]+)>", lambda kind: _KINDS.get(kind[1], kind[1]), left)


def _range(found: re.Match[str]) -> str:
    low, high = found.groups()
    return f"at least {low}" if float(high) >= _ENDLESS else f"{low} to {high}"


def event_types() -> str:
    """Every event type with its fields, then the objects that these hold."""
    whole = schema()
    definitions: dict[str, Any] = whole["$defs"]
    types = {reference.rpartition("/")[2]: name for name, reference in whole["discriminator"]["mapping"].items()}
    envelope = {"type", *events.Event.__struct_fields__}
    parts = [f"## {name}\n\n{_fields(one, definitions[one], envelope)}" for one, name in types.items()]
    parts += [f"## {name}\n\n{_fields(name, part, set())}" for name, part in definitions.items() if name not in types]
    return "\n\n".join(parts)


def _fields(name: str, definition: Mapping[str, Any], without: set[str]) -> str:
    sentences = comments(getattr(events, name))
    rows = ["| field | value | default | what |", "|---|---|---|---|"]
    for field, part in definition["properties"].items():
        if field in without:
            continue
        default = "required" if field in definition.get("required", ()) else f"`{_json(part.get('default'))}`"
        sentence = re.sub(r"\b(?:None|True|False):", lambda word: _SPELLING[word[0]], sentences.get(field, ""))
        rows.append(f"| `{field}` | {value(part)} | {default} | {_plain(sentence)} |")
    return "\n".join(rows)


def skip_reasons() -> str:
    """Reasons for which a whole message, or one candidate, is skipped."""
    return _table("skipped_message", reasons.MESSAGES) + "\n\n" + _table("skipped", reasons.MEMBERS)


def drop_reasons() -> str:
    """Reasons for which a notification is given up."""
    return _table("dropped", reasons.DROPS)


def _table(prefix: str, words: Mapping[str, str]) -> str:
    rows = [f"| `{prefix}.{reason}` | {_plain(text)} |" for reason, text in words.items()]
    return "\n".join(["| counter | what |", "|---|---|", *rows])


#: What stands for a place `<!-- generated: NAME -->`.
def redis_keys() -> str:
    """Every family of keys in Redis."""
    rows = [
        f"| `{one.pattern}` | {one.scope} | {one.type} | {one.holds} | {one.writer} | {one.ends} | {one.bound} |"
        for one in FAMILIES.values()
    ]
    head = ["| key | of | type | holds | written by | until | grows with |", "|---|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def state_invariants() -> str:
    """What must hold between the stores' keys and rows."""
    return "\n".join(f"- {sentence}" for sentence in SENTENCES)


def metrics() -> str:
    """Every metric that is exported."""
    rows = [
        f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in one.labels)} | {_plain(one.help)} |"
        for one in METRICS.values()
    ]
    return "\n".join(["| metric | type | labels | what |", "|---|---|---|---|", *rows])


GENERATED: Final[dict[str, Callable[[], str]]] = {
    "redis_keys": redis_keys,
    "invariants": state_invariants,
    "metrics": metrics,
    "settings": settings,
    "commands": commands,
    "event_types": event_types,
    "skip_reasons": skip_reasons,
    "drop_reasons": drop_reasons,
}


def comments(cls: type) -> dict[str, str]:
    """What `#:` says in front of each field of a class."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in map(str.strip, inspect.getsource(cls).splitlines()):
        if line.startswith("#:"):
            above.append(line.removeprefix("#:").strip())
            continue
        if above and (field := re.match(r"(\w+):", line)):
            found[field[1]] = " ".join(above)
        above = []
    return found


#: How a JSON type is called, what its bounds are called, and how they are said.
_BOUNDED: Final = {
    "string": ("string", "Length", " of {} characters"),
    "array": ("list", "Items", " of {}"),
    "object": ("object", "Properties", " of {} keys"),
    "integer": ("whole number", "imum", ", {}"),
    "number": ("number", "imum", ", {}"),
}


def value(part: Mapping[str, Any]) -> str:
    """What a JSON Schema allows, in words. Null is left out: it stands for the default."""
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(value(one) for one in part["anyOf"] if one.get("type") != "null"))
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in part or "enum" in part:
        return ", ".join(f"`{one}`" for one in part.get("enum", [part.get("const")]) if one is not None)
    if part.get("type") == "boolean":
        return "true or false"
    if part.get("format") == "date-time":
        return "RFC 3339 time"
    return _bounded(part) if part.get("type") in _BOUNDED else "any JSON value"


def _bounded(part: Mapping[str, Any]) -> str:
    noun, of, text = _BOUNDED[part["type"]]
    least, most = part.get(f"min{of}", 0), part.get(f"max{of}")
    if "exclusiveMinimum" in part:
        noun += f" above {part['exclusiveMinimum']:,}"
    if least and most is not None:
        noun += text.format(f"{least:,} to {most:,}")
    elif most is not None:
        noun += text.format(f"at most {most:,}")
    elif least:
        noun += text.format(f"at least {least:,}")
    return f"{noun}: {value(part['items'])}" if "items" in part else noun


def _json(default: object) -> str:
    return events.dump(default).decode()


def _plain(text: str) -> str:
    """Text in which nothing is markup but code."""
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(one if one.startswith("`") else _escaped(one) for one in pieces)


def _escaped(text: str) -> str:
    return re.sub(r"([*_|\[])", r"\\\1", text).replace("<", "&lt;")
