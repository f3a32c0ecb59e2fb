"""What a page is made of. docs/contributing/add-a-page.md walks through one."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from markupsafe import Markup

from worker.dashboard.stores import Stores

Role = Literal["viewer", "operator", "admin"]
#: From the least to the most.
ROLES: Final[tuple[Role, ...]] = ("viewer", "operator", "admin")
#: What a template gets, by name.
Values = Mapping[str, Any]


class User(NamedTuple):
    """Who is signed in."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this role, or a greater one, is theirs."""
        return ROLES.index(self.role) >= ROLES.index(role)


class View(NamedTuple):
    """How somebody wants pages: each field is a cookie of the browser's, and one of its words."""

    #: Empty: as the system.
    look: Literal["", "light", "dark"] = ""
    #: Whether letters do something. Empty: they do.
    keys: Literal["", "off"] = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for a page or a panel. `now` is UNIX seconds."""

    stores: Stores
    user: User
    now: float
    #: The address that the request came from.
    address: str
    #: The parts of the path, and the fields of the query, of each name the last.
    path: Mapping[str, str]
    query: Mapping[str, str]
    view: View = field(default_factory=View)
    #: The address of the first page.
    home: str = "/"

    def chosen(self, name: str, among: Sequence[str], default: str) -> str:
        """The field of the query if it is one of these words, else the default."""
        given = self.query.get(name, default)
        return given if given in among else default

    def back(self) -> str:
        """The page of this dashboard that an act was opened from: the field `back` of the query, else the first page."""
        return Markup.escape(here(self.query.get("back", ""), self.home))


def here(address: str, home: str) -> str:
    """The address if it is one of this dashboard, else its first page, `home`: never another site."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not parts.path.startswith(home) or "\\" in address:
        return home
    return parts.path + (f"?{parts.query}" if parts.query else "")


class Missing(Exception):
    """There is no such thing; the text is the page's sentence. Status 404."""


class Invalid(Exception):
    """The address cannot be understood; the text is the page's sentence. Status 400."""


class Elsewhere(Exception):
    """The answer is another page: `url` is of this dashboard, without its prefix. Status 303."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


def nothing(_: Ask) -> Values:
    return {}


class Panel(NamedTuple):
    """A part of a page that is worked out, and may fail, by itself, and is kept up to date every so many seconds; 0: never.

    It is drawn by the block of its name in the page's template, which gets what `show` returns.
    """

    name: str
    show: Callable[[Ask], Values]
    every: int = 5


class Page(NamedTuple):
    """`show` and the panels' functions run in threads; each may take 3 s."""

    #: Of its route and its template.
    name: str
    #: As Starlette writes it: `/apps/{app}`.
    path: str
    title: str
    #: What the template gets beside the panels, such as the fields of a form. It raises `Missing`, `Invalid`, `Elsewhere`.
    show: Callable[[Ask], Values] = nothing
    panels: Sequence[Panel] = ()
    #: Its words in the bar. Empty: it is not there.
    bar: str = ""
    #: Which page is marked in the bar; empty: this one.
    under: str = ""
    #: The letter that leads there behind `g`.
    key: str = ""


class Confirmation(NamedTuple):
    """What the page says that stands before an act."""

    #: The page's `h1`: `Pause provider apns-prod of app chat?`
    question: str
    #: What will happen: sentences.
    consequence: str
    #: The button's words: `Pause apns-prod`.
    button: str
    #: The address of the page to go back to: `ask.back()`.
    back: str
    #: Of what is shown. If it is another one when the form comes, nothing is changed.
    version: str = ""
    #: What has to be typed, such as the count of what is dropped. Empty: nothing.
    typed: str = ""


class Changed(Exception):
    """The act lost a race; the text says who did what. Nothing was changed. Status 409."""


class Act(NamedTuple):
    """A GET shows what `ask` returns and wants a note; a POST then calls `do`.

    All that the act is about is in its address: parts of the path, and fields of the query. The frame checks role, token,
    version, note and what was typed.
    """

    #: Of its route.
    name: str
    path: str
    role: Role
    #: Raises as `Page.show` does.
    ask: Callable[[Ask], Confirmation]
    #: Gets the note, does it, records it in the audit log, and returns a sentence that says what was done. Raises `Changed`.
    do: Callable[[Ask, str], str]


class Rows(NamedTuple):
    """A page of a table in keyset order. `older` is the position for `?after=`, or None at the end."""

    rows: Sequence[Any]
    older: str | None


def keyset(rows: Sequence[Any], size: int, position: Callable[[Any], Sequence[Any]]) -> Rows:
    """The first `size` of rows that were asked for with one more; `position` gives a row's key, as values of JSON."""
    shown = rows[:size]
    return Rows(shown, _encoded(position(shown[-1])) if len(rows) > size else None)


def after(ask: Ask) -> list[Any] | None:
    """The position that `?after=` names, or None: from the beginning."""
    given = ask.query.get("after")
    if not given:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(given.encode()))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, list):
        raise Invalid(_UNKNOWN)
    return found


def after_id(ask: Ask) -> int | None:
    """The same for a table in the order of an id."""
    position = after(ask)
    if position is None:
        return None
    if len(position) != 1 or not isinstance(position[0], int) or not 0 < position[0] < 2**63:
        raise Invalid(_UNKNOWN)
    return position[0]


_UNKNOWN: Final = "This page of the table is unknown. Start from the first one."


def first_row(ask: Ask) -> int:
    """The row with which a page of a table begins that is sorted anew each time: what `?first=` names, from 0."""
    given = ask.query.get("first", "0")
    if not given.isdecimal() or len(given) > 6:
        raise Invalid("This page of the table is unknown. Start from the first one.")
    return int(given)


def _encoded(position: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(list(position), separators=(",", ":")).encode()).decode()
