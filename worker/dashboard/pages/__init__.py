"""The pages, in the order of the bar. Each is a module of this folder and a template of the same name."""

from collections.abc import Sequence
from typing import Final

from worker.dashboard.page import Page
from worker.dashboard.pages import app, apps, audit, dead_letters, overview, provider, providers

PAGES: Final[Sequence[Page]] = (
    overview.PAGE,
    providers.PAGE,
    provider.PAGE,
    apps.PAGE,
    app.PAGE,
    dead_letters.PAGE,
    dead_letters.ONE,
    audit.PAGE,
)
