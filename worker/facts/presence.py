"""Where the users are, and what they have read. The chat server writes it to Redis; it counts as it is at the expansion."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from worker.core.attention import Attention
from worker.core.notification import milliseconds
from worker.facts.base import CandidateFacts, Candidates, Sources
from worker.state import keys, presence
from worker.state.presence import Markers

#: What keys say, and of users of which app.
_Place = tuple[str, str]
_NOBODY: Final[Mapping[str, bytes]] = {}
#: Keys by what they say of a user.
_KEYS: Final = {"online": keys.ONLINE, "active": keys.ACTIVE, "viewing": keys.VIEWING}


class Presence(CandidateFacts[None]):
    """`online`: their key says so. `present`: so does the key that counts for their app. `viewing`: they have this very
    channel, or thread, open. `read`: they have read the message.
    """

    def read_all(self, sources: Sources, asked: Sequence[Candidates]) -> Mapping[int, Mapping[str, Collection[str]]]:
        """At a second look nobody's presence is looked up, and of an app that pushes to those who are present only `viewing`."""
        wanted: dict[int, Collection[str]] = {}
        marked: list[Markers] = []
        # Many messages have the same candidates.
        users: defaultdict[_Place, set[str]] = defaultdict(set)
        for n, one in enumerate(asked):
            if one.users:
                wanted[n] = whats = _wanted(one)
                marked.append(Markers(_marker(one), one.users))
                for what in whats:
                    users[what, one.event.app].update(one.users)
        names = {_KEYS[what](app, user): (what, app, user) for (what, app), some in users.items() for user in some}
        values, read = presence.read(sources.partition.any_slot, names, marked)
        if not values and not any(read):
            return {}
        known: dict[_Place, dict[str, bytes]] = {}
        for key, value in values.items():
            what, app, user = names[key]
            known.setdefault((what, app), {})[user] = value
        found = {}
        for (n, whats), marks in zip(wanted.items(), read, strict=True):
            of = _present(asked[n], whats, known) if known else {}
            if marks:
                at = milliseconds(asked[n].event)
                of["read"] = {user for user, until in marks.items() if until >= at}
            if of:
                found[n] = of
        return found


PRESENCE: Final = Presence()


def _wanted(one: Candidates) -> Collection[str]:
    """Which keys of the users count."""
    if one.again:
        return ()
    said = one.app.attention
    wanted: set[str] = set() if one.app.push_to_online else {said.present}
    if one.event.message.mentions.here:
        wanted.add("online")
    if _looks_closely(said):
        wanted.add("viewing")
    return wanted


def _looks_closely(said: Attention) -> bool:
    """Whether the app says more of presence than a release before knew."""
    return said.online_delay is not None or said.present != "online"


def _present(
    one: Candidates, whats: Collection[str], known: Mapping[_Place, Mapping[str, bytes]]
) -> dict[str, Collection[str]]:
    app = one.event.app
    found: dict[str, Collection[str]] = {
        what: known.get((what, app), _NOBODY).keys() & one.users for what in whats if what != "viewing"
    }
    if not one.app.push_to_online and not one.again:
        found["present"] = found[one.app.attention.present]
    if "viewing" in whats:
        views, shown = known.get(("viewing", app), _NOBODY), _shown(one)
        found["viewing"] = {user for user in views.keys() & one.users if views[user] in shown}
    return found


def _shown(one: Candidates) -> set[bytes]:
    """What shows the message to whoever has it open: its channel, or of a reply its thread."""
    channel, message = one.event.channel.id, one.event.message
    shown = set()
    if message.parent_id is None or message.also_in_channel:
        shown.add(channel.encode())
    if message.parent_id is not None:
        shown.add(f"{channel}\n{message.parent_id}".encode())
    return shown


def _marker(one: Candidates) -> str:
    """Of a reply, that of its thread."""
    event = one.event
    return presence.marker(event.app, event.channel.id, event.message.parent_id)
