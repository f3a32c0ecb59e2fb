"""Invents what people say: conversations that run side by side, each line of them a message."""

import re
from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple

from worker.demo import phrases
from worker.demo.world import Line, Room

#: Conversations going on at the same moment.
_AT_ONCE: Final = 40
_MENTION: Final = re.compile(r"@([A-D])\b")
Turn = tuple[int, str]


class _Dialogue(NamedTuple):
    turns: list[Turn]
    people: int
    thread: bool = False


def _read(block: str, *, thread: bool = False) -> list[_Dialogue]:
    dialogues = []
    for text in block.strip().split("\n\n"):
        turns = [("ABCD".index(line[0]), line[3:]) for line in text.splitlines()]
        dialogues.append(_Dialogue(turns, 1 + max(speaker for speaker, _ in turns), thread))
    return dialogues


_PAIRS, _GROUPS, _NOTICES = _read(phrases.PAIRS), _read(phrases.GROUPS), _read(phrases.NOTICES)
_THREADS = _read(phrases.THREADS, thread=True)


class Talk:
    """A source of lines. `people` are names by id; ids of events begin with `app`."""

    def __init__(self, random: Random, app: str, people: dict[str, str], rooms: dict[str, Room]) -> None:
        self._random, self._app, self._people = random, app, people
        self._ids = list(people)
        self._rooms = list(rooms.values())
        self._weights = [_weight(room) for room in self._rooms]
        self._members = {room.id: sorted(room.members) for room in self._rooms}
        self._number = 0

    def lines(self, count: int) -> list[Line]:
        """So many messages, those of different conversations mixed."""
        going = [self._conversation() for _ in range(_AT_ONCE)]
        said: list[Line] = []
        while len(said) < count:
            at = self._random.randrange(_AT_ONCE)
            line = next(going[at], None)
            if line is None:
                going[at] = self._conversation()
            else:
                said.append(line)
        return said

    def _conversation(self) -> Iterator[Line]:
        chance = self._random.random()
        if chance < 0.03:
            return self._system()
        if chance < 0.07:
            return self._elsewhere()
        if chance < 0.072:
            return iter([self._line("ghost:1", self._random.choice(self._ids), "is anybody here?")])
        return self._in_room(self._random.choices(self._rooms, self._weights)[0])

    def _in_room(self, room: Room) -> Iterator[Line]:
        size = len(room.members)
        if size == 2:
            fitting = _PAIRS
        elif size > 300:
            fitting = _NOTICES
        else:
            fitting = _GROUPS if self._random.random() < 0.7 else _THREADS
        dialogue = self._random.choice([one for one in fitting if one.people <= size] or _PAIRS)
        yield from self._spoken(dialogue, room, self._random.sample(self._members[room.id], dialogue.people))

    def _spoken(self, dialogue: _Dialogue, room: Room, speakers: list[str]) -> Iterator[Line]:
        slots = {name: self._random.choice(words) for name, words in phrases.SLOTS.items()}
        root: str | None = None
        for speaker, text in dialogue.turns:
            named = tuple(speakers["ABCD".index(letter)] for letter in _MENTION.findall(text))
            filled = _MENTION.sub(lambda found: "@" + self._first(speakers["ABCD".index(found[1])]), text)
            if not dialogue.thread:
                named += self._called(room)
            line = self._line(room.id, speakers[speaker], filled.format_map(slots), named, parent=root)
            line = self._loud(room, line)
            if dialogue.thread and root is None:
                root = line.id
            yield line

    def _loud(self, room: Room, line: Line) -> Line:
        """Now and then a line calls several at once, is urgent, or is taken back."""
        chance = self._random.random()
        if chance < 0.02:
            return line._replace(here=True)
        if chance < 0.03 and len(room.members) <= 60:
            return line._replace(everyone=True)
        if chance < 0.06 and len(room.members) <= 60:
            members = sorted(room.members)
            return line._replace(group=tuple(self._random.sample(members, 1 + len(members) // 3)))
        if chance < 0.08:
            return line._replace(urgent=True)
        return line._replace(deleted=chance > 0.985)

    def _called(self, room: Room) -> tuple[str, ...]:
        """Now and then somebody is called, who may be anywhere in a large channel, or not in it at all."""
        chance = self._random.random()
        if chance < 0.05:
            return (self._random.choice(sorted(room.members)),)
        return (self._random.choice(self._ids),) if chance < 0.06 else ()

    def _system(self) -> Iterator[Line]:
        """What the chat server writes itself and wants no push for."""
        room = self._random.choices(self._rooms, self._weights)[0]
        who = self._random.choice(self._members[room.id])
        yield self._line(room.id, who, self._random.choice(phrases.SYSTEM).format(who=self._people[who]), skip=True)

    def _elsewhere(self) -> Iterator[Line]:
        """Channels whose members only the chat server knows."""
        crowd = min(len(self._ids), 2500 if self._random.random() < 0.01 else self._random.randint(2, 8))
        members = tuple(self._random.sample(self._ids, crowd))
        room = Room(f"ticket:{self._number}", None, frozenset(members))
        for line in self._spoken(self._random.choice(_PAIRS), room, list(members[:2])):
            yield line._replace(recipients=members)

    def _line(
        self,
        room: str,
        sender: str,
        text: str,
        mentioned: tuple[str, ...] = (),
        *,
        parent: str | None = None,
        skip: bool = False,
    ) -> Line:
        self._number += 1
        chance = self._random.random()
        return Line(
            event=f"{self._app}-{self._number:06}",
            id=f"msg-{self._number:06}",
            room=room,
            sender=sender,
            text=text,
            mentioned=tuple(dict.fromkeys(mentioned)),
            parent=parent,
            skip_push=skip,
            late=chance < 0.004,
            repeated=chance > 0.985,
        )

    def _first(self, user: str) -> str:
        return self._people[user].split()[0]


def _weight(room: Room) -> float:
    """How much is said in a channel: small ones are busy, the largest are read rather than written in."""
    size = len(room.members)
    if size > 300:
        return 2.0
    return 3.0 if size <= 12 else 5.0 if size <= 60 else 6.0
