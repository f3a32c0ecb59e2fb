"""What a fact is: which events change it, how it is written, what expansion reads of it, and when it is forgotten."""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import msgspec

from producers.events import MessageNew
from worker.core.model import AppSettings
from worker.database.postgres import Connection, Pool
from worker.database.retention import Forget
from worker.state.partition import Partition

Row = TypeVar("Row")


class Origin(msgspec.Struct, frozen=True):
    """Where an event comes from."""

    entry: str
    #: Its place in the order of intake.
    place: int
    #: Its own time in microseconds since the epoch; 0 for a message.
    at: int


def is_reply(event: MessageNew) -> bool:
    """Whether the message is said in a thread. A reaction is not, and makes nobody part of one."""
    return event.message.parent_id is not None and event.message.category != "reaction"


class Fact(Generic[Row]):
    """Something that is so from one place of the stream up to another. Has no state of its own."""

    #: Events that change it. Of a message only one that is recorded does, when it is.
    changed_by: ClassVar[tuple[type[Any], ...]] = ()
    #: Whether it is about recorded messages: it is written when those of its stretch are.
    of_messages: ClassVar[bool] = False
    #: Whether of all messages only replies change it, as of `is_reply`: it is given no others.
    of_replies: ClassVar[bool] = False

    def rows(self, event: Any, origin: Origin) -> Sequence[Row]:
        """What one of the events says."""
        return ()

    def size(self, event: Any) -> int:
        """How many rows one of the events becomes: the leader's transactions are bounded by them."""
        return 0

    def write(self, db: Connection, rows: Sequence[Row]) -> None:
        """Writes what events said, in their order, inside the leader's transaction. A second time does nothing.

        The event with the later time wins, of equals the one with the later place.
        """

    def forgets(self, days: int) -> Sequence[Forget]:
        """Deletes its rows: those that ended `days` ago, and values from before a change."""
        return ()


class Sources(NamedTuple):
    """Where facts are read."""

    pool: Pool
    partition: Partition


class Candidates(msgspec.Struct, frozen=True):
    """Users who may be notified of a message."""

    event: MessageNew
    app: AppSettings
    place: int
    users: Sequence[str]
    #: Whether they are decided at a second look, in which presence is out of the question.
    again: bool = False
    #: Which of the facts of `used` the app has any rows of.
    used: Collection[str] = ()
    #: Whether anybody may have muted the sender.
    sender_muted: bool = True


class CandidateFacts(Fact[Row]):
    """Several facts about each candidate of a message that are read together."""

    @abstractmethod
    def read_all(self, sources: Sources, asked: Sequence[Candidates]) -> Mapping[int, Mapping[str, Collection[str]]]:
        """As `CandidateFact.read`, by the message's index and the fact's name."""


class CandidateFact(Fact[Row]):
    """A fact that is so, or not, of each candidate of a message."""

    #: What the rules call it.
    name: ClassVar[str]

    @abstractmethod
    def read(self, sources: Sources, asked: Sequence[Candidates]) -> Mapping[int, Collection[str]]:
        """The users for whom it is true at the place of their message, by the message's index.

        One read for all messages. A message with no such user may be missing: usually all are.
        """
