"""Who is online. The chat server writes it to Redis; it counts as it is when a message is expanded."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from worker.facts.base import CandidateFact, Candidates, Sources
from worker.state import presence


class Presence(CandidateFact[None]):
    name = "online"

    def read(self, sources: Sources, asked: Sequence[Candidates]) -> Mapping[int, Collection[str]]:
        """Members of an app that pushes to online members are not looked up, nor is anybody at a second look."""
        concerned = {n: one for n, one in enumerate(asked) if not one.app.push_to_online and not one.again}
        online = presence.online(
            sources.redis, {(one.event.app, user) for one in concerned.values() for user in one.users}
        )
        if not online:
            return {}
        return {n: {user for user in one.users if (one.event.app, user) in online} for n, one in concerned.items()}


PRESENCE: Final = Presence()
