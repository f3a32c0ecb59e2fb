"""The settings of an app as options of a command: one table, for creating and for changing."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple

import typer

_PANEL: Final = "Settings"
_LARGEST: Final = 2**31 - 1


class _None:
    """`none` on the command line: no limit, which is not the same as not given."""

    def __repr__(self) -> str:
        return "none"


NONE: Final = _None()


class Number(NamedTuple):
    """A setting that is a number."""

    help: str
    kind: type[int] | type[float] = int
    #: Whether it may be `none`: no limit.
    optional: bool = False
    largest: int = _LARGEST


class Switch(NamedTuple):
    """A setting that is on or off. `option` where it is called otherwise than the field."""

    help: str
    option: str = ""


class Users(NamedTuple):
    """A setting that names users."""

    help: str


#: Users that one setting may name.
_USERS: Final = 100
SETTINGS: Final[dict[str, Number | Switch | Users]] = {
    "push_enabled": Switch("Switch all pushes of the app on or off.", "push"),
    "member_cap": Number(
        "Members of a channel who get a push for one message at most, not counting mentioned ones.", optional=True
    ),
    "device_cap": Number("Devices of one user; a further one takes the oldest one's place."),
    "push_to_online": Switch("Whether users who are online get pushes."),
    "max_age": Number("Seconds after which a message is not worth a push."),
    "push_rate": Number("Pushes a second for the app.", float, optional=True),
    "provider_rate": Number("Pushes a second for each of its providers.", float, optional=True),
    "channel_rate": Number("Pushes a second for one channel, mentions apart.", float, optional=True),
    "device_rate": Number("Pushes a minute to one device.", float, optional=True),
    "fold_after": Number("Messages of a channel that a device gets one by one before they are folded.", optional=True),
    "fold_window": Number("Seconds within which they are counted, a day at most.", largest=86_400),
    "registration_rate": Number("Registrations of devices a second.", optional=True),
    "registration_burst": Number("Registrations of devices that may come at once."),
    "stale_days": Number("Days without a sign of life after which a device is retired.", optional=True),
    "only_to": Users("The only user who gets pushes; may be repeated, none: everybody. For trying out with real data."),
    "keep_recent": Switch("Keep some recent messages, for at most two days, for push test."),
}


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each setting; its `**given` gets those that were given, `none` as None."""

    def run(**words: Any) -> None:
        given = {name: words.pop(name) for name in SETTINGS}
        chosen = {name: value for name, value in given.items() if value not in (None, [], ())}
        if "only_to" in chosen:
            chosen["only_to"] = _users(chosen["only_to"])
        command(**words, **{name: None if value is NONE else value for name, value in chosen.items()})

    own = inspect.signature(command)
    kept = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(name, one))
        for name, one in SETTINGS.items()
    ]
    run.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in (*kept, *added)}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _users(given: list[str]) -> Any:
    if given == ["none"]:
        return NONE
    if len(given) > _USERS:
        raise typer.BadParameter(f"--only-to: at most {_USERS} users are taken")
    return tuple(dict.fromkeys(given))


def _annotation(name: str, setting: Number | Switch | Users) -> Any:
    if isinstance(setting, Users):
        return Annotated[
            list[str] | None,
            typer.Option(f"--{name.replace('_', '-')}", help=setting.help, metavar="USER|none", rich_help_panel=_PANEL),
        ]
    option = (isinstance(setting, Switch) and setting.option) or name.replace("_", "-")
    if isinstance(setting, Switch):
        flags = f"--{option}/--no-{option}"
        return Annotated[bool | None, typer.Option(flags, help=setting.help, rich_help_panel=_PANEL)]
    return Annotated[
        Any,
        typer.Option(
            f"--{option}",
            help=setting.help,
            metavar="N|none" if setting.optional else "N",
            parser=_parser(setting),
            rich_help_panel=_PANEL,
        ),
    ]


def _parser(setting: Number) -> Callable[[str], Any]:
    expected = "a whole number from 1" if setting.kind is int else "a number above 0"
    expected += f" to {setting.largest:,}" if setting.largest < _LARGEST else ""

    def parse(text: str) -> Any:
        if setting.optional and text == "none":
            return NONE
        try:
            number = setting.kind(text)
        except ValueError:
            number = setting.kind(0)
        if not 0 < number <= setting.largest:
            raise typer.BadParameter(f"{text!r} is not {expected}{', nor none' if setting.optional else ''}")
        return number

    return parse
