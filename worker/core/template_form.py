"""What a kind of provider says of its templates: which JSON they are, what is checked, what gives way, where the badge stands."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

Path = tuple[str | int, ...]
#: Whether a value is not known yet, for it is a template itself.
Skip = Callable[[Any], bool]


class TemplateError(ValueError):
    """The template cannot be used; the text names the place in it and what is wrong."""


class Limit(NamedTuple):
    """Octets that a document may have, as JSON; or those of its top-level `keys` together."""

    octets: int
    keys: frozenset[str] | None = None

    def part(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """What of a document counts."""
        return document if self.keys is None else {key: document[key] for key in document if key in self.keys}

    def holds(self, path: Path) -> bool:
        return self.keys is None or path[0] in self.keys


class TemplateForm(ABC):
    """The form of a kind's templates. Each kind has one; most have that of `aps_form.py`."""

    #: Where the badge may stand. A place is counted where its object is in the template and says nothing else of it.
    badges: ClassVar[Sequence[Path]]
    #: What a template renders to, at most.
    limits: ClassVar[Sequence[Limit]]
    #: Whether it is another JSON than `core/notification.py` renders, so that `Sending.own` says so.
    own: ClassVar[bool] = True

    @abstractmethod
    def check_keys(self, tree: Mapping[str, Any]) -> None:
        """Raises `TemplateError` for a template without what it has to have, or with keys that nobody knows."""

    def complete(self, tree: dict[str, Any]) -> None:
        """Adds what a checked template needs to be rendered, and puts it in order."""
        return

    @abstractmethod
    def check_values(self, document: Mapping[str, Any], skip: Skip) -> None:
        """Raises `TemplateError` for a value that the provider, or a device, would not take. Not each key need be there."""

    @abstractmethod
    def is_text(self, path: Path) -> bool:
        """Whether a string is wanted there, and nothing else."""

    def text_of(self, path: Path, value: Any) -> str:
        """An object or a list where a string is wanted. Raises `TemplateError`."""
        raise TemplateError(f"{dotted(path)}: an object or a list, where a string is wanted")

    @abstractmethod
    def is_seen(self, path: Path) -> bool:
        """Whether a person reads what stands there, so that blanks are nothing."""

    @abstractmethod
    def may_shorten(self, path: Path, *, prose: bool) -> bool:
        """Whether the string there may lose its end. `prose`: it has a text or a name in it, and is more than ids."""

    @abstractmethod
    def may_go(self, path: Path) -> bool:
        """Whether what stands there may be left out to fit."""

    @abstractmethod
    def silence(self, document: dict[str, Any]) -> None:
        """Takes the sound out of what was rendered."""

    @abstractmethod
    def says(self, document: Mapping[str, Any]) -> bool:
        """Whether there is something to send. If not, the default payload is sent."""


def dotted(path: Path) -> str:
    """`aps.alert.loc-args[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
