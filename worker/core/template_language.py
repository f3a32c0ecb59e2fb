"""The language of a template's strings: jinja2 cut down to what ends by itself and reads nothing but the message.

Names, `if`, comparisons, joining and a few filters. No loops, calls, assignments or macros, so that the time of a rendering
is bounded by the template's length; no attribute of a Python object is ever read, only keys of what the message brought.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from jinja2 import ChainableUndefined, TemplateSyntaxError, nodes
from jinja2.environment import TemplateExpression
from jinja2.filters import FILTERS
from jinja2.sandbox import SandboxedEnvironment
from jinja2.tests import TESTS

from worker.core.names import balanced
from worker.core.plurals import plural
from worker.core.template_values import LARGEST, bounded, text_of
from worker.core.truncation import first_character, last_character, shorten

#: What a template may name, with its parts: one of them, or the name alone where it has none. `data` is free below.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "message": ("id", "text", "kind", "parent_id", "mentioned", "data", "count", "urgency"),
    "sender": ("id", "name", "image"),
    "channel": ("id", "name", "kind"),
    "group": ("name",),
    "recipient": ("id", "mentioned"),
    "app": ("name",),
    "event": ("id",),
    "digest": ("messages", "mentions", "channels", "rest"),
    "why": (),
}
BADGE: Final = "badge"
#: How a template says that a device's own number belongs there.
BADGE_MARK: Final = "{{ badge }}"
FILTER_NAMES: Final = (
    *("truncate", "plural", "default", "upper", "lower", "capitalize", "title", "trim"),
    *("length", "count", "join", "first", "last"),
)
_TEST_NAMES: Final = ("defined", "undefined", "none", "string", "number", "boolean", "true", "false", "odd", "even")
_ALLOWED: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Const),
    *(nodes.If, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Keyword, nodes.Compare, nodes.Operand),
    *(nodes.And, nodes.Or, nodes.Not, nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg),
)
#: Filters that make a text of the whole value they are given.
_OF_TEXT: Final = ("upper", "lower", "capitalize", "title", "trim")
#: What an operand of `~` goes through. No template can name it.
_OPERAND: Final = "operand"
#: Elements that `join` takes, and characters between them.
_JOINED, _SEPARATOR = 20, 16
_LONGEST: Final = 4096
#: Filters inside one another; jinja2 takes seconds to compile a hundred.
_DEEPEST: Final = 20


class LeafError(ValueError):
    """A string of a template cannot be used; the text says why, not where."""


class Leaf:
    """A string of a template, compiled."""

    def __init__(self, source: str, language: str) -> None:
        """Raises `LeafError`."""
        if len(source) > _LONGEST:
            raise LeafError(f"{len(source):,} characters, at most {_LONGEST:,} are taken")
        environment = _environment(language)
        try:
            tree = environment.parse(source)
            _check(tree)
            #: Parts of the context that it names.
            self.names: frozenset[str] = frozenset(node.name for node in tree.find_all(nodes.Name))
            #: Whether it says a text or a name, and so is more than ids and numbers.
            self.prose = any(part in ("text", "name") for part in _parts(tree))
            _bound_operands(tree)
            self._render = _compile(environment, source, tree)
        except TemplateSyntaxError as fault:
            raise LeafError(fault.message or "cannot be read") from None
        except (RecursionError, SyntaxError, MemoryError):  # what Python says of the code that jinja2 makes of it
            raise LeafError("nested too deep") from None

    def render(self, context: Mapping[str, Any]) -> Any:
        """A string; or, where it is one expression and nothing around it, the value as it is, None for nothing.

        Of what certainly does not fit into a payload only a beginning that does not either.
        """
        return bounded(self._render(context))


def is_template(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


def is_badge(source: str) -> bool:
    """Whether the string is the device's badge number and nothing else."""
    return source.replace(" ", "") in ("{{badge}}", "{{-badge-}}")


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(wrong, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


class _Environment(SandboxedEnvironment):
    intercepted_binops = frozenset("+")

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        return _part(left) + _part(right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, dict | list):
            try:
                return obj[argument]
            except (KeyError, IndexError, TypeError):
                pass
        return self.undefined(obj=obj, name=argument)


@lru_cache(maxsize=256)
def _environment(language: str) -> _Environment:
    made = _Environment(undefined=ChainableUndefined, finalize=_output, cache_size=0)
    made.globals.clear()
    own: dict[str, Callable[..., Any]] = {
        "truncate": lambda text, length: balanced(shorten(text_of(text), int(length))),
        "plural": lambda number, *forms: plural(_number(number), forms, language),
        "join": _join,
        "first": lambda value: _end(value, first_character, 0),
        "last": lambda value: _end(value, last_character, -1),
    }
    own |= {name: _of_text(FILTERS[name]) for name in _OF_TEXT}
    made.filters = {name: own.get(name) or FILTERS[name] for name in FILTER_NAMES} | {_OPERAND: _output}
    made.tests = {name: TESTS[name] for name in _TEST_NAMES}
    return made


def _compile(environment: _Environment, source: str, tree: nodes.Template) -> Callable[[Mapping[str, Any]], Any]:
    output = tree.body[0] if len(tree.body) == 1 else None
    inner = source.strip()
    if (
        isinstance(output, nodes.Output)
        and len(output.nodes) == 1
        and not isinstance(output.nodes[0], nodes.TemplateData)
        and inner.startswith("{{")
        and inner.endswith("}}")
    ):
        if (path := _plain_path(output.nodes[0])) is not None:
            return lambda context: _looked_up(context, path)
        result = nodes.Assign(nodes.Name("result", "store"), output.nodes[0], lineno=1)
        expression = environment.from_string(nodes.Template([result], lineno=1))
        return TemplateExpression(expression, undefined_to_none=True)
    return environment.from_string(tree).render


def _parts(tree: nodes.Template) -> Iterator[Any]:
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if isinstance(node, nodes.Getattr):
            yield node.attr
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            yield node.arg.value


def _bound_operands(tree: nodes.Template) -> None:
    """`~` makes a text of each of its operands, so each goes through a filter that reads no more than may be of use."""
    for node in tree.find_all(nodes.Concat):
        node.nodes = [
            nodes.Filter(operand, _OPERAND, [], [], None, None, lineno=operand.lineno, environment=tree.environment)
            for operand in node.nodes
        ]


def _plain_path(node: nodes.Node) -> list[Any] | None:
    """The keys of `message.data.n`: most strings are that, and looking up costs a fraction of asking jinja2."""
    path: list[Any] = []
    while isinstance(node, nodes.Getattr):
        path.append(node.attr)
        node = node.node
    return [node.name, *reversed(path)] if isinstance(node, nodes.Name) else None


def _looked_up(context: Any, path: list[Any]) -> Any:
    for key in path:
        if not isinstance(context, dict) or key not in context:
            return None
        context = context[key]
    return context


def _check(tree: nodes.Template) -> None:
    if (deep := _filters_deep(tree)) > _DEEPEST:
        raise LeafError(f"nested too deep: {deep} filters inside one another, at most {_DEEPEST} are taken")
    inside: set[int] = set()
    for node in _walk(tree):
        if not isinstance(node, _ALLOWED):
            raise LeafError(f"{_called(node)} cannot be used here: {_WHAT_CAN}")
        if isinstance(node, nodes.Getattr | nodes.Getitem) and id(node) not in inside:
            _check_path(node, inside)
        elif isinstance(node, nodes.Name) and id(node) not in inside:
            _check_alone(node)
        elif isinstance(node, nodes.Filter) and node.name not in FILTER_NAMES:
            raise LeafError(f"no filter {node.name!r}{suggestion(node.name, FILTER_NAMES)}")
        elif isinstance(node, nodes.TemplateData):
            _check_text(node.data)
        elif isinstance(node, nodes.Const) and isinstance(node.value, str):
            _check_text(node.value)
        elif isinstance(node, nodes.Test) and node.name not in _TEST_NAMES:
            raise LeafError(f"no test {node.name!r}{suggestion(node.name, _TEST_NAMES)}")


def _walk(node: nodes.Node) -> Iterable[nodes.Node]:
    """Every node, the outer ones first."""
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _filters_deep(node: nodes.Node) -> int:
    return max(map(_filters_deep, node.iter_child_nodes()), default=0) + isinstance(node, nodes.Filter)


def _check_path(node: nodes.Node, inside: set[int]) -> None:
    """`sender.name` and the like: from a known name to a known part."""
    parts: list[Any] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        inside.add(id(node))
        if isinstance(node, nodes.Getattr):
            parts.append(node.attr)
        elif isinstance(node.arg, nodes.Const):
            parts.append(node.arg.value)
        else:
            raise LeafError("what stands in [ ] has to be a name in quotes or a number")
        node = node.node
    if not isinstance(node, nodes.Name):
        raise LeafError("only message, sender and the like have parts")
    inside.add(id(node))
    parts.reverse()
    _check_name(node.name)
    known = NAMES.get(node.name, ())
    if not known:
        raise LeafError(f"{node.name}: has no parts")
    if parts[0] not in known:
        raise LeafError(f"{node.name}: has no part {parts[0]!r}{suggestion(str(parts[0]), known)}")
    if parts[1:] and parts[0] not in ("data", "mentioned"):
        raise LeafError(f"{node.name}.{parts[0]}: has no parts")


def _check_text(text: str) -> None:
    if not _encodable(text):
        raise LeafError("holds half of a surrogate pair, which is no character; write the whole character")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_alone(node: nodes.Name) -> None:
    _check_name(node.name)
    if NAMES[node.name]:
        parts = ", ".join(f"{node.name}.{part}" for part in NAMES[node.name])
        raise LeafError(f"{node.name}: name a part of it: {parts}")


def _check_name(name: str) -> None:
    if name == BADGE:
        raise LeafError(
            "badge: is only known when it is sent, so it can stand alone in aps.badge, or where the kind has it, and nowhere else"
        )
    if name not in NAMES:
        raise LeafError(f"no such name {name!r}{suggestion(name, NAMES)}")


_WHAT_CAN: Final = "names, if, comparisons, ~ and filters can"


def _called(node: nodes.Node) -> str:
    names = {"For": "a loop", "Call": "a call", "Assign": "set", "Mul": "*", "Pow": "**", "Mod": "%", "List": "a list"}
    return names.get(type(node).__name__, type(node).__name__.lower())


def _output(value: Any) -> Any:
    """A value on its way into a text."""
    if isinstance(value, str | dict | list):
        return text_of(value)
    return "" if value is None else value


def _part(value: Any) -> Any:
    """An operand of `+`."""
    return value[:LARGEST] if isinstance(value, str | list) else value


def _of_text(of: Callable[..., Any]) -> Callable[..., Any]:
    def bounded_filter(value: Any, *args: Any, **options: Any) -> Any:
        return of(bounded(value), *args, **options)

    return bounded_filter


def _number(value: Any) -> float:
    if isinstance(value, int | float):
        return value
    try:
        return float(text_of(value)[:32])
    except ValueError:
        return 0


def _join(values: Any, separator: str = ", ") -> str:
    if not isinstance(values, list):
        return text_of(values)
    return separator[:_SEPARATOR].join(text_of(value) for value in values[:_JOINED])[:LARGEST]


def _end(value: Any, of_text: Callable[[str], str], place: int) -> Any:
    """The first or last of a list, or character of a text as a reader sees it; nothing of what is empty."""
    if isinstance(value, str):
        return of_text(value)
    return value[place] if isinstance(value, list) and value else None
