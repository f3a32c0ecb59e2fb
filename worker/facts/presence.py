"""Where the users are, and what they have read. The chat server writes it to Redis; it counts as it is at the expansion."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from worker.core.attention import Attention
from worker.core.notification import milliseconds
from worker.facts.base import CandidateFacts, Candidates, Sources
from worker.state import keys, presence
from worker.state.presence import Markers

#: Keys by what they say of a user.
_KEYS: Final = {"online": keys.ONLINE, "active": keys.ACTIVE, "viewing": keys.VIEWING}


class Presence(CandidateFacts[None]):
    """`online`: their key says so. `present`: so does the key that counts for their app. `viewing`: they have this very
    channel, or thread, open. `read`: they have read the message.
    """

    def read_all(self, sources: Sources, asked: Sequence[Candidates]) -> Mapping[int, Mapping[str, Collection[str]]]:
        """At a second look nobody's presence is looked up, and of an app that pushes to those who are present only `viewing`."""
        wanted = {n: _wanted(one) for n, one in enumerate(asked) if one.users}
        names = {
            _KEYS[what](asked[n].event.app, user)
            for n, whats in wanted.items()
            for what in whats
            for user in asked[n].users
        }
        values, marked = presence.read(
            sources.redis, names, [Markers(_read_key(asked[n]), asked[n].users) for n in wanted]
        )
        found: dict[int, dict[str, Collection[str]]] = {}
        for (n, whats), marks in zip(wanted.items(), marked, strict=True):
            one = asked[n]
            of: dict[str, Collection[str]] = {}
            if values:
                of |= {what: _with_key(one, what, values) for what in whats if what != "viewing"}
                if "viewing" in whats:
                    of["viewing"] = _viewing(one, values)
                if not one.app.push_to_online and not one.again:
                    of["present"] = of[one.app.attention.present]
            if marks:
                at = milliseconds(one.event)
                of["read"] = {user for user, read in marks.items() if read >= at}
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


def _with_key(one: Candidates, what: str, values: Mapping[str, bytes]) -> set[str]:
    family, app = _KEYS[what], one.event.app
    return {user for user in one.users if family(app, user) in values}


def _viewing(one: Candidates, values: Mapping[str, bytes]) -> set[str]:
    """Who has the channel open; of a reply, who has the thread open."""
    channel, message, app = one.event.channel.id, one.event.message, one.event.app
    shown = set()
    if message.parent_id is None or message.also_in_channel:
        shown.add(channel.encode())
    if message.parent_id is not None:
        shown.add(f"{channel}\n{message.parent_id}".encode())
    return {user for user in one.users if values.get(keys.VIEWING(app, user)) in shown}


def _read_key(one: Candidates) -> str:
    """Of a reply, the marker of its thread."""
    event = one.event
    thread = event.message.parent_id
    return keys.READ(event.app, event.channel.id if thread is None else f"{event.channel.id}\n{thread}")
