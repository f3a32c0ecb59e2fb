"""The settings of an app as options of a command: one table, for creating and for changing."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NamedTuple, get_args

import typer

from producers.fields import Day, Level, Privacy, Trigger
from worker.core.templates import normal_locale

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
    #: Of a whole number.
    least: int = 1


class Switch(NamedTuple):
    """A setting that is on or off. `option` where it is called otherwise than the field."""

    help: str
    option: str = ""


class Users(NamedTuple):
    """A setting that names users."""

    help: str


class Choice(NamedTuple):
    """A setting that is one of some words."""

    help: str
    words: Sequence[str]
    optional: bool = False


class Text(NamedTuple):
    """A setting that is a text of a form of its own: `parse` gives its value, or raises `ValueError` with what it takes."""

    help: str
    metavar: str
    parse: Callable[[str], Any]
    optional: bool = True


class Several(NamedTuple):
    """A setting of several texts: the option may be repeated, and `none` empties it. `put` makes the value of all."""

    help: str
    metavar: str
    put: Callable[[Sequence[str]], Any]
    option: str = ""


#: Users that one setting may name.
_USERS: Final = 100
Setting = Number | Switch | Users | Choice | Text | Several
_LEVELS: Final = get_args(Level)
_DAYS: Final = get_args(Day)
_TRIGGERS: Final = get_args(Trigger)
_CLOCK: Final = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_WINDOW: Final = re.compile(f"(?:([a-z]{{3}})(?:-([a-z]{{3}}))?,)?({_CLOCK})-({_CLOCK}|24:00)")


def _switches(given: Sequence[str]) -> dict[str, bool]:
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in _TRIGGERS or value not in ("on", "off"):
            raise ValueError(f"{text!r} is not TRIGGER=on or TRIGGER=off; triggers are {', '.join(_TRIGGERS)}")
        found[name] = value == "on"
    return found


def _triggers(given: Sequence[str]) -> Sequence[str]:
    if unknown := next((text for text in given if text not in _TRIGGERS), None):
        raise ValueError(f"{unknown!r} is none of {', '.join(_TRIGGERS)}")
    return tuple(dict.fromkeys(given))


def windows(given: Sequence[str]) -> list[dict[str, Any]]:
    """`22:00-08:00`, `fri,22:00-24:00`, `mon-thu,21:00-07:00`."""
    found = []
    for text in given:
        match = _WINDOW.fullmatch(text)
        if match is None or any(day not in (None, *_DAYS) for day in match.groups()[:2]):
            raise ValueError(f"{text!r} is not HH:MM-HH:MM, nor with days before it: mon-fri,22:00-07:00")
        if match[3] == match[4]:
            raise ValueError(f"{text!r} ends as it begins; the whole day is 00:00-24:00")
        first, last = match[1] or _DAYS[0], match[2] or match[1] or _DAYS[-1]
        begin, end = _DAYS.index(first), _DAYS.index(last)
        days = _DAYS[begin : end + 1] if begin <= end else (*_DAYS[begin:], *_DAYS[: end + 1])
        found.append({"days": list(days), "from": match[3], "to": match[4]})
    return found


def _texts(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        language, mark, words = text.partition("=")
        found[normal_locale(language) if mark else ""] = words if mark else text
    return found


SETTINGS: Final[dict[str, Setting]] = {
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
    "level": Choice("How loud everything is for users who chose nothing.", _LEVELS),
    "triggers": Several(
        "A switch that goes before the level, such as reaction=on.", "TRIGGER=on|off", _switches, "trigger"
    ),
    "wide_mention_limit": Number("Members above which here and everyone call nobody specially.", optional=True),
    "online_delay": Number("Seconds after which users who are present are decided again.", optional=True, largest=600),
    "present": Choice("Which presence key counts: connected, or a person there.", ("online", "active")),
    "quiet": Several("Quiet time of users without a row, such as 22:00-08:00.", "[DAY-DAY,]HH:MM-HH:MM", windows),
    "quiet_zone": Text("Its time zone, or device: attributes.zone of the user's device.", "ZONE|device", str),
    "digest_spread": Number("Seconds over which digests of one moment are spread.", largest=3600, least=0),
    "sound_every": Number(
        "Seconds in which only the first push of a channel makes a sound.", optional=True, largest=600
    ),
    "sound_every_user": Number("The same over all channels of a user.", optional=True, largest=600),
    "fold_every": Number("Seconds in which a folded channel sends one update.", optional=True, largest=600),
    "collapse": Choice("What a later push of a channel replaces.", ("message", "channel")),
    "daily_cap": Number("Pushes of a user a day, direct messages, mentions and calls apart.", optional=True),
    "edits": Choice("What an edit reaches: the queue, also what is shown, nothing.", ("queued", "replace", "off")),
    "retract": Choice("What a deletion does to what is shown.", ("clear", "replace", "off")),
    "remind_after": Number(
        "Seconds after which an unread conversation is notified of again.", optional=True, largest=86_400, least=60
    ),
    "remind_times": Number("How often that is done, up to 3.", largest=3),
    "remind_members": Number("Members above which a channel has no reminders.", optional=True),
    "remind_triggers": Several("A trigger that reminders are for.", "TRIGGER", _triggers, "remind-trigger"),
    "privacy": Choice("How much of a message push services may read.", get_args(Privacy)),
    "sealed_only": Switch("Nothing for devices without a key where payloads are sealed."),
    "placeholder": Several(
        "What stands in place of a text, by language: fr=Nouveau message.", "[LANGUAGE=]TEXT", _texts
    ),
    "pad": Number("Bytes to a multiple of which a sealed text is filled up.", optional=True, largest=1024, least=16),
    "missed": Switch("Whether a call that nobody took becomes a notification."),
    "cancel_by_voip": Switch("Whether a call is ended by a second VoIP push."),
}


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each setting; its `**given` gets those that were given, `none` as None."""

    def run(**words: Any) -> None:
        given = {name: words.pop(name) for name in SETTINGS}
        chosen = {name: value for name, value in given.items() if value not in (None, [], ())}
        if "only_to" in chosen:
            chosen["only_to"] = _users(chosen["only_to"])
        for name, value in chosen.items():
            if isinstance(setting := SETTINGS[name], Several):
                chosen[name] = _put(name, setting, value)
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


