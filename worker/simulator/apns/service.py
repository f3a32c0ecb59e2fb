"""What all connections of an APNs simulator share."""

from worker.simulator.apns.broadcast import Channels
from worker.simulator.apns.connection import ApnsConnection
from worker.simulator.apns.entry import Entry
from worker.simulator.apns.provider_token import Verifier
from worker.simulator.apns.rules import HEX, TopicRules
from worker.simulator.apns.settings import Settings
from worker.simulator.connection import Connection
from worker.simulator.service import Service


class ApnsService(Service):
    """An APNs."""

    kind = "apns"
    entry = Entry

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.verifier = Verifier({key.key_id: key for key in settings.keys})
        self.channels = Channels(settings.max_channels, enabled=settings.broadcasts)
        self.topic_rules = TopicRules(frozenset(settings.topics))

    def connection(self, register: dict[int, Connection]) -> Connection:
        self.connections_total += 1
        return ApnsConnection(self, self.verifier, self.topic_rules, self.channels, register)

    @staticmethod
    def canonical(token: str) -> str:
        # The id of a broadcast channel is no hex.
        return token.lower() if HEX.fullmatch(token) else token
