"""Templates: every text is escaped, an unknown name is an error, and links are built from routes, never from data."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from worker.dashboard import text
from worker.dashboard.page import Act, Ask, Page, Panel, Values, View
from worker.reports.push_log import Line
from worker.reports.words import release

#: Shape and colour of a severity, by the words that conditions use.
SHAPES: Final = {"critical": "crit", "warning": "warn", "notice": "info"}
#: Where the push log is followed.
FOLLOW: Final = "/log/follow"
_PART: Final = re.compile(r"\{(\w+)(?::\w+)?\}")


class Facts(NamedTuple):
    """What the frame of every page shows: the open conditions, and the shape of the worst; None: they cannot be read."""

    open: int | None
    worst: str = "info"


class Frame:
    """`pages` in the order of the bar; `assets` from a file's name to the name that browsers get; `label` is the environment.

    `leave`: people sign in here, so they can sign out. `prefix`: what every address begins with.
    """

    def __init__(
        self,
        pages: Sequence[Page],
        acts: Sequence[Act],
        assets: Mapping[str, str],
        label: str,
        *,
        leave: bool,
        prefix: str = "",
    ) -> None:
        self._prefix = prefix
        self._paths = {page.name: page.path for page in pages} | {act.name: act.path for act in acts}
        self._paths |= {"follow": FOLLOW} | {name: f"/{name}" for name in ("sign-in", "sign-out", "looks")}
        self._env = Environment(
            loader=PackageLoader("worker.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=text.finalize,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._env.filters |= {
            "count": text.count,
            "rate": text.rate,
            "share": text.share,
            "size": text.size,
            "duration": text.duration,
            "moment": text.moment,
            "since": text.since,
            "prose": text.prose,
            "steps": text.steps,
        }
        self._env.globals |= {
            "url": self.url,
            "asset": lambda name: Markup("{}/static/{}").format(prefix, assets[name]),
            "home": f"{prefix}/",
            "shape_of": SHAPES.__getitem__,
            "bar": [page for page in pages if page.bar],
            "label": label,
            "leave": leave,
            "version": release(),
        }
        self._env.globals["ui"] = self._env.get_template("ui.html").module

    def url(self, name: str, /, **fields: Any) -> Markup:
        """The address of a page. Fields that are not parts of its path become its query; those that are None are left out."""

        def filled(part: re.Match[str]) -> str:
            return quote(str(fields.pop(part[1])), safe="")

        path = self._prefix + _PART.sub(filled, self._paths[name])
        # An address in an address is not escaped twice.
        plain = {field: value.unescape() if isinstance(value, Markup) else value for field, value in fields.items()}
        query = urlencode({field: value for field, value in plain.items() if value is not None})
        return Markup.escape(f"{path}?{query}" if query else path)

    def panel(self, page: Page, panel: Panel, ask: Ask, values: Values) -> Markup:
        template = self._env.get_template(f"{page.name}.html")
        context = template.new_context({**_of(ask), **values})
        return Markup("".join(template.blocks[panel.name](context)))  # noqa: S704 - a template's output

    def log_rows(self, lines: Sequence[tuple[Line, str]]) -> str:
        """Rows of the push log, each of a line and its reason in words."""
        return str(self._env.get_template("pushes.html").module.rows(lines))  # type: ignore[attr-defined]

    def fault(self, sentence: str) -> Markup:
        """What stands where a panel would."""
        return Markup(self._env.globals["ui"].fault(sentence))  # type: ignore[attr-defined] # noqa: S704

    def page(self, page: Page, ask: Ask, facts: Facts, values: Values, panels: Mapping[str, Markup]) -> str:
        """The whole page; its template places each panel with `panel("name")`."""
        every = {panel.name: panel.every for panel in page.panels}
        here = {**ask.path, **ask.query}

        def place(name: str) -> Markup:
            if not every[name]:
                return Markup('<section id="{}">{}</section>').format(name, panels[name])
            source = self.url(page.name, **here | {"panel": name})
            return Markup('<section id="{}" data-src="{}" data-every="{}">{}</section>').format(
                name, source, every[name], panels[name]
            )

        return self._whole(
            f"{page.name}.html",
            ask,
            facts,
            {"title": page.title, "current": page.under or page.name, "panel": place, **values},
        )

    def special(self, template: str, ask: Ask, facts: Facts, values: Values) -> str:
        """A page that is not one of the list. `values` has its title."""
        return self._whole(template, ask, facts, {"current": "", **values})

    def sign_in(self, view: View, values: Values) -> str:
        return self._env.get_template("sign-in.html").render({"title": "Sign in", "user": None, "view": view, **values})

    def _whole(self, template: str, ask: Ask, facts: Facts, values: Values) -> str:
        return self._env.get_template(template).render({**_of(ask), "facts": facts, **values})


def _of(ask: Ask) -> Values:
    return {"user": ask.user, "now": ask.now, "query": ask.query, "path": ask.path, "view": ask.view}