def _put(name: str, setting: Several, given: list[str]) -> Any:
    try:
        return setting.put([] if given == ["none"] else given)
    except ValueError as fault:
        raise typer.BadParameter(f"--{_option(name, setting)}: {fault}") from None


def _option(name: str, setting: Setting) -> str:
    return (isinstance(setting, Switch | Several) and setting.option) or name.replace("_", "-")


def _annotation(name: str, setting: Setting) -> Any:
    if isinstance(setting, Users):
        return Annotated[
            list[str] | None,
            typer.Option(f"--{name.replace('_', '-')}", help=setting.help, metavar="USER|none", rich_help_panel=_PANEL),
        ]
    option = _option(name, setting)
    if isinstance(setting, Several):
        metavar = f"{setting.metavar}|none"
        named = typer.Option(
            f"--{option}", help=f"{setting.help} May be repeated.", metavar=metavar, rich_help_panel=_PANEL
        )
        return Annotated[list[str] | None, named]
    if isinstance(setting, Switch):
        flags = f"--{option}/--no-{option}"
        return Annotated[bool | None, typer.Option(flags, help=setting.help, rich_help_panel=_PANEL)]
    metavar = "|".join(setting.words) if isinstance(setting, Choice) else "N"
    if isinstance(setting, Text):
        metavar = setting.metavar
    return Annotated[
        Any,
        typer.Option(
            f"--{option}",
            help=setting.help,
            metavar=f"{metavar}|none" if setting.optional else metavar,
            parser=_number(setting) if isinstance(setting, Number) else _word(setting),
            rich_help_panel=_PANEL,
        ),
    ]


def _word(setting: Choice | Text) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if setting.optional and text == "none":
            return NONE
        if isinstance(setting, Text):
            return setting.parse(text)
        if text not in setting.words:
            raise typer.BadParameter(f"{text!r} is none of {', '.join(setting.words)}")
        return text

    return parse


def _number(setting: Number) -> Callable[[str], Any]:
    expected = f"a whole number from {setting.least}" if setting.kind is int else "a number above 0"
    expected += f" to {setting.largest:,}" if setting.largest < _LARGEST else ""

    def parse(text: str) -> Any:
        if setting.optional and text == "none":
            return NONE
        try:
            number = setting.kind(text)
        except ValueError:
            number = setting.kind(-1)
        enough = number >= setting.least if setting.kind is int else number > 0
        if not enough or number > setting.largest:
            raise typer.BadParameter(f"{text!r} is not {expected}{', nor none' if setting.optional else ''}")
        return number

    return parse
