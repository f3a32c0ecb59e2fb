"""Whom a fleet may push to. A database of another fleet is a copy: its users are not this fleet's to notify. Pure."""

from dataclasses import replace

from worker.core.model import AppSettings


def is_foreign(recorded: str, own: str) -> bool:
    """Whether the database belongs to another fleet. A database without a named fleet belongs to all."""
    return recorded not in ("", own)


def allowed_here(app: AppSettings, *, foreign: bool) -> AppSettings:
    """The app's settings as they count here: in a foreign database only those get pushes who were named by hand."""
    if not foreign or app.only_to:
        return app
    return replace(app, only_to=())


def may_push_to(app: AppSettings, user: str) -> bool:
    return app.only_to is None or user in app.only_to
