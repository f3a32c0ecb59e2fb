"""The pages, in the order of the bar. Each is a module of this folder and a template of the same name."""

from collections.abc import Sequence
from typing import Final

from worker.dashboard.page import Page
from worker.dashboard.pages import (
    app,
    apps,
    audit,
    conditions,
    dead_letters,
    find,
    keys,
    log,
    overview,
    provider,
    providers,
    user,
    why,
)

PAGES: Final[Sequence[Page]] = (
    overview.PAGE,
    conditions.PAGE,
    providers.PAGE,
    provider.PAGE,
    log.PAGE,
    why.PAGE,
    find.PAGE,
    apps.PAGE,
    app.PAGE,
    user.PAGE,
    dead_letters.PAGE,
    dead_letters.ONE,
    audit.PAGE,
    keys.PAGE,
)
